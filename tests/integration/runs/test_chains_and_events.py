"""`a.then(b)` and `emit(…)`: tasks one after the other, and many tasks for one event."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import transaction

from holdfast.access.grants import Actor
from runs import aemit, emit, services
from runs.errors import DeclarationError, HoldfastError, InvalidOption, InvalidPayload, RunFailed
from runs.models import Run
from runs.sdk.events import declared
from tests.support.processes import Fleet
from tests.support.runs import run, the
from tests.support.waiting import eventually

pytestmark = pytest.mark.usefixtures("registered")


@pytest.fixture
def worked(fleet: Fleet) -> Fleet:
    fleet.worker("worker-1")
    fleet.scheduler()
    return fleet


# ── chains ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_task_is_called_with_the_result_of_the_one_before(worked: Fleet) -> None:
    chain = the("prices").then(the("doubles"), factor=10).then(the("announces"), loud=True)
    handle = chain.enqueue(article="lamp")
    assert handle.result(timeout=60) == "40!"
    children = list(Run.objects.filter(parent_id=handle.id).order_by("id"))
    assert [(c.task_id, c.payload) for c in children] == [
        ("prices", {"article": "lamp"}),
        ("doubles", {"article": "lamp", "price": 4, "factor": 10}),
        ("announces", {"text": 40, "loud": True}),
    ]
    assert {c.trace_id for c in children} == {run(handle.id).trace_id}
    assert the("prices").then(the("talks")).enqueue(article="x").result(timeout=60) is None, "it takes nothing"


def test_a_chain_stops_where_a_task_fails_and_goes_on_from_there_when_it_is_retried(worked: Fleet) -> None:
    chain = the("echo").then(the("fails-once-by-hand")).then(the("echo"))
    handle = chain.enqueue(value=7)
    with pytest.raises(RunFailed, match="not yet"):
        handle.result(timeout=60)
    Path(f"{worked.ledger.path}-mended").touch()
    services.run_retry(handle.id, actor=Actor.local())
    assert eventually(lambda: handle.refresh().status == "completed", "the chain completes")
    assert handle.result(timeout=60) == 8
    assert Run.objects.filter(parent_id=handle.id, task_id="echo").count() == 2, "the first link ran once"
    assert worked.ledger.count("link") == 2


def test_options_of_a_chain_are_those_of_its_run(worked: Fleet) -> None:
    chain = the("echo").then(the("echo")).using(tags=["import"], idempotency_key="k")
    first, second = chain.enqueue(value=1), chain.enqueue(value=1)
    assert (first.id, second.created) == (second.id, False)
    assert run(first.id).tags == ["import"]
    assert first.result(timeout=60) == 1


def test_a_payload_that_the_first_task_does_not_take_is_refused_when_the_chain_is_enqueued() -> None:
    with pytest.raises(InvalidPayload, match=r"typed: payload\.count"):
        the("typed").then(the("echo")).enqueue(count="many")
    assert not Run.objects.exists()


def test_a_result_that_the_next_task_does_not_take_ends_the_chain_and_says_so(worked: Fleet) -> None:
    with pytest.raises(RunFailed, match="doubles takes article, price, factor"):
        the("echo").then(the("doubles")).enqueue(value=5).result(timeout=60)
    with pytest.raises(RunFailed, match=r"counts-orders: payload\.number"):
        the("echo").then(the("counts-orders")).enqueue(value="five").result(timeout=60)


def test_a_chain_that_makes_no_sense_is_refused_where_it_is_written() -> None:
    with pytest.raises(DeclarationError, match="write a task"):
        the("echo").then(len)  # type: ignore[arg-type]
    with pytest.raises(DeclarationError, match="it takes value"):
        the("prices").then(the("echo"), valve=1)
    with pytest.raises(InvalidOption, match="priority"):
        the("prices").then(the("echo")).using(priority=1_000)


# ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_event_starts_a_run_of_each_task_that_subscribes(worked: Fleet) -> None:
    handles = emit("order.paid", {"number": 17, "text": "thanks", "unknown": 1}, priority=3)
    assert [handle.result(timeout=60) for handle in handles] == ["thanks", 17]
    runs = {r.task_id: r for r in Run.objects.all()}
    assert {t: (r.payload, r.tags, r.priority) for t, r in runs.items()} == {
        "counts-orders": ({"number": 17}, ["event:order.paid"], 3),
        "announces": ({"text": "thanks"}, ["event:order.paid"], 3),
    }


def test_one_star_stands_for_all_that_begin_so_and_nobody_may_listen() -> None:
    assert [run(h.id).task_id for h in emit("order.cancelled", {"number": 1})] == ["counts-orders"]
    assert emit("orders.cancelled", {"number": 1}) == emit("order", {}) == []


def test_an_event_with_a_key_starts_one_run_of_each_task() -> None:
    payload = {"number": 1, "text": "x"}
    first = emit("order.paid", payload, idempotency_key="evt_1")
    again = emit("order.paid", payload, idempotency_key="evt_1")
    assert [h.id for h in first] == [h.id for h in again]
    assert not any(h.created for h in again)


def test_an_event_is_all_or_none_and_the_callers_transaction() -> None:
    with pytest.raises(InvalidPayload, match=r"announces: payload\.text") as refused:
        emit("order.paid", {"number": 1})
    assert refused.value.data["errors"][0]["field"] == "payload.text"
    with transaction.atomic():
        emit("order.paid", {"number": 1, "text": "x"})
        transaction.set_rollback(True)
    assert not Run.objects.exists()


def test_events_are_emitted_by_coroutines_as_well() -> None:
    assert len(async_to_sync(aemit)("order.cancelled", {"number": 1})) == 1


@pytest.mark.parametrize("name", ["", "order paid", ".paid", "order.*", "o" * 91, 7, None, "a\x00"])
def test_a_name_that_is_none_is_refused(name: Any) -> None:
    with pytest.raises(InvalidOption, match="name is"):
        emit(name)
    if name != "order.*":
        with pytest.raises(DeclarationError, match="events"):
            declared([name], "task 'x'")
    with pytest.raises(DeclarationError, match="write a list of names"):
        declared("order.paid", "task 'x'")


@pytest.mark.parametrize(
    ("payload", "options", "field"),
    [
        ([1], {}, "payload"),
        ("text", {}, "payload"),
        ({}, {"priority": 1_000}, "options.priority"),
        ({}, {"tags": ["t"] * 20}, "options.tags"),
    ],
)
def test_what_is_wrong_with_an_event_is_named(payload: Any, options: dict[str, Any], field: str) -> None:
    with pytest.raises(HoldfastError) as refused:
        emit("order.paid", payload, **options)
    assert refused.value.data["errors"][0]["field"] == field
