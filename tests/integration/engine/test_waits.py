"""Waits hold nothing, survive everything, and have one outcome."""

from __future__ import annotations

import signal
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from holdfast.access.grants import Actor
from queues.models import Entry, Lease, Timer
from runs import answers, waitlinks
from runs.errors import InvalidPayload, NotAsked, UnknownSignal, WaitOver, WrongState
from runs.models import Run, Signal, Wait
from runs.states import Status
from tests.support.processes import Fleet
from tests.support.runs import attempts, run, snapshots, the
from tests.support.waiting import eventually

ACTOR = Actor.system("test")


@pytest.fixture
def waiting(waits: Fleet) -> Iterator[Fleet]:
    """One worker and the scheduler, with the tasks that wait."""
    waits.pair()
    return waits


def put_down(run_id: uuid.UUID) -> None:
    """Until the run has left its worker to wait."""
    eventually(lambda: run(run_id).status == "waiting", "the run waits")


def the_wait(run_id: uuid.UUID, kind: str) -> Wait:
    return eventually(lambda: Wait.objects.filter(run_id=run_id, kind=kind).first(), f"a wait of kind {kind}")


def test_a_sleep_leaves_the_worker_and_comes_back_in_the_same_attempt(waiting: Fleet) -> None:
    handle = the("sleeps").enqueue(4)
    put_down(handle.id)
    assert not Lease.objects.exists()
    assert Timer.objects.filter(entry_id=handle.id).exists()
    woke = handle.result(timeout=60)
    slept = Wait.objects.get(run_id=handle.id)
    assert slept.due_at is not None
    assert 0 <= woke - slept.due_at.timestamp() < 4
    assert [a.status for a in attempts(handle.id)] == ["completed"]
    assert [(s.kind, s.name) for s in snapshots(handle.id)] == [("step", "did"), ("wait", "sleep"), ("step", "wakes")]
    assert waiting.ledger.count("did", "before") == 1


def test_a_plain_function_waits_too(waiting: Fleet) -> None:
    long, short = the("sleeps-sync").enqueue(3.5), the("sleeps-sync").enqueue(0.2)
    put_down(long.id)
    assert short.result(timeout=60) == "after"
    assert long.result(timeout=60) == "after"
    assert waiting.ledger.count("did", "before") == 2


def test_a_time_that_is_past_is_no_wait(waiting: Fleet) -> None:
    assert the("until-past").enqueue().result(timeout=60) == "at once"


def test_fault_21_signals_before_during_and_after_the_wait_are_read_in_order(waits: Fleet) -> None:
    handle = the("listens").enqueue(4)
    for number in (1, 2):
        answers.run_signal(handle.id, "news", number, actor=ACTOR)
    answers.run_signal(handle.id, "other", 99, actor=ACTOR)
    waits.pair()
    put_down(handle.id)
    for number in (3, 4, 5):
        answers.run_signal(handle.id, "news", number, actor=ACTOR)
    assert handle.result(timeout=60) == [1, 2, 3, 4]
    with pytest.raises(WrongState):
        answers.run_signal(handle.id, "news", 6, actor=ACTOR)


def test_a_signal_that_a_task_does_not_declare_is_refused_with_what_it_declares(waiting: Fleet) -> None:
    handle = the("declares-signals").enqueue()
    with pytest.raises(UnknownSignal, match="Did you mean paid"):
        answers.run_signal(handle.id, "piad", 1, actor=ACTOR)
    assert not Signal.objects.exists()
    answers.run_signal(handle.id, "paid", 7, actor=ACTOR)
    assert handle.result(timeout=60) == 7


def test_a_signal_wakes_a_plain_function(waiting: Fleet) -> None:
    handle = the("listens-sync").enqueue()
    put_down(handle.id)
    assert Timer.objects.get(entry_id=handle.id).due_at is None
    answers.run_signal(handle.id, "news", {"x": 1}, actor=ACTOR)
    assert handle.result(timeout=60) == {"x": 1}


