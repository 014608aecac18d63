"""Isolated tasks, most of which kill their process. Loaded by path, like `tasks.py`."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import signal
import subprocess
import time
from decimal import Decimal
from typing import Any

from runs import Abort, GiB, MiB, Retry, acheckpoint, checkpoint, current_run, log, step, task, usage, wait
from tests.support.ledger import gate, note, noted

AGAIN = Retry(max_attempts=3, min_delay=0, max_delay=0)


@step
def stone(name: str) -> str:
    note("stone", current_run().id, name)
    return name


@step(retry=Retry(max_attempts=2, min_delay=0, max_delay=0))
async def brick(name: str, fail: bool = False) -> str:
    note("brick", current_run().id, name)
    if fail and noted("brick", current_run().id, name) == 1:
        raise ConnectionError("once")
    return name


@task(id="apart", isolation="process", retry=AGAIN)
def apart() -> dict[str, Any]:
    """Everything that a plain task does."""
    before = current_run().state
    first = stone("first")
    log.info("by log", number=1)
    print("by print")
    logging.getLogger("library.of.theirs").warning("by logging %s", 3)
    checkpoint({"attempt": current_run().attempt})
    if current_run().attempt == 1:
        raise ConnectionError("the first attempt fails on purpose")
    print("no newline", end="")
    return {"pid": os.getpid(), "first": first, "before": before, "state": current_run().state}


@task(id="apart-async", isolation="process", retry=AGAIN)
async def apart_async() -> dict[str, Any]:
    before = current_run().state
    names = await asyncio.gather(*(brick(f"b{n}", fail=n == 3) for n in range(50)))
    print("by print")
    await acheckpoint({"attempt": current_run().attempt})
    if current_run().attempt == 1:
        raise ConnectionError("the first attempt fails on purpose")
    return {"pid": os.getpid(), "names": len(names), "before": before}


@step(retry=Retry(max_attempts=2, min_delay=2.5, max_delay=2.5, jitter=False))
def later() -> int:
    note("later", current_run().id)
    if not gate("later").exists():
        gate("later").touch()
        raise ConnectionError("come back later")
    return os.getpid()


@task(id="apart-later", isolation="process")
def apart_later() -> list[Any]:
    return [stone("first"), later(), current_run().attempt]


@task(id="apart-orm", isolation="process")
def apart_orm() -> int:
    from runs.models import Run

    return Run.objects.count()


@task(id="apart-orm-async", isolation="process")
async def apart_orm_async() -> int:
    from runs.models import Run

    return await Run.objects.acount()


@task(id="apart-enqueues", isolation="process")
def apart_enqueues() -> str:
    return str(apart_orm.enqueue().id)


@task(id="apart-aborts", isolation="process", memory_limit=64 * MiB, retry=AGAIN)
async def apart_aborts() -> None:
    raise Abort("no use")


@task(id="segfaults", isolation="process", retry=Retry(max_attempts=2, min_delay=0, max_delay=0))
def segfaults(times: int) -> int:
    stone("before")
    if current_run().attempt <= times:
        print("last words", flush=True)
        ctypes.string_at(0)
    return current_run().attempt


@task(id="segfaults-async", isolation="process")
async def segfaults_async() -> None:
    await brick("before")
    ctypes.string_at(0)


@task(id="exits-hard", isolation="process")
def exits_hard() -> None:
    os._exit(7)


@task(id="signalled", isolation="process")
def signalled(number: int) -> None:
    note("signalled")
    os.kill(os.getpid(), number)
    time.sleep(30)


@task(id="hog", isolation="process", memory_limit=32 * MiB)
def hog() -> None:
    kept = []
    while True:
        kept.append(bytearray(MiB))


@task(id="hog-async", isolation="process", memory_limit=32 * MiB)
async def hog_async() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(_swell(GiB))


async def _swell(size: int) -> int:
    return len(bytearray(size))


@task(id="grows", isolation="process", memory_limit=32 * MiB, memory_limit_max=100 * MiB, retry=AGAIN)
def grows(size: int) -> int:
    """Needs what its third attempt has."""
    note("grows", current_run().attempt)
    return len(bytearray(size * MiB))


@task(id="computes", isolation="process", max_duration=3)
def computes() -> None:
    """Never yields, but lets Python handle signals."""
    try:
        while True:
            sum(range(1_000))
    finally:
        note("tidied", os.getpid())


@task(id="computes-async", isolation="process", max_duration=0.4)
async def computes_async() -> None:
    while True:
        sum(range(1_000))


@task(id="sleeps-async", isolation="process", max_duration=0.3)
async def sleeps_async() -> None:
    await asyncio.sleep(60)


@task(id="deaf", isolation="process", max_duration=0.3)
def deaf() -> None:
    """Holds its process where no signal but SIGKILL gets through."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    note("deaf")
    while True:
        sum(range(1_000))


@task(id="long-apart", isolation="process", retry=AGAIN)
def long_apart(name: str, boundary: bool = False) -> str:
    """Computes until the gate opens."""
    stone("before")
    note("long", name, os.getpid())
    while not gate(name).exists():
        time.sleep(0.02)
        if boundary:
            checkpoint(None)
    stone("after")
    return name


@task(id="long-apart-async", isolation="process")
async def long_apart_async(name: str) -> str:
    await brick("before")
    note("long", name, os.getpid())
    try:
        while not gate(name).exists():
            await asyncio.sleep(0.02)
    finally:
        note("tidied", name)
    return name


@task(id="starts-a-program", isolation="process")
def starts_a_program() -> int:
    program = subprocess.Popen(["sleep", "600"])
    note("program", program.pid)
    return program.pid


@step
def spends(name: str) -> str:
    usage(cost=Decimal("0.5"), tokens_out=3)
    note("spends", current_run().id, name)
    return name


@task(id="apart-spends", isolation="process", budget={"cost": 1})
def apart_spends(steps: int) -> int:
    """Is parked before its third step."""
    for number in range(steps):
        current_run().progress(number / steps, f"step {number}")
        spends(f"s{number}")
    current_run().set_metadata({"steps": steps})
    return steps


def hook(name: str) -> Any:
    def called(about: Any = None) -> None:
        run = current_run()
        note(name, run.id, getattr(about, "type", about))
        if name in run.tags:
            os.kill(os.getpid(), signal.SIGKILL)

    return called


HOOKS = {name: hook(name) for name in ("on_start", "on_success", "on_failure", "on_cancel", "on_wait", "on_resume")}


@task(id="apart-hooked", isolation="process", **HOOKS)
def apart_hooked(how: str) -> str:
    if how == "die":
        os._exit(7)
    if how == "wait":
        wait.sleep(3.5)
    if how == "compute":
        note("computes", current_run().id)
        while True:
            sum(range(1_000))
    return how


@task(id="apart-hooked-async", isolation="process", **HOOKS)
async def apart_hooked_async(how: str) -> str:
    if how == "die":
        os._exit(7)
    if how == "wait":
        await wait.asleep(3.5)
    if how == "compute":
        note("computes", current_run().id)
        await asyncio.sleep(60)
    return how
