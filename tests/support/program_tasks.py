"""A task that executes a program: for tests that crash it anywhere and compare what becomes of it.

Its result depends on nothing but the program (`tests.support.programs` writes them). Loaded by path, like `tasks.py`.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import Any
from uuid import UUID

from asgiref.sync import sync_to_async

from holdfast.access.grants import Actor
from runs import (
    Retry,
    acheckpoint,
    acompletion,
    checkpoint,
    continue_as_new,
    current_run,
    heartbeat,
    log,
    step,
    task,
    usage,
    wait,
)
from runs.answers import run_signal, wait_complete
from runs.errors import WaitOver
from runs.updates import update_send
from tests.support.programs import signals

Program = list[dict[str, Any]]


def note(*words: object) -> None:
    fd = os.open(os.environ["TESTS_LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(fd, (" ".join(["0", str(os.getpid()), *map(str, words)]) + "\n").encode())
    finally:
        os.close(fd)


def first_time(name: str) -> bool:
    try:
        os.close(os.open(f"{os.environ['TESTS_LEDGER']}-{name}", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


@step
async def plain(name: str) -> str:
    note("called", current_run().id, name)
    usage(calls=1)
    heartbeat(name)
    await asyncio.sleep(0.001)
    return name.upper()


@step(retry=Retry(max_attempts=3, min_delay=0.001, max_delay=0.002))
async def shaky(name: str) -> str:
    note("called", current_run().id, name)
    if first_time(f"{current_run().id}-{name}"):
        raise ConnectionError(f"{name} fails once")
    return name.upper()


@step(local=True)
def plain_sync(name: str) -> str:
    note("called", current_run().id, name)
    usage(calls=1)
    return name.upper()


async def perform(operation: dict[str, Any]) -> Any:
    name = operation["name"]
    match operation["do"]:
        case "step":
            return await plain(name)
        case "shaky":
            return await shaky(name)
        case "checkpoint":
            await acheckpoint({"at": name})
            return name
        case "log":
            log.info(f"at {name}")
            return None
        case "sleep":
            return await wait.asleep(0.02)
        case "signal":
            return [await wait.asignal(name, timeout=3600), await answered(f"{name}-outside")]
        case "race":
            won = await wait.afirst(wait.asleep(3600), wait.asignal(name))
            return [won.index, won.value]
        case "together":
            return await asyncio.gather(*map(execute, operation["branches"]))
        case "child":
            return await program.aenqueue_many_and_wait([{"operations": p} for p in operation["programs"]])
    raise ValueError(operation["do"])


async def execute(operations: Program) -> list[Any]:
    return [await perform(operation) for operation in operations]


@task(id="program", retry=Retry(max_attempts=2, min_delay=0.001, max_delay=0.002))
async def program(operations: Program) -> list[Any]:
    """Sends itself the signals that it will wait for. One may be sent twice; the second stays unread."""
    for name in signals(operations):
        await send(name)
    return await execute(operations)


@step
async def answered(name: str) -> str:
    """Somebody outside finishes it: the same process, before the function has left."""
    later = await acompletion(timeout=3600)
    note("called", current_run().id, name)
    await sync_to_async(complete)(later.id, name.upper())
    later.hand_over()


def complete(token: UUID, value: str) -> None:
    with suppress(WaitOver):  # a try that died had completed it
        wait_complete(token, value, actor=Actor.system("test"))


@step
async def send(name: str) -> None:
    await sync_to_async(run_signal)(current_run().id, name, f"for {name}", actor=Actor.system("test"))


@step
def ask_sync(name: str) -> None:
    for payload in ("seven", 7):
        update_send(current_run().id, "work", payload, key=f"{name}-{payload}", actor=Actor.system("test"))


async def succeeded() -> None:
    note("succeeded", current_run().id)


@task(
    id="program-sync",
    retry=Retry(max_attempts=2, min_delay=0.001, max_delay=0.002),
    budget={"calls": 1_000_000},
    on_success=succeeded,
)
def program_sync(operations: Program, again: bool = True) -> list[Any]:
    """It and its children draw on a budget that is never used up, and it has a hook. It has two rounds, and in each it
    asks itself for something twice, the first time for what does not fit."""
    found: list[Any] = []
    ask_sync("first" if again else "last")
    change = wait.update("work", type=int, timeout=3600)
    change.reply(change.value + 1)
    current_run().progress(0.5)
    for operation in operations:
        name = operation["name"]
        match operation["do"]:
            case "checkpoint":
                checkpoint({"at": name})
            case "sleep":
                wait.sleep(0.02)
            case "child":
                found += program.enqueue_many_and_wait([{"operations": p} for p in operation["programs"]])
            case _:
                found.append(plain_sync(name))
    if again:
        continue_as_new([{**operation, "name": f"{operation['name']}-again"} for operation in operations], again=False)
    return found