def test_a_wait_that_nobody_answers_times_out(waiting: Fleet) -> None:
    assert the("listens").enqueue(2, timeout=0.3).result(timeout=60) == [None, None]
    long = the("listens").enqueue(1, timeout=3.5)
    put_down(long.id)
    assert long.result(timeout=60) == [None]
    assert Wait.objects.get(run_id=long.id).outcome == "timed_out"


def test_a_token_is_completed_once_by_value_of_its_type(waiting: Fleet) -> None:
    for name in ("has-token", "has-token-sync"):
        handle = the(name).enqueue()
        put_down(handle.id)
        [entry] = [e for e in waiting.ledger.entries("token") if str(the_wait(handle.id, "token").pk) in e.words]
        wait_id, signed = waitlinks.read(entry.words[2].split("/waits/")[1].removesuffix("/complete"))
        assert signed
        assert str(wait_id) == entry.words[1]
        if name == "has-token":
            with pytest.raises(InvalidPayload, match="value"):
                answers.wait_complete(wait_id, "seven", actor=ACTOR)
        answers.wait_complete(wait_id, 7, actor=ACTOR)
        with pytest.raises(WaitOver, match="completed by test already"):
            answers.wait_complete(wait_id, 8, actor=ACTOR)
        assert handle.result(timeout=60) == 7


def test_an_approval_brings_the_filled_form_and_who_decided(waiting: Fleet) -> None:
    handle = the("asks").enqueue()
    asked = the_wait(handle.id, "approval")
    put_down(handle.id)
    with pytest.raises(InvalidPayload) as error:
        answers.approval_decide(asked.pk, approved=True, form={"words": "many"}, actor=ACTOR)
    assert {e["field"] for e in error.value.data["errors"]} == {"form.title", "form.words"}
    answers.approval_decide(asked.pk, approved=True, form={"title": "Kelp"}, comment="fine", actor=ACTOR)
    assert handle.result(timeout=60) == [True, "Kelp", "test", "fine"]


def test_only_who_is_asked_may_decide(waiting: Fleet) -> None:
    handle = the("asks").enqueue(assignee="ada")
    asked = the_wait(handle.id, "approval")
    from holdfast.access.roles import Role

    with pytest.raises(NotAsked, match="ada is asked, not ben"):
        answers.approval_decide(asked.pk, approved=False, actor=Actor("user", "7", "ben", Role.OPERATOR))
    answers.approval_decide(asked.pk, approved=False, actor=Actor("user", "8", "ada", Role.OPERATOR))
    assert handle.result(timeout=60)[:3] == [False, None, "ada"]


def test_an_approval_without_an_answer_takes_its_default(waiting: Fleet) -> None:
    handle = the("asks").enqueue(timeout=0.3, default="reject")
    assert handle.result(timeout=60) == [False, None, "timeout", ""]
    with pytest.raises(WaitOver, match="timed out already"):
        answers.approval_decide(the_wait(handle.id, "approval").pk, approved=True, form={"title": "x"}, actor=ACTOR)


def test_waits_side_by_side_end_each_at_its_time_and_the_run_rests_between(waiting: Fleet) -> None:
    handle = the("waits-side-by-side").enqueue(3.5)
    put_down(handle.id)
    assert waiting.ledger.count("did") == 3
    answers.run_signal(handle.id, "news", "hello", actor=ACTOR)
    assert handle.result(timeout=60) == ["a-after", "b-after", "hello", "alone"]
    assert waiting.ledger.repeated("did") == []
    assert len(attempts(handle.id)) == 1


def test_a_step_beside_a_wait_is_not_disturbed_and_the_answer_is_brought_to_it(waiting: Fleet) -> None:
    handle = the("waits-beside-a-step").enqueue()
    eventually(lambda: waiting.ledger.count("long"), "the step is at work")
    answers.run_signal(handle.id, "news", 1, actor=ACTOR)
    assert handle.result(timeout=60) == [1, "long"]
    assert waiting.ledger.count("long") == 1


