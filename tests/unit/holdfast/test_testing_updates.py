"""Updates in the test kit: the run answers what the test asks."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from holdfast.testing import crash_at, inline, run_inline, send_signal, send_update
from holdfast.testing.errors import StillWaiting
from runs import step, task, wait
from runs.errors import InvalidPayload


class PriceChange(BaseModel):
    price: int


@step
async def note(price: int) -> int:
    return price


@task(id="kit-sells")
async def sells(count: int = 2) -> list[int]:
    prices = []
    for _ in range(count):
        change = await wait.aupdate("set-price", type=PriceChange, timeout=60)
        if change.value.price < 4:
            await change.arefuse("below cost")
        else:
            await change.areply({"new": change.value.price})
        prices.append(await note(change.value.price))
    return prices


@task(id="kit-sells-sync")
def sells_sync() -> str:
    change: Any = wait.update("set-price", type=PriceChange)
    change.reply(change.by)
    return str(change.value.price)


def test_updates_that_are_given_beforehand_are_answered_in_order() -> None:
    found = run_inline(sells, answers=[send_update("set-price", {"price": 5}), send_update("set-price", {"price": 3})])
    assert found.output == [5, 3]
    assert [(u.outcome, u.reply, u.reason) for u in found.updates] == [
        ("replied", {"new": 5}, ""),
        ("refused", None, "below cost"),
    ]


def test_a_test_asks_while_the_run_waits_and_reads_the_reply() -> None:
    with inline(sells_sync) as run:
        run.until_waiting()
        with pytest.raises(InvalidPayload, match=r"payload\.price"):
            run.send_update("set-price", {"price": "much"})
        run.send_update("set-price", {"price": 5}, by="ada")
        assert run.result().updates[0].reply == "ada"
    with inline(sells_sync) as run, pytest.raises(StillWaiting, match=r"answers=\[send_update\('set-price'\)\]"):
        run.result()


def test_what_does_not_fit_is_refused_and_what_nobody_takes_is_abandoned() -> None:
    given = [send_update("set-price", payload) for payload in ("much", {"price": 5}, {"price": 6})]
    found = run_inline(sells, count=1, answers=given)
    assert found.output == [5]
    assert [u.outcome for u in found.updates] == ["refused", "replied", "abandoned"]
    assert found.updates[0].reason.startswith("payload")


@pytest.mark.parametrize(
    "crash",
    [
        crash_at("wait-opened", wait="set-price"),
        crash_at("answer-written", wait="set-price"),  # the update is taken, and not answered
        crash_at("answer-written", wait="reply:update:set-price#1"),
        crash_at("before-step", step="note"),
        crash_at("snapshot-written", step="note", nth=2),
    ],
    ids=lambda crash: f"{crash.point}-{crash.wait or crash.step}",
)
def test_wherever_an_attempt_dies_the_reply_is_given_once(crash: Any) -> None:
    answers = [send_update("set-price", {"price": price}) for price in (5, 6)]
    found = run_inline(sells, answers=answers, crashes=crash)
    assert found.output == [5, 6]
    assert [u.reply for u in found.updates] == [{"new": 5}, {"new": 6}]
    assert len([s for s in found.snapshots if s.key.startswith("reply:")]) == 2


def test_the_loser_of_a_race_gives_back_what_it_had_taken() -> None:
    @task(id="kit-races")
    async def races() -> list[Any]:
        won = await wait.afirst(wait.asignal("go"), wait.aupdate("work"))
        change = await wait.aupdate("work")
        await change.areply("second")
        return [won.index, change.value]

    found = run_inline(races, answers=[send_signal("go"), send_update("work", 1)])
    assert (found.output, found.updates[0].reply) == ([0, 1], "second")
