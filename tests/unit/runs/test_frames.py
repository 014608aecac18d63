"""Stacks of coroutines and threads, taken from outside: nothing of what is awaited is lost on the way down."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Generator
from contextvars import copy_context
from typing import Any

import pytest
from asgiref.sync import sync_to_async

import runs
from runs.engine import frames
from runs.sdk.context import current


class ByHand:
    """Awaitable by a generator of its own."""

    def __await__(self) -> Generator[Any, Any, None]:
        return leaf().__await__()


async def leaf() -> None:
    await asyncio.Event().wait()


async def words() -> AsyncIterator[int]:
    await leaf()
    yield 1


async def through_a_generator() -> None:
    async for _ in words():
        pass


async def through_a_wrapper() -> None:
    await ByHand()


async def directly() -> None:
    await leaf()


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (directly, ["directly", "leaf", "wait"]),
        (through_a_generator, ["through_a_generator", "words", "leaf", "wait"]),
        (through_a_wrapper, ["through_a_wrapper", "leaf", "wait"]),
    ],
)
async def test_a_suspended_coroutine_is_followed_to_what_it_awaits_at_last(function: Any, names: list[str]) -> None:
    task = asyncio.create_task(function())
    await asyncio.sleep(0)
    assert [frame.f_code.co_name for frame in frames._chain(task.get_coro())] == names
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert list(frames._chain(task.get_coro())) == [], "what has ended is nowhere"


async def test_the_coroutine_that_is_executed_now_is_cut_out_of_its_thread() -> None:
    found: list[list[str]] = []

    async def asks() -> None:
        task = asyncio.current_task()
        assert task is not None
        inside = frames._within(sys._getframe(), task.get_coro())
        found.append([frame.f_code.co_name for frame in inside])

    async def outer() -> None:
        await asks()

    await asyncio.create_task(outer())
    assert found == [["outer", "asks"]]


@pytest.mark.parametrize("how", ["to_thread", "asgiref"])
async def test_a_thread_of_a_pool_is_known_by_the_context_in_which_it_was_told_to_work(how: str) -> None:
    mine: Any = object()
    begun, may_end = threading.Event(), threading.Event()

    def work() -> int:
        begun.set()
        may_end.wait(20)
        return threading.get_ident()

    async def told() -> int:
        current.set(mine)
        if how == "to_thread":
            return await asyncio.to_thread(work)
        return await sync_to_async(work, thread_sensitive=False)()

    task = asyncio.get_running_loop().create_task(told(), context=copy_context())
    await asyncio.to_thread(begun.wait, 20)
    owned = [ident for ident, frame in sys._current_frames().items() if frames._whose(frame) is mine]
    may_end.set()
    assert owned == [await task]


def test_own_is_what_is_neither_python_s_nor_a_package_s_nor_holdfast_s() -> None:
    assert frames.is_own(__file__)
    assert frames.is_own(f"{frames._DEMO}tasks.py"), "examples stand for somebody's code"
    for foreign in (asyncio.__file__, pytest.__file__, runs.__file__, frames.__file__, "<frozen runpy>"):
        assert not frames.is_own(str(foreign)), foreign
