"""What a task of a run hangs in: other tasks, or something that comes by itself."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from typing import Any

import pytest

from runs.engine.rest import waits_for_tasks


async def awaits(awaited: Awaitable[Any]) -> None:
    await awaited


async def in_a_group(other: asyncio.Task[Any]) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(awaits(asyncio.shield(other)))


async def takes_what_ends(other: asyncio.Task[Any]) -> None:
    for done in asyncio.as_completed([asyncio.shield(other)]):
        await done


async def locks(other: asyncio.Task[Any]) -> None:
    lock = asyncio.Lock()
    async with lock, lock:
        pass


async def bounded(other: asyncio.Task[Any]) -> None:
    async with asyncio.timeout(60):
        await other


Shape = Callable[[asyncio.Task[Any]], Coroutine[Any, Any, Any]]


async def found(shape: Shape) -> bool:
    other: asyncio.Task[Any] = asyncio.create_task(asyncio.Event().wait())
    task = asyncio.create_task(shape(other))
    for _ in range(3):
        await asyncio.sleep(0)
    assert not task.done()
    try:
        return waits_for_tasks(task)
    finally:
        for one in (task, other):
            one.cancel()
        await asyncio.wait([task, other])


@pytest.mark.parametrize(
    "shape",
    [
        awaits,
        lambda other: awaits(asyncio.gather(other)),
        lambda other: awaits(asyncio.shield(other)),
        lambda other: awaits(asyncio.wait([other])),
        lambda other: asyncio.wait_for(awaits(other), 60),
        lambda other: awaits(asyncio.Queue().get()),
        lambda other: awaits(asyncio.Event().wait()),
        in_a_group,
        takes_what_ends,
        locks,
        bounded,
    ],
)
async def test_it_waits_for_other_tasks(shape: Shape) -> None:
    assert await found(shape)


def from_a_library(other: asyncio.Task[Any]) -> Coroutine[Any, Any, Any]:
    """An event that is set by what a socket brings, as in anyio."""
    space: dict[str, Any] = {}
    source = "async def receive(event):\n    await event.wait()\n"
    exec(compile(source, "/usr/lib/python3/site-packages/sockets.py", "exec"), space)
    received: Coroutine[Any, Any, Any] = space["receive"](asyncio.Event())
    return awaits(received)


@pytest.mark.parametrize(
    "shape",
    [
        lambda other: asyncio.sleep(60),
        lambda other: awaits(asyncio.sleep(60)),
        lambda other: awaits(asyncio.wrap_future(Future())),
        lambda other: awaits(asyncio.gather(asyncio.wrap_future(Future()))),
        lambda other: awaits(asyncio.get_running_loop().create_future()),
        from_a_library,
    ],
)
async def test_it_goes_on_by_itself(shape: Shape) -> None:
    assert not await found(shape)


async def test_work_in_a_thread_goes_on_by_itself() -> None:
    over = threading.Event()
    try:
        assert not await found(lambda other: asyncio.to_thread(over.wait, 60))
    finally:
        over.set()
