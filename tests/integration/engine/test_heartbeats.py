"""Heartbeats: what the next try is told, and who is lost without them."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest

from holdfast.access import services
from holdfast.access.grants import Actor
from runs.models import Heartbeat, SnapshotKind
from tests.support.api import Caller
from tests.support.people import signed_in
from tests.support.processes import Fleet
from tests.support.runs import all_final, attempts, run, snapshots, the
from tests.support.waiting import eventually


@pytest.mark.parametrize("name", ["beat-counts", "beat-counts-apart"])
def test_the_next_try_goes_on_from_the_last_details(beating: Fleet, name: str) -> None:
    beating.worker("worker-1")
    handle = the(name).enqueue()
    assert handle.result(timeout=60) == 6
    assert [e.words[-1] for e in beating.ledger.entries("begins")] == ["0", "6"]
    eventually(lambda: not Heartbeat.objects.exists(), "a finished step needs no details")


@pytest.mark.parametrize("name", ["beat-copies", "beat-copies-sync"])
def test_another_worker_is_told_what_a_dead_one_had_said(beating: Fleet, name: str) -> None:
    first = beating.worker("worker-1")
    beating.scheduler()
    handle = the(name).enqueue()
    eventually(lambda: Heartbeat.objects.filter(run_id=handle.id).exists(), "a beat is stored")
    stored = Heartbeat.objects.get(run_id=handle.id)
    first.signal(signal.SIGKILL)
    beating.ledger.open_gate("copied")
    beating.worker("worker-2")
    assert handle.result(timeout=60)["copied"] >= stored.details["copied"]
    assert [a.status for a in attempts(handle.id)] == ["crashed", "completed"]
    eventually(lambda: not Heartbeat.objects.exists(), "a finished step needs no details")


def test_beats_are_stored_about_once_a_second_however_many_there_are(beating: Fleet) -> None:
    beating.worker("worker-1")
    handle = the("beat-copies").enqueue()
    eventually(lambda: Heartbeat.objects.filter(run_id=handle.id).exists(), "the first is stored at once")
    seen = set()
    begin = time.monotonic()

    def look() -> bool:
        seen.add(Heartbeat.objects.get(run_id=handle.id).details["copied"])
        return len(seen) >= 3

    eventually(look, "later ones are stored")
    assert time.monotonic() - begin > 0.9
    beating.ledger.open_gate("copied")
    handle.result(timeout=60)


@pytest.mark.parametrize("name", ["beat-silent", "beat-silent-apart"])
def test_a_step_that_falls_silent_is_lost_and_tried_again(beating: Fleet, name: str) -> None:
    beating.worker("worker-1")
    handle = the(name).enqueue()
    assert handle.result(timeout=60) == "after 19"
    (failed,) = (s for s in snapshots(handle.id) if s.kind == SnapshotKind.FAILURE)
    error: Any = failed.error
    assert error["type"] == "runs.errors.HeartbeatLost"
    assert error["message"] == "Step 'falls_silent' gave no heartbeat for 1.5 s."
    assert (failed.finished_at - failed.started_at).total_seconds() > 3, "while it beat, it was not lost"


def test_beats_of_a_thread_that_the_step_started_count(beating: Fleet) -> None:
    beating.worker("worker-1")
    assert the("beat-thread").enqueue().result(timeout=60) == "done"


def test_a_beat_outside_a_step_says_what_to_write_instead(beating: Fleet) -> None:
    beating.worker("worker-1")
    handle = the("beat-misplaced").enqueue()
    all_final([handle.id])
    assert "inside the function that @step wraps" in (run(handle.id).error or {})["message"]


def test_a_running_step_shows_its_last_beat(beating: Fleet) -> None:
    _, token = services.token_create(name="reader", role="viewer", actor=Actor.local())
    api = Caller({"Authorization": f"Bearer {token}"})
    beating.worker("worker-1")
    handle = the("beat-copies").enqueue()
    eventually(lambda: Heartbeat.objects.filter(run_id=handle.id).exists(), "a beat is stored")
    (beat,) = api.get(f"/runs/{handle.id}").json()["heartbeats"]
    assert (beat["step"], beat["attempt"]) == ("copy#1", 1)
    assert beat["details"]["copied"] >= 1
    assert "Heartbeat of" in signed_in("viewer").get(f"/runs/{handle.id}/").content.decode()
    beating.ledger.open_gate("copied")
    handle.result(timeout=60)
    eventually(lambda: api.get(f"/runs/{handle.id}").json()["heartbeats"] == [], "it is over")
