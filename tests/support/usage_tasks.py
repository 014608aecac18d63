"""Tasks that use tokens and money. Loaded by path, like `tasks.py`."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from runs import Retry, checkpoint, current_run, step, task, usage, wait
from tests.support.ledger import gate, note, noted

COST = Decimal("0.1")


@step
async def asks_model(number: int) -> int:
    note("asked", number)
    usage(tokens_in=100, tokens_out=7)
    usage(tokens_out=3, cost=COST)
    return number


@step
def asks_model_sync(number: int) -> int:
    note("asked", number)
    usage(cost=COST, pages=1.5)
    return number


@task(id="uses")
async def uses(count: int = 3) -> int:
    return sum([await asks_model(n) for n in range(count)])


@task(id="uses-sync")
def uses_sync(count: int = 3) -> int:
    return sum(asks_model_sync(n) for n in range(count))


@task(id="uses-and-fails", retry=Retry(max_attempts=2, min_delay=0.01, max_delay=0.02))
async def uses_and_fails() -> str:
    usage(between=1)
    await asks_model(1)
    usage(between=10)

    @step(retry=Retry(max_attempts=2, min_delay=0.01, max_delay=0.02))
    async def flaky() -> str:
        usage(tries=1)
        if noted("flaky") < 3:
            note("flaky")
            raise ConnectionError("not yet")
        return "done"

    return await flaky()


@task(id="uses-badly")
async def uses_badly(how: str) -> None:
    if how == "negative":
        usage(cost=-1)
    if how == "unit":
        usage(**{"a b": 1})
    usage(tokens_in=True)


@task(id="budgeted", budget={"cost": Decimal("0.25")})
async def budgeted(count: int = 6) -> int:
    return sum([await asks_model(n) for n in range(count)])


@task(id="budgeted-sync", budget={"cost": Decimal("0.25"), "pages": 100})
def budgeted_sync(count: int = 6) -> int:
    checkpoint("begun")
    return sum(asks_model_sync(n) for n in range(count))


@task(id="budgeted-side-by-side", budget={"cost": Decimal("0.2")})
async def budgeted_side_by_side() -> list[int]:
    @step
    async def slow() -> int:
        note("slow")
        while not gate("slow").exists():
            await asyncio.sleep(0.02)
        return 99

    async def spend() -> int:
        return sum([await asks_model(n) for n in range(4)])

    return list(await asyncio.gather(slow(), spend()))


@task(id="budgeted-parent", budget={"cost": Decimal("0.45")})
async def budgeted_parent(children: int, each: int = 1) -> list[int]:
    await asks_model(1000)
    return await uses.aenqueue_many_and_wait([{"count": each}] * children)


@task(id="budgeted-parent-of-sleeper", budget={"cost": Decimal("1")})
async def budgeted_parent_of_sleeper() -> None:
    await sleeper.aenqueue_and_wait()


@task(id="sleeper")
async def sleeper() -> None:
    await asks_model(1)
    note("slept", current_run().id)
    await wait.asignal("never")
