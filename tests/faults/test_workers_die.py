"""Faults 1, 2 and 4: workers are killed, frozen and stopped while they work."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence

from queues.models import Lease, Worker
from runs.models import Attempt, Run, Snapshot
from tests.support.processes import Fleet, Process
from tests.support.runs import all_final, attempts, statuses, the
from tests.support.ticking import Ticker
from tests.support.waiting import eventually


def at_work(fleet: Fleet, ids: Sequence[object], what: str = "end") -> None:
    """Waits until each of these runs has ended a step, or begun one."""
    eventually(lambda: all(fleet.ledger.count(what, str(i)) for i in ids), "every run is at work")


def busy_worker(fleet: Fleet, ids: list[object]) -> Process:
    """The worker that holds the most of these runs, once each has ended a step."""
    at_work(fleet, ids)
    held = {
        process.name: Lease.objects.filter(worker__name=process.name, entry_id__in=ids).count()
        for process in fleet.processes
        if process.name.startswith("worker")
    }
    name = max(held, key=lambda n: held[n])
    return next(process for process in fleet.processes if process.name == name)


def test_fault_1_runs_of_a_killed_worker_go_on_elsewhere_within_3_s_and_repeat_no_finished_step(
    fleet: Fleet, ticker: Ticker
) -> None:
    fleet.worker("worker-1")
    fleet.worker("worker-2")
    ids = [the(name).enqueue(12, 0.15).id for name in ("wall", "dam") * 6]
    victim = busy_worker(fleet, ids)
    held = [str(i) for i in Lease.objects.filter(worker__name=victim.name).values_list("entry_id", flat=True)]
    assert held
    # What is durable: a step whose side effect is there and whose snapshot is not yet may be called once more.
    finished = {
        ("end", str(run_id), str(output)) for run_id, output in Snapshot.objects.values_list("run_id", "output")
    }

    killed = time.time()
    victim.signal(signal.SIGKILL)
    all_final(ids)

    assert statuses(ids) == {"completed"}
    for run_id in held:
        went_on = [e.at for e in fleet.ledger.entries("begin", run_id) if e.pid != victim.pid]
        assert went_on, f"{run_id} did not go on elsewhere"
        assert ticker.seconds(killed, went_on[0]) <= 3.0
        assert [a.status for a in attempts(run_id)] == ["crashed", "completed"]
    again = {e.words for e in fleet.ledger.entries("begin") if e.at > killed}
    assert {("begin", *words[1:]) for words in finished} & again == set(), "a finished step was called again"
    assert finished & set(fleet.ledger.repeated("end")) == set()


def test_fault_2_a_frozen_worker_that_comes_back_is_fenced_and_the_overlap_is_recorded(fleet: Fleet) -> None:
    quick = {"HOLDFAST_HEARTBEAT_TIMEOUT": "5"}
    victim = fleet.worker("worker-frozen", **quick)
    ids = [the("wall").enqueue(8, 0.2).id, the("dam").enqueue(8, 0.2).id]
    at_work(fleet, ids)
    victim.signal(signal.SIGSTOP)
    fleet.worker("worker-rescuer", **quick)
    all_final(ids)
    results = dict(Run.objects.values_list("id", "output"))

    victim.signal(signal.SIGCONT)
    assert victim.wait() == 3, "it stops, and says by its exit code why"

    frozen = Worker.objects.get(name="worker-frozen")
    assert frozen.lost_at is not None
    assert frozen.returned_at is not None
    for run_id in ids:
        first, second = attempts(run_id)
        assert (first.status, second.status) == ("crashed", "completed")
        assert first.overlap_at is not None, "operators can see that two workers were at it"
        assert second.overlap_at is None
    assert dict(Run.objects.values_list("id", "output")) == results, "the stale worker wrote nothing"
    assert "Traceback" not in victim.said()


def test_fault_4_a_worker_that_is_told_to_stop_finishes_what_it_can_in_its_grace(fleet: Fleet) -> None:
    worker = fleet.worker("worker-1")
    ids = [the("wall").enqueue(4, 0.1).id, the("dam").enqueue(4, 0.1).id]
    at_work(fleet, ids, "begin")
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    assert statuses(ids) == {"completed"}
    assert fleet.ledger.repeated("begin") == []
    assert Worker.objects.get(name="worker-1").stopped_at is not None


def test_fault_4_what_is_not_done_in_the_grace_is_handed_over_at_a_step_boundary(fleet: Fleet) -> None:
    worker = fleet.worker("worker-1", HOLDFAST_GRACE="0.2")
    ids = [the(name).enqueue(12, 0.3).id for name in ("wall", "dam") * 2]
    at_work(fleet, ids)
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    assert statuses(ids) == {"queued"}
    assert not Lease.objects.exists()
    assert Attempt.objects.filter(run_id__in=ids, finished_at=None).count() == len(ids), "the attempts stay open"

    fleet.worker("worker-2")
    all_final(ids)
    assert statuses(ids) == {"completed"}
    assert fleet.ledger.repeated("begin") == [], "no step was begun twice"
    assert [a.number for run_id in ids for a in attempts(run_id)] == [1] * len(ids), "a handover is no new attempt"


def test_fault_10_a_task_that_kills_its_worker_each_time_ends_as_crashed_and_others_proceed(fleet: Fleet) -> None:
    poison = the("killer").enqueue()
    fleet.scheduler()
    for number in range(1, 6):
        fleet.worker(f"worker-{number}")
        eventually(lambda n=number: fleet.ledger.count("killed") >= n, f"worker {number} is killed")
    fleet.worker("worker-last")
    all_final([poison.id])
    assert poison.refresh().status == "crashed"
    assert poison.error is not None
    assert "worker" in poison.error["message"]
    assert the("echo").enqueue("alive").result(timeout=20) == "alive"
