"""Tasks for the faults. Loaded by path, beside `tasks.py`."""

from __future__ import annotations

import asyncio
import os
import time

from runs import Retry, step, task


def note(*words: object) -> None:
    """One line of the ledger, as in `tasks.py`."""
    line = " ".join([f"{time.time():.4f}", str(os.getpid()), *map(str, words)]) + "\n"
    with open(os.environ["TESTS_LEDGER"], "ab", buffering=0) as ledger:
        ledger.write(line.encode())


def compute(seconds: float) -> int:
    """Keeps a processor busy and yields to nobody."""
    rounds, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        rounds += 1
    return rounds


@task(id="hog")
async def hog(seconds: float) -> str:
    note("hog", "begins")
    compute(seconds)
    note("hog", "ends")
    await asyncio.sleep(0)
    return "done"


@task(id="hog-of-its-own-time", max_duration=0.5, retry=Retry(max_attempts=1))
async def hog_of_its_own_time() -> None:
    compute(1.5)
    await asyncio.sleep(0.2)


@task(id="neighbour", max_duration=1.5, retry=Retry(max_attempts=1))
async def neighbour(seconds: float = 0.8) -> str:
    note("neighbour", "begins")
    await asyncio.sleep(seconds / 2)
    await asyncio.sleep(seconds / 2)
    return "in time"


@step(timeout=1.0)
async def timed_step(seconds: float) -> str:
    note("neighbour", "begins")
    await asyncio.sleep(seconds / 2)
    await asyncio.sleep(seconds / 2)
    return "in time"


@task(id="neighbour-step", retry=Retry(max_attempts=1))
async def neighbour_step(seconds: float = 0.6) -> str:
    return await timed_step(seconds)
