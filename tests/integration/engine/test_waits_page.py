"""The examples of the page about waits do what the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from holdfast.access.grants import Actor
from runs import answers, registration
from runs.errors import UpdateRefused
from runs.models import Wait
from runs.sdk.handle import RunHandle
from tests.support.processes import ROOT, Fleet
from tests.support.runs import run, the
from tests.support.waiting import eventually

ACTOR = Actor.system("test")
PAGE = ROOT / "platform" / "docs" / "waits.md"


@pytest.fixture
def examples(fleet: Fleet, data_dir: Path, settings: Any) -> Fleet:
    """A fleet whose tasks are those of the page."""
    path = data_dir / "waits_of_the_page.py"
    path.write_text("\n".join(re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)))
    settings.HOLDFAST_TASKS = [str(path)]
    fleet.environment["HOLDFAST_TASKS"] = str(path)
    registration.discover()
    registration.register_all()
    fleet.pair()
    return fleet


def asked(handle: RunHandle[Any], kind: str) -> Wait:
    eventually(lambda: run(handle.id).status == "waiting", "the run waits")
    return Wait.objects.get(run_id=handle.id, kind=kind)


def test_every_example_of_the_page_runs(examples: Fleet) -> None:
    assert the("sum-of-squares").enqueue(4).result(timeout=60) == 14
    assert the("remind").enqueue("water the kelp", 0.00001).result(timeout=60) is None
    order = the("order").enqueue(7)
    answers.run_signal(order.id, "paid", 1995, actor=ACTOR)
    assert order.result(timeout=60) == "order 7: 1995 cents"
    sell = the("sell").enqueue(5)
    with pytest.raises(UpdateRefused, match="below cost"):
        sell.update("set-price", {"price": 3}, timeout=60)
    assert sell.update("set-price", {"price": 8}, timeout=60, key="order-16") == {"old": 10}
    eventually(lambda: sell.query().metadata == {"price": 8}, "the price is published")
    lower = the("sell").function.__globals__["lower"]
    assert lower(sell, 5, "order-17") == "was 8"
    assert sell.result(timeout=60) == 5
    pay = the("pay").enqueue(1995)
    answers.wait_complete(asked(pay, "token").pk, True, actor=ACTOR)
    assert pay.result(timeout=60) is True
    publish = the("publish").enqueue("Kelp forests are …")
    form = {"title": "Kelp"}
    answers.approval_decide(asked(publish, "approval").pk, approved=True, form=form, actor=ACTOR)
    assert publish.result(timeout=60) == "Kelp, by test"
    adding = the("add-up").enqueue(rounds=3)
    for amount in range(30):
        answers.run_signal(adding.id, "amount", amount, actor=ACTOR)
    assert adding.result(timeout=60) == sum(range(30))
    race = the("order-or-give-up").enqueue(7)
    answers.run_signal(race.id, "cancelled", None, actor=ACTOR)
    assert race.result(timeout=60) == "cancelled"
