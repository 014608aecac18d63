"""Fault 14: calls of the store fail, before and after they are executed. What is left is what would have been."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from queues.models import Entry, Lease, Timer, Worker
from runs.models import Attempt
from tests.support.processes import ROOT, Fleet
from tests.support.runs import all_final, attempts, lines, run, snapshots, the

FAULTY = Path(ROOT) / "tests" / "support" / "faulty_manage.py"


def workload() -> list[UUID]:
    ids: list[UUID] = []
    for _ in range(8):
        ids += [the("wall").enqueue(4, 0.02).id, the("dam").enqueue(4, 0.02).id]
        ids += [the(name).enqueue().id for name in ("second-time-lucky", "remembers", "gathers", "talks", "talks-sync")]
        ids += [the("wobbles").enqueue(1).id, the("narrow-job").enqueue(0.02).id]
        ids += [the("never-lucky").enqueue().id, the("aborts").enqueue().id]
        ids += [the("echo").using(delay=0.5).enqueue("late").id]
    return ids


def left(run_id: UUID) -> dict[str, Any]:
    """Everything that a run leaves behind, without times and ids."""
    found = run(run_id)
    return {
        "run": (found.task_id, found.status, found.output, found.attempt, found.failures, found.crashes),
        "error": (found.error or {}).get("message"),
        "attempts": [(a.number, a.status) for a in attempts(run_id)],
        "snapshots": sorted((s.kind, s.key, s.attempt, repr(s.output), repr(s.state)) for s in snapshots(run_id)),
        "sequences": [s.sequence for s in snapshots(run_id)],
        "lines": [
            (line.level, line.attempt, line.step, line.message) for line in lines(run_id) if "try" not in line.message
        ],
    }


@pytest.mark.parametrize("seed", [1, 2])
def test_fault_14_errors_at_5_percent_of_store_calls_leave_what_a_run_without_errors_leaves(
    fleet: Fleet, seed: int
) -> None:
    def work(ids: list[UUID], timeout: float) -> list[dict[str, Any]]:
        all_final(ids, timeout)
        return [left(run_id) for run_id in ids]

    well = [fleet.worker("worker-well"), fleet.scheduler()]
    expected = work(workload(), 120)
    for process in well:
        process.popen.terminate()
        process.wait()

    fleet.script = FAULTY
    injected = {"TESTS_STORE_ERRORS": "0.05", "TESTS_STORE_SEED": str(seed)}
    ids = workload()
    fleet.scheduler(**injected)
    for number in (1, 2):
        fleet.worker(f"worker-{number}", **injected)
    found = work(ids, 120)

    assert "injected" in "".join(p.said() for p in fleet.processes), "errors were injected indeed"
    for run_id, before, after in zip(ids, expected, found, strict=True):
        assert after == before, run_id
        steps = [e.words for e in fleet.ledger.entries("end", str(run_id))]
        assert len(steps) == len(set(steps)), "no finished step was called again"
    assert [flow.objects.count() for flow in (Entry, Timer, Lease)] == [0, 0, 0]
    assert not Attempt.objects.filter(finished_at=None).exists()
    assert not Worker.objects.exclude(lost_at=None).exists()
