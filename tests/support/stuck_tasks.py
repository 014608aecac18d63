"""Tasks that do not get on, each in another way. Loaded by path, like `tasks.py`."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from asgiref.sync import sync_to_async

from runs import checkpoint, current_run, heartbeat, log, step, stream, task, wait
from tests.support.ledger import gate, hold, note

SECRET = "not-for-a-page"


async def open_gate(name: str) -> None:
    """A thread watches the gate: whoever looks finds this at its `await`, and never between two."""
    opened, loop = asyncio.Event(), asyncio.get_running_loop()

    def watch() -> None:
        while not gate(name).exists():
            time.sleep(0.02)
        with suppress(RuntimeError):  # its loop is closed
            loop.call_soon_threadsafe(opened.set)

    threading.Thread(target=watch, daemon=True).start()
    await opened.wait()


async def deep(name: str) -> None:
    """What a suspended coroutine stands at is below it."""
    password = SECRET
    await open_gate(name)
    del password


@step
async def waits_for(name: str) -> str:
    note("waits", current_run().id)
    await deep(name)
    return name


@task(id="sticks-async")
async def sticks_async(name: str = "go") -> str:
    return await waits_for(name)


@task(id="sticks-apart-async", isolation="process")
async def sticks_apart_async(name: str = "go") -> str:
    return await waits_for(name)


@step
def locked(name: str) -> str:
    lock = threading.Lock()
    lock.acquire()
    note("waits", current_run().id)
    while not lock.acquire(timeout=0.05):
        if gate(name).exists():
            return name
    return name


@task(id="sticks-sync")
def sticks_sync(name: str = "go") -> str:
    return locked(name)


@task(id="sticks-apart", isolation="process")
def sticks_apart(name: str = "go") -> str:
    return locked(name)


def spin(name: str) -> int:
    number = 0
    while not gate(name).exists():
        number += sum(range(100))
    return number


@step
async def computes(name: str) -> int:
    note("waits", current_run().id)
    return spin(name)


@task(id="sticks-computing")
async def sticks_computing(name: str = "go") -> int:
    return await computes(name)


@task(id="sticks-apart-computing", isolation="process")
async def sticks_apart_computing(name: str = "go") -> int:
    return await computes(name)


async def words(name: str) -> AsyncIterator[str]:
    while not gate(name).exists():
        await asyncio.sleep(0.02)
    yield name


@step
async def branch(name: str) -> str:
    async for word in words(name):
        return word
    return ""


@step
async def in_a_thread(name: str) -> None:
    await asyncio.to_thread(hold, name)


@step
async def by_asgiref(name: str) -> None:
    await sync_to_async(hold, thread_sensitive=False)(name)


@task(id="sticks-branches")
async def sticks_branches(name: str = "go") -> list[Any]:
    note("waits", current_run().id)
    return await asyncio.gather(branch(name), in_a_thread(name), by_asgiref(name))


@step
def lives(name: str, how: str) -> str:
    """Says something again and again, until its gate opens."""
    note("waits", current_run().id)
    number, words_out = 0, stream("words")
    while not gate(name).exists():
        number += 1
        if how == "log":
            log.info("still here", number=number)
        elif how == "heartbeat":
            heartbeat(number)
        elif how == "progress":
            current_run().progress(0.5, f"number {number}")
        elif how == "checkpoint":
            checkpoint({"number": number})
        elif how == "stream":
            words_out.send(number)
        time.sleep(0.05)
    return how


@task(id="sticks-lively")
def sticks_lively(how: str, name: str = "go") -> str:
    return lives(name, how)


@step
async def quick() -> None:
    await asyncio.sleep(0.001)


@task(id="sticks-between")
async def sticks_between(name: str = "go") -> str:
    """Is in no step while it waits."""
    await quick()
    note("waits", current_run().id)
    await open_gate(name)
    return name


@task(id="sticks-resting")
async def sticks_resting(name: str = "go") -> Any:
    """One branch waits for a signal, which may take as long as it likes; the other is at work."""
    note("waits", current_run().id)
    return await asyncio.gather(wait.asignal("paid"), waits_for(name))
