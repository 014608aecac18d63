"""Tasks that are asked for something and answer. Loaded by path, like `tasks.py`."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from pydantic import BaseModel, field_validator

from runs import Retry, WaitTimeout, current_run, step, task, wait
from runs.errors import StepMisuse
from tests.support.ledger import note

AGAIN = Retry(max_attempts=3, min_delay=0, max_delay=0)


class PriceChange(BaseModel):
    price: int

    @field_validator("price")
    @classmethod
    def not_thirteen(cls, price: int) -> int:
        """What no JSON Schema says: only the run finds out."""
        if price == 13:
            raise ValueError("13 brings bad luck")
        return price


@step
async def cost() -> int:
    return 4


@step
def cost_sync() -> int:
    return 4


@task(id="sells")
async def sells(changes: int = 1, before: float = 0) -> list[int]:
    price, prices = 10, []
    await cost()
    if before:
        await wait.asleep(before)
    for _ in range(changes):
        change = await wait.aupdate("set-price", type=PriceChange, timeout=3600)
        note("asked", change.value.price, change.by)
        if change.value.price < await cost():
            await change.arefuse("below cost")
        else:
            old, price = price, change.value.price
            await change.areply({"old": old})
        prices.append(price)
    return prices


def sell() -> list[int]:
    price, prices = 10, []
    for _ in range(2):
        change = wait.update("set-price", type=PriceChange, timeout=3600)
        if change.value.price < cost_sync():
            change.refuse("below cost")
        else:
            old, price = price, change.value.price
            change.reply({"old": old})
        prices.append(price)
        wait.sleep(0)
    return prices


@task(id="sells-sync")
def sells_sync() -> list[int]:
    return sell()


@task(id="sells-apart", isolation="process")
def sells_apart() -> list[int]:
    return sell()


@task(id="sells-apart-async", isolation="process")
async def sells_apart_async() -> list[int]:
    return await sells.function(2)


@task(id="answers-late", retry=AGAIN)
async def answers_late(die: str) -> Any:
    """Its first attempt fails before, or after, the reply."""
    change = await wait.aupdate("work")
    if die == "before" and current_run().attempt == 1:
        raise ConnectionError("before the reply")
    await change.areply({"attempt": current_run().attempt})
    if die == "after" and current_run().attempt == 1:
        raise ConnectionError("after the reply")
    await wait.asleep(2.5)  # it leaves, and is entered again
    return change.value


@task(id="leaves-unanswered")
async def leaves_unanswered(fail: bool = False) -> str:
    change = await wait.aupdate("work")
    if fail:
        raise ValueError("without an answer")
    return f"took {change.value}"


@task(id="never-asks")
async def never_asks() -> str:
    await wait.asignal("end")
    return "ended"


@task(id="races-for-updates")
async def races_for_updates() -> list[Any]:
    """The loser of the race had taken the update: it is for who waits next."""
    won = await wait.afirst(wait.asignal("go"), wait.aupdate("work"))
    change = await wait.aupdate("work")
    await change.areply("second")
    return [won.index, change.value]


@task(id="answers-wrongly")
async def answers_wrongly() -> list[str]:
    told = []
    change = await wait.aupdate("work")
    try:
        change.reply(1)
    except Exception as error:
        told.append(str(error))
    try:
        await change.areply(object())
    except Exception as error:
        told.append(type(error).__name__)
    await change.areply(2)
    for again in (change.areply, change.arefuse):
        try:
            await again("no")
        except Exception as error:
            told.append(str(error))
    return told


@task(id="answers-in-a-transaction")
def answers_in_a_transaction() -> str:
    change = wait.update("work")
    try:
        with transaction.atomic():
            change.reply(1)
    except StepMisuse as misuse:
        change.refuse(str(misuse))
    return "answered"


@task(id="times-out-asking")
async def times_out_asking() -> str:
    try:
        await wait.aupdate("work", timeout=0.1)
    except WaitTimeout:
        return "nothing"
    return "something"


@task(id="publishes")
async def publishes() -> None:
    current_run().set_metadata({"rows": 7})
    current_run().progress(0.5, "half")
    await wait.asignal("end")
