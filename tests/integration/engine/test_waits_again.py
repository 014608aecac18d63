"""A wait that raised has failed as a step fails: the next attempt asks again. What the code went on from stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.access.grants import Actor
from runs import answers, services
from runs.models import Run, Wait
from tests.support.processes import Fleet
from tests.support.runs import attempts, run, snapshots, the
from tests.support.waiting import eventually

ACTOR = Actor.system("test")


@pytest.fixture
def waiting(waits: Fleet) -> Iterator[Fleet]:
    """One worker and the scheduler, with the tasks that wait."""
    waits.worker("worker-1")
    waits.scheduler()
    return waits


def test_a_run_that_failed_for_want_of_an_answer_asks_again_when_a_person_retries_it(waiting: Fleet) -> None:
    handle = the("asks-again").enqueue(timeout=0.3)
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
    eventually(lambda: waiting.ledger.count("again", "2"), "the second attempt", timeout=20)
    answers.run_signal(handle.id, "go", None, actor=ACTOR)
    assert handle.result(timeout=20) == "after 0"
    kept = [s.key for s in snapshots(handle.id) if s.kind == "wait"]
    assert [key.partition("~")[2] for key in kept] == ["", "2"]


def test_a_silence_that_the_code_has_handled_is_not_asked_about_again(waiting: Fleet) -> None:
    handle = the("handles-silence").enqueue()
    assert handle.result(timeout=20) == "after"
    assert [s.key for s in snapshots(handle.id) if s.kind == "wait"] == ["signal:go#1"]
    assert waiting.ledger.count("did", "escalated") == 1


def test_a_failed_child_is_enqueued_anew_when_its_parent_is_retried(waiting: Fleet, tmp_path: Path) -> None:
    path = tmp_path / "there"
    handle = the("needs-a-child").enqueue(path=str(path))
    eventually(lambda: run(handle.id).status == "failed", "the parent fails with its child")
    path.touch()
    services.run_retry(handle.id, actor=ACTOR)
    assert handle.result(timeout=20) == "there"
    assert waiting.ledger.count("did", "before") == 1
    assert [c.status for c in Run.objects.filter(parent_id=handle.id).order_by("id")] == ["failed", "completed"]
