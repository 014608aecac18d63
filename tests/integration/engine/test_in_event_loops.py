"""Calls that ask the database, made in async code: each names what to await instead."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync

from runs import RunHandle, emit
from runs.errors import StepMisuse
from tests.support.runs import the


@pytest.mark.parametrize(
    ("call", "instead"),
    [
        (lambda: the("echo").enqueue(value=1), "aenqueue"),
        (lambda: the("echo").enqueue_many([{"value": 1}]), "aenqueue_many"),
        (lambda: the("echo").then(the("echo")).enqueue(value=1), "aenqueue"),
        (lambda: emit("nobody.listens", {}), "aemit"),
    ],
)
def test_what_asks_the_database_names_its_twin_in_async_code(
    registered: None, call: Callable[[], Any], instead: str
) -> None:
    async def work() -> None:
        call()

    with pytest.raises(StepMisuse, match=rf"event loop of async code\. Write: await (….)?{instead}\(…\)"):
        asyncio.run(work())


@pytest.mark.parametrize("call", ["result", "refresh", "update", "query"])
def test_a_handle_names_its_twin_in_async_code(registered: None, call: str) -> None:

    handle: RunHandle[int] = RunHandle(uuid.uuid4())

    async def work() -> None:
        getattr(handle, call)(*(["set-price"] if call == "update" else []))

    with pytest.raises(StepMisuse, match=f"await .*….a{call}"):
        asyncio.run(work())


def test_the_twins_of_async_code_do_the_same(registered: None) -> None:
    async def work() -> list[Any]:
        return await the("echo").aenqueue_many([{"value": 1}, {"value": 2}])

    handles = async_to_sync(work)()
    assert [handle.status for handle in handles] == ["queued", "queued"]
