"""Real runs that do not get on are found, and shown where they stand; those that do are left alone."""

from __future__ import annotations

import uuid

import pytest

from runs.models import Run
from runs.stuck.model import Stuck
from runs.stuck.selectors import stack_of
from runs.why import why
from tests.support import stored
from tests.support.processes import Fleet
from tests.support.runs import all_final, run, the
from tests.support.waiting import eventually

#: Seconds of silence that are allowed. Well over one: a heartbeat is stored once a second.
QUICK = {"HOLDFAST_STUCK_FLOOR": "5"}
#: Tasks that stop, the step in which they do, and the function.
STOPS = {
    "sticks-async": ("waits_for", "open_gate"),
    "sticks-sync": ("locked", "locked"),
    "sticks-apart": ("locked", "locked"),
    "sticks-between": ("", "open_gate"),
    "sticks-computing": ("computes", "spin"),  # the last one: it holds up the event loop
}
WAYS = ("log", "heartbeat", "progress", "checkpoint", "stream")


@pytest.fixture
def worked(sticking: Fleet) -> Fleet:
    """A worker, and the scheduler; it has been learned how long steps take."""
    for task, (step, _) in STOPS.items():
        stored.usual(task, step)
    stored.usual("sticks-lively", "lives")
    stored.usual("sticks-resting", "waits_for", seconds=0.05, count=5)
    sticking.worker("worker-1", HOLDFAST_PROCESSES="2")
    sticking.scheduler(**QUICK)
    return sticking


def begun(fleet: Fleet, task: str, *args: str) -> uuid.UUID:
    handle = the(task).enqueue(*args)
    eventually(lambda: fleet.ledger.count("waits", str(handle.id)), f"{task} waits")
    return handle.id


def stuck() -> set[uuid.UUID]:
    return set(Stuck.objects.values_list("run_id", flat=True))


def test_runs_of_which_nothing_new_comes_are_found_with_their_stacks_and_others_are_not(worked: Fleet) -> None:
    # Before the others, so that they have been at work for longer when those count as stuck.
    lively = {begun(worked, "sticks-lively", way) for way in WAYS}
    unmeasured = begun(worked, "sticks-apart-async")
    resting = begun(worked, "sticks-resting")
    stops = {begun(worked, task): at for task, at in STOPS.items()}
    eventually(lambda: stuck() >= set(stops), "those that stop are stuck", timeout=60)
    assert not stuck() & {*lively, unmeasured, resting}
    for run_id, (step, function) in stops.items():
        found = Stuck.objects.get(pk=run_id)
        assert (found.why, found.step) == ("nothing_new", step)
        taken = eventually(lambda run_id=run_id: stack_of(run(run_id)), "its stack was taken")  # type: ignore[misc]
        assert function in {frame.function for part in taken.parts for frame in part.frames}
        reason = why(run_id)
        assert reason is not None
        assert (reason.gate, reason.stuck) == ("stuck", True)
        assert reason.words.startswith("nothing new for ")
    worked.ledger.open_gate("go")
    eventually(lambda: not stuck(), "who moves on is not stuck any more")
    all_final([*stops, *lively, unmeasured], timeout=60)
    assert set(Run.objects.filter(pk__in=[*stops, *lively]).values_list("status", flat=True)) == {"completed"}
