"""Breakers in real workers: what they count, whom they stop, and what a person says of them."""

from __future__ import annotations

import time
import uuid
from concurrent.futures import Future
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.db.models import F
from django.utils import timezone

from holdfast.access.grants import Actor
from holdfast.access.models import AuditEntry
from queues import breakers, store
from queues.breaker import Breaker as Declared
from queues.errors import InvalidChange
from queues.models import Breaker, BreakerCount
from runs.engine.breakers import Breakers, Pass
from runs.models import Run
from runs.why import why
from tests.support.processes import Fleet
from tests.support.runs import all_final, lines, run, the
from tests.support.service import Service
from tests.support.waiting import eventually

ACTOR = Actor.local()


@pytest.fixture
def worked(breaking: Fleet) -> Fleet:
    """One worker and the scheduler."""
    breaking.pair(HOLDFAST_PROCESSES="4")
    return breaking


def state(name: str) -> str:
    return Breaker.objects.get(name=name).state


@pytest.mark.parametrize("name", ["calls-supplier", "calls-supplier-sync", "calls-supplier-apart"])
def test_a_breaker_opens_lets_probes_through_and_closes(worked: Fleet, service: Service, name: str) -> None:
    service.up = False
    handles = the(name).enqueue_many([{"number": n} for n in range(12)])
    eventually(lambda: Breaker.objects.filter(name="supplier", state="open").exists(), "it opens")
    parked = eventually(lambda: Run.objects.filter(status="waiting").first(), "one leaves its worker")
    assert parked.waiting_for["kind"] == "breaker"
    assert "breaker 'supplier'" in parked.waiting_for["what"]
    service.up = True
    all_final([h.id for h in handles], timeout=60)
    assert {h.refresh().status for h in handles} == {"completed"}
    eventually(lambda: state("supplier") == "closed", "it closes")
    assert any("is put off by" in line.message for handle in handles for line in lines(handle.id))


def test_one_that_is_parked_says_for_which_breaker_and_until_when(worked: Fleet, service: Service) -> None:
    the("calls-supplier").enqueue(number=0).result(timeout=60)
    breakers.breaker_force("supplier", "open", ACTOR, "they asked us to stop")
    eventually(lambda: put_off(the("calls-supplier").enqueue(number=1).id), "its worker has heard of it")
    calls = len(service.calls)
    handle = the("calls-supplier").enqueue(number=1)
    eventually(lambda: Run.objects.filter(pk=handle.id, status="waiting").exists(), "it is put off", timeout=60)
    found = why(handle.id)
    assert found is not None
    assert found.gate == "breaker"
    assert found.words == "waits for breaker 'supplier', which is open"
    assert len(service.calls) == calls
    breakers.breaker_release("supplier", ACTOR)
    assert handle.result(timeout=60) == "ok"
    assert [e.action for e in AuditEntry.objects.filter(object_type="breaker")] == [
        "breakers.release",
        "breakers.force",
    ]


def test_held_closed_it_lets_everything_through(worked: Fleet, service: Service) -> None:
    the("calls-supplier").enqueue(number=0).result(timeout=60)
    breakers.breaker_force("supplier", "closed", ACTOR, "we know")
    service.up = False
    handle = the("calls-supplier").enqueue(number=1)
    eventually(lambda: service.count("guarded 1") >= 12, "it tries on and on")
    service.up = True
    assert handle.result(timeout=60) == "ok"
    assert state("supplier") == "closed"


def test_slow_calls_open_it_as_well(worked: Fleet) -> None:
    the("calls-slowly").enqueue_many([{"seconds": 0.1}] * 6)
    eventually(lambda: Breaker.objects.filter(name="sluggish", state="open").exists(), "it opens")


def test_an_abort_says_nothing_of_what_was_called(worked: Fleet) -> None:
    handles = the("calls-and-aborts").enqueue_many([{}] * 12)
    all_final([h.id for h in handles])
    eventually(
        lambda: sum(c.calls for c in BreakerCount.objects.filter(breaker__name="aborting")) == 12, "all are counted"
    )
    assert sum(c.failures for c in BreakerCount.objects.all()) == 0
    assert state("aborting") == "closed"


def test_retries_are_a_share_of_the_first_calls_and_those_over_it_come_later(worked: Fleet, service: Service) -> None:
    service.up = False
    handles = the("calls-thriftily").enqueue_many([{"number": n} for n in range(100)])
    eventually(lambda: service.count("thrifty") >= 110, "the first calls, and some retries", timeout=60)
    until = time.monotonic() + 3.0
    while time.monotonic() < until:  # for as long as it is away: that nothing more comes is what is looked at
        assert service.count("thrifty") <= 100 + 20 + 30, "a fifth of the first, and what was under way"
        time.sleep(0.1)
    service.up = True
    assert any("retry budget" in line.message for handle in handles for line in lines(handle.id))
    breakers.breaker_force("thrifty", "closed", ACTOR)
    assert run(handles[0].id).status in ("waiting", "running", "queued", "retrying", "completed")


def test_a_state_that_cannot_be_forced_and_a_breaker_that_is_not_there(breaking: Fleet) -> None:
    with pytest.raises(breakers.BreakerNotFound, match="once a step has used it"):
        breakers.breaker_force("supplier", "open", ACTOR)
    with pytest.raises(InvalidChange, match="write open or closed"):
        breakers.breaker_force("supplier", "half_open", ACTOR)


