"""The tasks that are measured; workers load this file by HOLDFAST_TASKS."""

from __future__ import annotations

import asyncio
import os
import time

from runs import current_run, step, task, wait


@task(id="bench-noop-async")
async def noop_async(n: int = 0) -> None:
    return None


@task(id="bench-noop-sync")
def noop_sync(n: int = 0) -> None:
    return None


@task(id="bench-noop-isolated", isolation="process")
def noop_isolated(n: int = 0) -> None:
    return None


@task(id="bench-clock-sync")
def clock_sync(n: int = 0) -> float:
    return time.time()


@task(id="bench-clock-isolated", isolation="process")
def clock_isolated(n: int = 0) -> float:
    return time.time()


@step
async def tiny_step(n: int) -> int:
    return n


@task(id="bench-ten-steps")
async def ten_steps(n: int = 0) -> int:
    total = 0
    for number in range(10):
        total += await tiny_step(number)
    return total


@task(id="bench-clock")
async def clock(n: int = 0) -> float:
    """Its first line tells the time: processes of one host share the clock."""
    return time.time()


@task(id="bench-sleep")
async def sleep(seconds: float) -> None:
    await asyncio.sleep(seconds)


@task(id="bench-wait")
async def waits(seconds: float) -> None:
    await wait.asleep(seconds)


@task(id="bench-number")
async def number(n: int) -> int:
    return n


@task(id="bench-fan")
async def fan(count: int) -> int:
    return sum(await number.aenqueue_many_and_wait([{"n": n} for n in range(count)]))


@step
async def marked(run: str, number: int) -> int:
    fd = os.open(os.environ["BENCH_LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, f"{time.time():.6f} {os.getpid()} {run} {number}\n".encode())
    os.close(fd)
    await asyncio.sleep(0.1)
    return number


@task(id="bench-long")
async def long(steps: int = 30) -> int:
    run = str(current_run().id)
    for number in range(steps):
        await marked(run, number)
    return steps
