"""A wait that raised has failed as a step fails: the next attempt asks again. What the code went on from stays."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.access.grants import Actor
from runs import answers, services
from runs.answers import SIGNED
from runs.models import Run, Wait
from tests.support.processes import Fleet
from tests.support.runs import attempts, run, snapshots, the
from tests.support.waiting import eventually

ACTOR = Actor.system("test")


@pytest.fixture
def waiting(waits: Fleet) -> Iterator[Fleet]:
    """One worker and the scheduler, with the tasks that wait."""
    waits.pair()
    return waits


def test_a_run_that_failed_for_want_of_an_answer_asks_again_when_a_person_retries_it(waiting: Fleet) -> None:
    handle = the("asks-again").enqueue(timeout=1.9)
    eventually(lambda: run(handle.id).status == "failed", "nobody answers")
    for number in (2, 3):
        services.run_retry(handle.id, actor=ACTOR)
        asked = f"signal:go#1~{number}"
        eventually(lambda asked=asked: Wait.objects.filter(run_id=handle.id, key=asked).exists(), "it asks again")
        if number == 3:
            answers.run_signal(handle.id, "go", "now", actor=ACTOR)
        eventually(lambda n=number: run(handle.id).status == ("failed" if n == 2 else "completed"), "and ends")
    assert run(handle.id).output == "after now"
    assert waiting.ledger.count("did", "before") == 1
    assert [s.key for s in snapshots(handle.id) if s.kind == "wait"] == [
        "signal:go#1",
        "signal:go#1~2",
        "signal:go#1~3",
    ]
    assert [a.status for a in attempts(handle.id)] == ["failed", "failed", "completed"]


def test_a_race_that_was_lost_to_time_is_run_again_by_the_next_attempt(waiting: Fleet) -> None:
    handle = the("asks-again-sync").enqueue(timeout=3)
    eventually(lambda: waiting.ledger.count("again", "2"), "the second attempt")
    answers.run_signal(handle.id, "go", None, actor=ACTOR)
    assert handle.result(timeout=60) == "after 0"
    kept = [s.key for s in snapshots(handle.id) if s.kind == "wait"]
    assert [key.partition("~")[2] for key in kept] == ["", "2"]


def test_a_silence_that_the_code_has_handled_is_not_asked_about_again(waiting: Fleet) -> None:
    handle = the("handles-silence").enqueue()
    assert handle.result(timeout=60) == "after"
    assert [s.key for s in snapshots(handle.id) if s.kind == "wait"] == ["signal:go#1"]
    assert waiting.ledger.count("did", "escalated") == 1


def test_a_failed_child_is_enqueued_anew_when_its_parent_is_retried(waiting: Fleet, tmp_path: Path) -> None:
    path = tmp_path / "there"
    handle = the("needs-a-child").enqueue(path=str(path))
    eventually(lambda: run(handle.id).status == "failed", "the parent fails with its child")
    path.touch()
    services.run_retry(handle.id, actor=ACTOR)
    assert handle.result(timeout=60) == "there"
    assert waiting.ledger.count("did", "before") == 1
    assert [c.status for c in Run.objects.filter(parent_id=handle.id).order_by("id")] == ["failed", "completed"]


# A person retries a run whose waits were closed when it ended.


def ended_while_waiting(task: str, **payload: object) -> uuid.UUID:
    """A run that was cancelled while it waited, and is retried: it waits again."""
    handle = the(task).enqueue(**payload)
    eventually(lambda: run(handle.id).status == "waiting", "it waits")
    services.run_cancel(handle.id, actor=ACTOR)
    eventually(lambda: run(handle.id).status == "cancelled", "it is cancelled")
    assert not Wait.objects.filter(run_id=handle.id, resolved_at=None).exists()
    services.run_retry(handle.id, actor=ACTOR)
    eventually(lambda: Wait.objects.filter(run_id=handle.id, resolved_at=None).exists(), "it asks again")
    return handle.id


@pytest.mark.parametrize("task", ["sleeps", "sleeps-sync"])
def test_a_sleep_that_a_cancellation_cut_short_is_slept_again(waiting: Fleet, task: str) -> None:
    retried = ended_while_waiting(task, seconds=3600)
    eventually(lambda: run(retried).status == "waiting", "it sleeps")
    assert waiting.ledger.count("did") == 1, "only what came before"


def test_an_approval_that_a_cancellation_closed_is_asked_again_by_the_same_link(waiting: Fleet) -> None:
    retried = ended_while_waiting("asks")
    answers.approval_decide(
        Wait.objects.get(run_id=retried).pk, approved=True, form={"title": "New"}, actor=SIGNED, signed=True
    )
    assert eventually(lambda: run(retried).output, "it goes on") == [True, "New", "signed link", ""]


def test_a_race_that_a_cancellation_stopped_is_run_again(waiting: Fleet) -> None:
    retried = ended_while_waiting("races", seconds=3600)
    answers.run_signal(retried, "go", 7, actor=ACTOR)
    assert eventually(lambda: run(retried).output, "it goes on") == [1, 7, None]


def test_a_parent_that_is_retried_has_its_children_executed_anew(waiting: Fleet) -> None:
    retried = ended_while_waiting("parent-of-waiters")
    children = Run.objects.filter(parent_id=retried)
    expected = [("listens", "cancelled"), ("listens", "waiting"), ("sleeps", "cancelled"), ("sleeps", "waiting")]
    eventually(lambda: sorted(children.values_list("task_id", "status")) == expected, "two new ones wait")
    listening = children.get(task_id="listens", status="waiting")
    answers.run_signal(listening.pk, "news", 1, actor=ACTOR)
    eventually(lambda: run(listening.pk).status == "completed", "one is done")
    eventually(lambda: run(retried).status == "waiting", "its parent waits for the other")


def test_a_wait_beside_a_branch_that_failed_is_asked_again(waiting: Fleet, tmp_path: Path) -> None:
    handle = the("waits-beside-trouble").enqueue(path=str(tmp_path / "mended"))
    eventually(lambda: run(handle.id).status == "failed", "a branch fails")
    (tmp_path / "mended").touch()
    services.run_retry(handle.id, actor=ACTOR)
    answers.run_signal(handle.id, "go", "on", actor=ACTOR)
    assert eventually(lambda: run(handle.id).output, "it goes on") == ["there", "on"]
