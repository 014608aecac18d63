"""Cancels at any state, and times that are over."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from holdfast.access.grants import Actor
from queues.models import Entry, Lease, Timer
from runs import services
from runs.errors import WrongState
from runs.models import Deadline, Wait
from tests.support.processes import Fleet
from tests.support.runs import all_final, attempts, run, the
from tests.support.waiting import eventually

ACTOR = Actor.system("test")


@pytest.fixture
def waiting(waits: Fleet) -> Iterator[Fleet]:
    waits.pair()
    return waits


@pytest.mark.parametrize("name", ["works-on", "works-on-sync"])
def test_a_run_at_work_says_cancelling_until_its_code_has_stopped(waiting: Fleet, name: str) -> None:
    handle = the(name).enqueue()
    eventually(lambda: waiting.ledger.count("at", "work"), "it is at work")
    services.run_cancel(handle.id, actor=ACTOR, reason="not needed")
    assert run(handle.id).status in {"cancelling", "cancelled"}
    with pytest.raises(WrongState):
        services.run_cancel(handle.id, actor=ACTOR)
    all_final([handle.id], timeout=20)  # it would work for 30
    assert run(handle.id).status == "cancelled"
    assert [a.status for a in attempts(handle.id)] == ["cancelled"]
    assert not Lease.objects.exists()
    if name == "works-on":
        assert waiting.ledger.count("cancelled") == 1


def test_a_waiting_run_is_cancelled_at_once_and_waits_for_nothing_any_more(waiting: Fleet) -> None:
    handle = the("asks").enqueue()
    eventually(lambda: run(handle.id).status == "waiting", "it waits")
    services.run_cancel(handle.id, actor=ACTOR)
    assert run(handle.id).status == "cancelled"
    assert [a.status for a in attempts(handle.id)] == ["cancelled"]
    assert Wait.objects.get(run_id=handle.id).outcome == "cancelled"
    assert not Timer.objects.exists()


def test_the_worker_of_a_run_that_is_being_cancelled_may_die(waits: Fleet) -> None:
    victim = waits.worker("worker-1")
    handle = the("works-on-sync").enqueue()
    eventually(lambda: waits.ledger.count("at", "work"), "it is at work")
    victim.signal(19)
    services.run_cancel(handle.id, actor=ACTOR)
    victim.signal(9)
    waits.scheduler()
    all_final([handle.id])
    assert run(handle.id).status == "cancelled"
    assert not Entry.objects.exists()


def test_waits_do_not_count_towards_the_longest_active_time(waiting: Fleet) -> None:
    fine, over = the("active-time").enqueue(1), the("active-time").enqueue(3)
    assert fine.result(timeout=60) == "in time"
    all_final([over.id])
    assert run(over.id).status == "timed_out"
    assert 2.4 < attempts(over.id)[0].active < 4


@pytest.mark.parametrize("waits_then", [True, False])
def test_a_run_that_does_not_end_within_its_run_timeout_is_stopped(waiting: Fleet, waits_then: bool) -> None:
    handle = the("bounded").enqueue(waits_then)
    all_final([handle.id])
    ended = run(handle.id)
    assert ended.status == "timed_out"
    assert ended.error is not None
    assert "run_timeout" in ended.error["message"]
    assert [a.status for a in attempts(handle.id)] == ["timed_out"]
    assert not Deadline.objects.exists()


def test_a_run_that_does_not_start_within_its_ttl_expires(waits: Fleet) -> None:
    late = the("until-past").using(ttl=0.5).enqueue()
    waits.scheduler()
    all_final([late.id])
    assert run(late.id).status == "expired"
    assert not Entry.objects.exists()
    waits.worker("worker-1")
    assert the("until-past").using(ttl=60).enqueue().result(timeout=60) == "at once"
