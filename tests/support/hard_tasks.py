"""Tasks that do what tasks should not do, or what goes wrong. Loaded by path, like `tasks.py`."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, computed_field

from runs import Retry, current_run, log, step, task, wait
from tests.support.ledger import first_time, gate, note


class Delivery(BaseModel):
    """As strict as models can be."""

    model_config = ConfigDict(strict=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")
    at: datetime
    price: Decimal
    order: UUID
    label: bytes


@task(id="delivers", events=["delivery.planned"])
async def delivers(delivery: Delivery) -> Delivery:
    return delivery


class Square(BaseModel):
    """Writes what it refuses to read."""

    model_config = ConfigDict(extra="forbid")
    side: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def area(self) -> int:
        return self.side**2


@task(id="makes-square")
async def makes_square() -> Square:
    return Square(side=3)


@task(id="wants-square", retry=Retry(max_attempts=3, min_delay=0.01, max_delay=0.02))
async def wants_square() -> int:
    return (await makes_square.aenqueue_and_wait()).side


@step(retry=Retry(max_attempts=2, min_delay=3.5, max_delay=3.5, jitter=False))
async def later(name: str) -> str:
    """Fails once, and its next try is due so late that the run is put down."""
    note("later", name)
    if first_time(name):
        raise ConnectionError("come back later")
    return name


@step
async def quick(name: str) -> str:
    note("quick", name)
    return name


@task(id="group-put-down")
async def group_put_down() -> list[str]:
    run = str(current_run().id)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(quick(f"{run}-a"))
        second = group.create_task(later(f"{run}-b"))
    return [first.result()[-1], second.result()[-1]]


@task(id="gather-put-down")
async def gather_put_down() -> list[str]:
    run = str(current_run().id)
    found = await asyncio.gather(quick(f"{run}-a"), later(f"{run}-b"), return_exceptions=True)
    return [str(value)[-1] for value in found]


@task(id="catch-all-put-down")
async def catch_all_put_down() -> str:
    run = str(current_run().id)
    try:
        return await later(f"{run}-b")
    except BaseException:
        note("caught")
        return "swallowed"


@step
async def nap(name: str) -> None:
    note("nap", name)
    await asyncio.sleep(0.3)


@task(id="group-of-naps")
async def group_of_naps(count: int = 12) -> str:
    async def one(sleeper: str) -> None:
        for number in range(count):
            await nap.using(key=f"{sleeper}-{number}")(f"{current_run().id}-{sleeper}-{number}")

    async with asyncio.TaskGroup() as group:
        group.create_task(one("a"))
        group.create_task(one("b"))
    return "rested"


@task(id="stuck")
def stuck() -> str:
    """Blocks its thread until the gate opens; no step boundary in sight."""
    note("stuck", current_run().attempt)
    while not gate("stuck").exists():
        time.sleep(0.05)
    return "free"


@task(id="returns")
async def returns(value: str) -> str:
    return value


@task(id="returns-much")
async def returns_much(size: int) -> str:
    return "x" * size


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError("no words for it")


@step
async def takes(value: Any) -> int:
    return 1


@task(id="odd-arguments")
async def odd_arguments() -> int:
    circle: list[Any] = []
    circle.append(circle)
    deep: list[Any] = []
    for _ in range(5_000):
        deep = [deep]
    odd = [Unshowable(), "half \ud800", circle, deep, {(1, Unshowable()): 2}, b"\xff", float("nan"), 10**5_000]
    return sum([await takes(value) for value in odd])


@task(id="odd-lines")
async def odd_lines() -> None:
    logging.getLogger("theirs").log(10**6, "above all")
    log.info("an unshowable field", thing=Unshowable())
    log.info("a long field", text="x" * 3_000_000)
    log.info("half \ud800 nul \x00")
    logging.getLogger("theirs").info("%s")
    logging.getLogger("theirs").info("%d", "not a number")
    print("y" * 1_000_000)
    print("the end")


@task(id="chatty")
async def chatty(count: int) -> None:
    for number in range(count):
        print(number)


@task(id="chatty-sync")
def chatty_sync(count: int) -> None:
    for number in range(count):
        logging.getLogger("theirs").info("%d", number)


@step
def slow_stone(name: str) -> str:
    note("slow", name)
    if name.startswith("left"):
        while not gate("left").exists():
            time.sleep(0.02)
    return name


@task(id="leaves-a-thread", retry=Retry(max_attempts=2, min_delay=0, max_delay=0))
def leaves_a_thread() -> str:
    """Its first attempt ends while a thread of its own is in the middle of a step."""
    if current_run().attempt == 1:
        context = copy_context()
        threading.Thread(target=context.run, args=(slow_stone, "left"), daemon=True).start()
        while "left" not in Path(os.environ["TESTS_LEDGER"]).read_text():
            time.sleep(0.01)
        raise ValueError("the attempt ends, its thread does not")
    found = slow_stone("one")
    gate("left").touch()
    time.sleep(0.5)
    return found + slow_stone("two")


@task(id="resists")
async def resists() -> str:
    """Leaves a task behind that will not be cancelled."""

    async def forever() -> None:
        while not gate("resists").exists():
            try:
                await asyncio.sleep(0.05)
            except asyncio.CancelledError:
                note("resisted")

    asyncio.get_running_loop().create_task(forever())
    await asyncio.sleep(0)
    return "done"


@step
async def fans_out() -> int:
    """Starts asyncio tasks of its own."""

    async def one(number: int) -> int:
        await asyncio.sleep(0.01)
        return number

    return sum(await asyncio.gather(one(1), one(2)))


@step
async def branched(number: int) -> int:
    note("branched", number)
    return number


@task(id="branches-after-a-step-of-many-tasks")
async def branches_after_a_step_of_many_tasks() -> list[int]:
    total = await fans_out()
    found = await asyncio.gather(branched(1), branched(2))
    await wait.asignal("go")
    return [total, *found]


@step
async def long(seconds: float) -> str:
    note("long")
    await asyncio.sleep(seconds)
    return "done"


@step(safety="unsafe")
async def long_and_unsafe(seconds: float) -> str:
    note("long")
    await asyncio.sleep(seconds)
    return "done"


@task(id="works-beside-a-listener")
async def works_beside_a_listener(how: str, listens_on: bool = False) -> list[Any]:
    async def listen() -> Any:
        return await wait.asignal("go")

    listener = asyncio.create_task(listen())
    if how in ("step", "unsafe"):
        await (long(0.7) if how == "step" else long_and_unsafe(0.7))
    else:
        await asyncio.sleep(0)
        note("long")
        await (asyncio.sleep(0.7) if how == "sleep" else asyncio.to_thread(time.sleep, 0.7))
    note("through")
    if listens_on:
        return ["done", await listener]
    listener.cancel()
    return ["done"]


@task(id="uses-the-orm")
async def uses_the_orm() -> int:
    from runs.models import Run

    return await Run.objects.acount()


@task(id="open-transaction")
def open_transaction(leave: bool) -> int:
    from django.db import transaction

    from runs.models import Run

    if leave:
        transaction.atomic().__enter__()
    return Run.objects.count()


@task(id="exits-in-a-group")
async def exits_in_a_group() -> None:
    async def leave() -> None:
        raise SystemExit(7)

    await asyncio.gather(leave(), asyncio.sleep(0.01))


@task(id="interrupts-in-a-group")
async def interrupts_in_a_group() -> None:
    async def leave() -> None:
        raise KeyboardInterrupt

    async with asyncio.TaskGroup() as group:
        group.create_task(leave())


@step
def by_hand(number: int) -> int:
    return number


@task(id="steps-in-bare-threads")
def steps_in_bare_threads() -> list[int]:
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(by_hand, range(3)))


@task(id="steps-in-bare-threads-apart", isolation="process")
def steps_in_bare_threads_apart() -> list[int]:
    return steps_in_bare_threads.function()
