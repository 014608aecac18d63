"""Tasks whose steps beat. Loaded by path, like `tasks.py`."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from runs import Retry, current_run, heartbeat, step, task
from tests.support.ledger import gate, note


@step(retry=Retry(max_attempts=3, min_delay=0.01, max_delay=0.02))
async def count_to(most: int, fail_at: int) -> int:
    """Fails once, at a number; goes on from there."""
    begin = heartbeat.last() or 0
    note("begins", current_run().id, begin)
    for number in range(begin, most):
        if number == fail_at and begin == 0:
            raise ConnectionError("cut off")
        heartbeat(number + 1)
    return begin


@task(id="beat-counts")
async def counts(most: int = 10, fail_at: int = 6) -> int:
    return await count_to(most, fail_at)


@task(id="beat-counts-apart", isolation="process")
async def counts_apart(most: int = 10, fail_at: int = 6) -> int:
    return await count_to(most, fail_at)


@step
async def copy() -> Any:
    """Beats until the gate opens."""
    last = heartbeat.last()
    number = (last or {"copied": 0})["copied"]
    while not gate("copied").exists():
        number += 1
        heartbeat({"copied": number})
        await asyncio.sleep(0.02)
    return last


@task(id="beat-copies")
async def copies() -> Any:
    return await copy()


@step
def copy_sync() -> Any:
    last = heartbeat.last()
    while not gate("copied").exists():
        heartbeat({"copied": 1})
        time.sleep(0.02)
    return last


@task(id="beat-copies-sync")
def copies_sync() -> Any:
    return copy_sync()


@step(heartbeat_timeout=1.5, retry=Retry(max_attempts=2, min_delay=0.01, max_delay=0.02))
async def falls_silent(beats: int) -> str:
    """The first try beats so often, and then says nothing any more; the second beats on and comes to an end."""
    last = heartbeat.last()
    for number in range(beats):
        heartbeat(number)
        await asyncio.sleep(0.1)
    if last is None:
        await asyncio.sleep(60)
    return f"after {last}"


@task(id="beat-silent")
async def silent(beats: int = 20) -> str:
    return await falls_silent(beats)


@task(id="beat-silent-apart", isolation="process")
async def silent_apart(beats: int = 20) -> str:
    return await falls_silent(beats)


@step(heartbeat_timeout=1.5)
async def beats_in_a_thread() -> str:
    def work() -> None:
        for _ in range(25):
            heartbeat()
            time.sleep(0.1)

    await asyncio.to_thread(work)
    return "done"


@task(id="beat-thread")
async def thread() -> str:
    return await beats_in_a_thread()


@task(id="beat-misplaced")
async def misplaced() -> None:
    heartbeat(1)