@pytest.mark.django_db(transaction=True)
def test_a_stay_that_is_cancelled_while_it_asks_holds_up_nobody_else() -> None:
    declared = Declared("asked-and-left", cooldown=30)
    asking = Breakers()
    try:
        left = asking.ask(declared, retry=False)
        assert isinstance(left, Future)
        left.cancel()
        stayed = asking.ask(declared, retry=False)
        assert isinstance(stayed, Future)
        assert isinstance(stayed.result(10), Pass)
    finally:
        asking.close()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("fault", [psycopg.OperationalError(), RuntimeError("nobody has thought of this")])
def test_whatever_goes_wrong_in_an_exchange_the_next_one_answers(
    monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    judge, faults = store.judge_breakers, [fault]

    def once(*args: Any) -> Any:
        if faults:
            raise faults.pop()
        return judge(*args)

    monkeypatch.setattr(store, "judge_breakers", once)
    asking = Breakers()
    try:
        answer = asking.ask(Declared("asked-beside-a-fault"), retry=False)
        assert isinstance(answer, Future)
        assert isinstance(answer.result(10), Pass)
        assert not faults
    finally:
        asking.close()
        Declared.declared.pop("asked-beside-a-fault", None)


@pytest.mark.django_db(transaction=True)
def test_a_declaration_that_is_imported_after_its_first_use_by_name_is_in_force() -> None:
    asking = Breakers()
    try:
        answered(asking.ask(Declared.named("imported-late"), retry=False))
        assert Breaker.objects.get(name="imported-late").cooldown == 30
        declared = Declared("imported-late", cooldown=7)
        answered(asking.ask(Declared.named("imported-late"), retry=False))
        asking.report(Pass(declared, retry=False), failed=False, seconds=0)
        eventually(lambda: Breaker.objects.get(name="imported-late").cooldown == 7, "its numbers are stored")
    finally:
        asking.close()
        Declared.declared.pop("imported-late", None)


def answered(verdict: Any) -> Any:
    return verdict.result(10) if isinstance(verdict, Future) else verdict


# ── of a queue ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["guarded", "guarded-sync", "guarded-apart"])
def test_a_queues_breaker_puts_its_runs_off_without_a_try_and_lets_them_go_on(
    worked: Fleet, service: Service, name: str
) -> None:
    service.up = False
    handles = the(name).enqueue_many([{"number": n} for n in range(12)])
    eventually(lambda: Breaker.objects.filter(name="guarding", state="open").exists(), "it opens")
    held = Run.objects.filter(status="waiting", waiting_for__kind="breaker")
    parked = eventually(lambda: held.first(), "one leaves its worker")
    assert parked.waiting_for["breaker"] == "guarding"
    service.up = True
    all_final([h.id for h in handles], timeout=60)
    assert {h.refresh().status for h in handles} == {"completed"}
    eventually(lambda: state("guarding") == "closed", "it closes")
    assert all(r.attempt == r.failures + 1 for r in Run.objects.filter(task_id=name)), "to be put off is no try"


def put_off(run_id: uuid.UUID) -> uuid.UUID | None:
    """The run, if it is put off and not let through."""
    over = eventually(lambda: run(run_id).status in ("waiting", "completed"), "one of the two", timeout=60)
    return run_id if over and run(run_id).status == "waiting" else None


def test_a_run_that_goes_to_a_guarded_queue_is_held_by_its_breaker_and_others_are_not(
    worked: Fleet, service: Service
) -> None:
    the("guarded").enqueue(number=0).result(timeout=60)
    breakers.breaker_force("guarding", "open", ACTOR, "they asked us to stop")
    held = eventually(lambda: put_off(the("guarded").enqueue(number=3).id), "its worker has heard of it")
    moved = the("calls-unprotected").using(queue_name="guarded").enqueue(number=1)
    assert the("calls-unprotected").enqueue(number=2).result(timeout=60) == "ok"
    eventually(lambda: Run.objects.filter(pk=moved.id, status="waiting").exists(), "it is put off", timeout=60)
    assert service.count("bare 1") == 0
    found = why(moved.id)
    assert found is not None
    assert (found.gate, found.words) == ("breaker", "waits for breaker 'guarding', which is open")
    breakers.breaker_release("guarding", ACTOR)
    assert moved.result(timeout=60) == "ok"
    all_final([held])


def test_what_says_something_of_the_run_is_no_failure_of_its_queue_and_a_death_is(
    worked: Fleet, service: Service
) -> None:
    ended = the("aborts-in-a-guarded-queue").enqueue_many([{}] * 8)
    all_final([h.id for h in ended])
    eventually(lambda: breakers.breaker_get("guarding").calls >= 1, "its calls are counted")
    assert breakers.breaker_get("guarding").failures == 0
    dead = the("dies-in-a-guarded-queue").enqueue()
    all_final([dead.id])
    eventually(lambda: breakers.breaker_get("guarding").failures == 1, "it is counted")


def test_a_probe_that_dies_with_its_process_opens_the_breaker_again(worked: Fleet, service: Service) -> None:
    the("guarded-apart").enqueue(number=0).result(timeout=60)
    epoch = half_open("guarding")
    the("dies-in-a-guarded-queue").enqueue()
    # Not by its cooldown, after which probes that never came back are asked anew: that would be half open again.
    opened = Breaker.objects.filter(name="guarding", state="open", epoch=epoch + 1)
    eventually(opened.exists, "it is open")


def half_open(name: str) -> int:
    """A breaker that asks for probes, for as long as the test goes on. Returns the number of that state."""
    until = timezone.now() + timedelta(minutes=5)
    changes = {"state": "half_open", "until": until, "probes_begun": 0, "probes_ok": 0}
    assert Breaker.objects.filter(name=name).update(epoch=F("epoch") + 1, **changes) == 1
    return Breaker.objects.get(name=name).epoch
