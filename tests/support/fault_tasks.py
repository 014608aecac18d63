"""Tasks for the faults. Loaded by path, beside `tasks.py`."""

from __future__ import annotations

import asyncio
import os
import time

from runs import Retry, current_run, log, step, task
from tests.support.ledger import gate, hold, note


def compute(seconds: float) -> int:
    """Keeps a processor busy and yields to nobody."""
    rounds, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        rounds += 1
    return rounds


@task(id="loop-hog")
async def hog(seconds: float) -> str:
    note("hog", "begins")
    compute(seconds)
    note("hog", "ends")
    await asyncio.sleep(0)
    return "done"


@task(id="hog-until-told")
async def hog_until_told(name: str) -> None:
    compute(0.3)  # the loop has been asked by then, and has not answered
    note("hog", "begins")
    while not gate(name).exists():
        compute(0.05)
    compute(0.3)


@task(id="hog-of-its-own-time", max_duration=0.5, retry=Retry(max_attempts=1))
async def hog_of_its_own_time() -> None:
    compute(1.5)
    await asyncio.sleep(0.2)


@task(id="neighbour", max_duration=3.0, retry=Retry(max_attempts=1))
async def neighbour(seconds: float = 0.8) -> str:
    note("neighbour", "begins")
    await asyncio.sleep(seconds / 2)
    await asyncio.sleep(seconds / 2)
    return "in time"


@step(timeout=3.0)
async def timed_step(seconds: float) -> str:
    note("neighbour", "begins")
    await asyncio.sleep(seconds / 2)
    await asyncio.sleep(seconds / 2)
    return "in time"


@task(id="neighbour-step", retry=Retry(max_attempts=1))
async def neighbour_step(seconds: float = 0.6) -> str:
    return await timed_step(seconds)


@task(id="fires")
async def fires() -> None:
    note("fired", current_run().id)


@task(id="retries-late", retry=Retry(max_attempts=2, min_delay=3, max_delay=3, jitter=False))
async def retries_late() -> int:
    note("tried", current_run().id, current_run().attempt)
    if current_run().attempt == 1:
        raise ConnectionError("the first attempt fails on purpose")
    return current_run().attempt


@step(retry=Retry(max_attempts=2, min_delay=3, max_delay=3, jitter=False))
async def late_step(run: str) -> str:
    note("stepped", run)
    with open(os.environ["TESTS_LEDGER"], encoding="utf-8") as ledger:
        if sum(f"stepped {run}" in line for line in ledger) == 1:
            raise ConnectionError("the first try fails on purpose")
    return "second try"


@task(id="waits-for-a-late-step")
async def waits_for_a_late_step() -> str:
    log.info("before the step")
    return await late_step(str(current_run().id))


@task(id="talks-without-end")
async def talks_without_end(lines: int, size: int, breathe: int = 0) -> int:
    """On the event loop; gives way to others every `breathe` lines, or never."""
    note("talks", "begins")
    for number in range(lines):
        print(f"{number:08} " + "x" * size)
        if breathe and number % breathe == 0:
            await asyncio.sleep(0)
    return lines


@task(id="talks-without-end-sync")
def talks_without_end_sync(lines: int, size: int) -> int:
    note("talks", "begins")
    for number in range(lines):
        print(f"{number:08} " + "x" * size)
    return lines


@step
def laid(by: str) -> str:
    note("lays", by)
    hold(by)
    note("laid", by)
    return by


@task(id="laid-by-one", retry=Retry(max_attempts=1))
def laid_by_one(number: int) -> str:
    """Its step ends when the gate opens of the worker that has it."""
    return laid(f"{os.environ['TESTS_HERE']}-{number}")
