"""Faults 7 and 8: nobody is there when timers fall due; a worker's clock is wrong."""

from __future__ import annotations

import signal
from datetime import timedelta
from pathlib import Path

import pytest
from django.db.models import Max, Sum
from django.utils import timezone

from queues.models import Entry, Lease, Timer, Worker
from runs.models import Rollup, Run
from tests.support.processes import Fleet
from tests.support.runs import all_final, attempts, lines, snapshots, statuses, the
from tests.support.waiting import eventually

#: Seconds for which everybody is gone after the last timer fell due.
AWAY = 6.0
#: Seconds: less than a clock that is an hour off would make of a time, and more than the slowest machine does.
FAR = 600.0


def test_fault_7_timers_that_fall_due_while_nobody_lives_fire_once_and_their_lateness_is_told(faulty: Fleet) -> None:
    faulty.worker("worker-1")
    delayed = [h.id for h in the("fires").using(delay=3.0).enqueue_many([{}] * 20)]
    retrying = [the("retries-late").enqueue().id for _ in range(5)]
    waiting = [the("waits-for-a-late-step").enqueue().id for _ in range(5)]
    ids = [*delayed, *retrying, *waiting]
    eventually(lambda: statuses(ids) == {"scheduled", "retrying", "waiting"}, "every kind of timer is set")
    for process in faulty.processes:
        process.signal(signal.SIGKILL)
        process.wait()
    assert Timer.objects.count() == len(ids)
    last = Timer.objects.aggregate(last=Max("due_at"))["last"]
    eventually(lambda: timezone.now() > last + timedelta(seconds=AWAY), "all are overdue")
    assert Timer.objects.count() == len(ids), "nobody was there"

    schedulers = [faulty.scheduler() for _ in range(2)]
    for number in (2, 3):
        faulty.worker(f"worker-{number}")
    all_final(ids)

    assert statuses(ids) == {"completed"}
    assert sorted(e.words[1] for e in faulty.ledger.entries("fired")) == sorted(map(str, delayed))
    for run_id in retrying:
        assert [e.words[2] for e in faulty.ledger.entries("tried", str(run_id))] == ["1", "2"]
    assert {faulty.ledger.count("stepped", str(run_id)) for run_id in waiting} == {2}
    assert [flow.objects.count() for flow in (Timer, Entry, Lease)] == [0, 0, 0]
    # Operators see it: in the scheduler's log, and in the figures of how long runs waited for a worker.
    said = "".join(process.said() for process in schedulers)
    assert "timers fell due up to" in said
    assert "runs.promoted" in said
    late = eventually(
        lambda: Rollup.objects.filter(kind="delay", task_id="fires").aggregate(seconds=Sum("seconds"))["seconds"],
        "the delays are counted",
    )
    assert late >= AWAY * len(delayed)


@pytest.fixture(params=[3600, -3600], ids=["an hour ahead", "an hour behind"])
def wrong_clock(request: pytest.FixtureRequest, faulty: Fleet) -> dict[str, str]:
    """The environment of a Python whose clock is wrong."""
    folder = Path(faulty.ledger.folder) / "clock"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        f"import time\n_time, _time_ns = time.time, time.time_ns\n"
        f"time.time = lambda: _time() + {request.param}\n"
        f"time.time_ns = lambda: _time_ns() + {request.param} * 10**9\n"
    )
    return {"PYTHONPATH": f"{folder}:{faulty.environment.get('PYTHONPATH', '')}".strip(":")}


def test_fault_8_the_clock_of_the_database_governs_a_worker_whose_own_is_wrong(
    faulty: Fleet, wrong_clock: dict[str, str]
) -> None:
    began = timezone.now()
    faulty.worker("worker-wrong", **wrong_clock)
    faulty.scheduler(**wrong_clock)
    ids = {
        name: the(name).enqueue().id
        for name in ("talks", "wall", "dam", "second-time-lucky", "retries-late", "waits-for-a-late-step", "too-long")
    }
    ids["fires"] = the("fires").using(delay=1.5).enqueue().id
    all_final(list(ids.values()))
    ended = timezone.now()
    off = [abs(e.at - began.timestamp()) for e in faulty.ledger.entries("fired")]
    assert off
    assert min(off) > 3000, "the clock of this worker is wrong indeed"

    assert (ended - began).total_seconds() < FAR
    found = {name: Run.objects.get(pk=run_id).status for name, run_id in ids.items()}
    assert found.pop("too-long") == "timed_out"
    assert set(found.values()) == {"completed"}
    for run_id in ids.values():
        run = Run.objects.get(pk=run_id)
        times = [run.created_at, run.started_at, run.finished_at]
        times += [t for s in snapshots(run_id) for t in (s.started_at, s.finished_at)]
        times += [line.at for line in lines(run_id)] + [a.started_at for a in attempts(run_id)]
        slack = timedelta(seconds=1)  # what a worker takes to hear the time; its own is an hour off
        assert all(t is not None and began - slack <= t <= ended + slack for t in times), (run.task_id, times)
    scheduled = Run.objects.get(pk=ids["fires"])
    assert scheduled.started_at is not None
    assert 1.5 <= (scheduled.started_at - scheduled.created_at).total_seconds() < FAR
    for name in ("retries-late", "waits-for-a-late-step"):
        run = Run.objects.get(pk=ids[name])
        assert run.started_at is not None
        assert run.finished_at is not None
        assert 3.0 <= (run.finished_at - run.started_at).total_seconds() < FAR
    seconds = eventually(lambda: Rollup.objects.aggregate(most=Max("seconds"))["most"], "durations are counted")
    assert seconds < FAR
    assert not Worker.objects.exclude(lost_at=None).exists()


def test_fault_8_workers_whose_clocks_differ_by_two_hours_do_not_take_each_other_for_dead(
    faulty: Fleet, wrong_clock: dict[str, str]
) -> None:
    quick = {"HOLDFAST_HEARTBEAT_TIMEOUT": "5"}
    faulty.worker("worker-right", **quick)
    faulty.worker("worker-wrong", **quick, **wrong_clock)
    faulty.scheduler(**quick)
    ids = [the("wall").enqueue(30, 0.2).id for _ in range(4)]
    all_final(ids)
    assert statuses(ids) == {"completed"}
    assert not Worker.objects.exclude(lost_at=None).exists()
    assert faulty.ledger.repeated("begin") == []