def test_a_race_has_one_winner_and_gives_back_what_the_losers_had(waits: Fleet) -> None:
    both = the("races").enqueue(3600)
    for name in ("stop", "go"):
        answers.run_signal(both.id, name, f"{name} it", actor=ACTOR)
    waits.pair()
    assert both.result(timeout=60) == [0, "stop it", "go it"]
    first = the("races").enqueue(3600)
    put_down(first.id)
    answers.run_signal(first.id, "go", "now", actor=ACTOR)
    assert first.result(timeout=60) == [1, "now", None]
    slow = the("races").enqueue(0.2)
    assert slow.result(timeout=60) == [2, None, None]
    sync = the("races-sync").enqueue()
    put_down(sync.id)
    answers.run_signal(sync.id, "stop", "it", actor=ACTOR)
    assert sync.result(timeout=60) == [0, "it"]
    assert not Wait.objects.filter(resolved_at=None).exists()


def test_waits_survive_the_death_of_every_worker(waits: Fleet) -> None:
    victim = waits.worker("worker-1")
    ids = [the("sleeps").enqueue(3.5).id, the("listens").enqueue().id, the("waits-beside-a-step").enqueue().id]
    for run_id in ids[:2]:
        put_down(run_id)
    victim.signal(signal.SIGKILL)
    answers.run_signal(ids[1], "news", 5, actor=ACTOR)
    answers.run_signal(ids[2], "news", 6, actor=ACTOR)
    waits.scheduler()
    waits.worker("worker-2")
    eventually(lambda: Run.objects.filter(pk__in=ids, status="completed").count() == 3, "all end")
    assert run(ids[1]).output == [5]
    assert run(ids[2]).output == [6, "long"]
    assert waits.ledger.count("did", "before") == 1


@pytest.mark.parametrize(
    ("how", "words"),
    [("transaction", "inside transaction.atomic()"), ("step", "inside step 'inside#1'")],
)
def test_a_wait_in_the_wrong_place_says_what_to_write(waiting: Fleet, how: str, words: str) -> None:
    handle = the("misuses-waits").enqueue(how)
    eventually(lambda: run(handle.id).status == "failed", "it fails")
    error: Any = run(handle.id).error
    assert words in error["message"]
    assert error["type"].endswith("StepMisuse")


def test_a_blocking_wait_in_async_code_says_what_to_write(waiting: Fleet) -> None:
    handle = the("misuses-waits-async").enqueue()
    eventually(lambda: run(handle.id).status == "failed", "it fails")
    error: Any = run(handle.id).error
    assert "await wait.asleep(" in error["message"]


def test_a_thousand_waiting_runs_are_rows_only(waits: Fleet) -> None:
    waits.worker("worker-1")
    handles = the("sleeps").enqueue_many([{"seconds": 5}] * 1_000)
    eventually(lambda: Run.objects.filter(status="waiting").count() == 1_000, "all wait", timeout=60)
    assert not Lease.objects.exists()
    assert not Entry.objects.exists()
    waits.scheduler()  # nobody wakes them before
    began = time.monotonic()
    ids = [h.id for h in handles]
    eventually(lambda: Run.objects.filter(pk__in=ids, status=Status.COMPLETED).count() == 1_000, "all end", timeout=60)
    assert time.monotonic() - began < 30


def test_large_batches_of_runs_that_are_put_down_are_written_in_one_piece(waiting: Fleet) -> None:
    """The result of an earlier statement was read as that of the last, when the server's output came in parts."""
    ids = [h.id for h in the("sleeps").enqueue_many([{"seconds": 5}] * 1_000)]
    eventually(lambda: Run.objects.filter(pk__in=ids, status=Status.COMPLETED).count() == 1_000, "all end", timeout=120)
    assert "was refused" not in waiting.processes[0].said()
