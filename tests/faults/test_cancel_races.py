"""Fault 20: a cancel meets a lease, a retry, a wait or the end at the same moment. One terminal state, no deadlock."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from django.db import connection

from holdfast.access.grants import Actor
from queues.models import Entry, Lease, Timer
from runs import services
from runs.errors import WrongState
from runs.models import Attempt, Run
from runs.states import FINAL
from tests.support.processes import Fleet
from tests.support.runs import all_final, the

#: Seconds within which a cancel falls after its enqueue: about what it takes a run to come so far.
SPREAD = {"queued": 0.03, "scheduled": 0.6, "retrying": 0.5, "waiting": 4.0}
ENQUEUE: dict[str, Callable[[], UUID]] = {
    "queued": lambda: the("wall").enqueue(2, 0.005).id,
    "scheduled": lambda: the("wall").using(delay=0.3).enqueue(1, 0.005).id,
    "retrying": lambda: the("never-lucky").enqueue().id,
    "waiting": lambda: the("waits-for-its-step").enqueue().id,
}


@pytest.mark.parametrize("state", list(ENQUEUE))
def test_fault_20_a_cancel_that_meets_a_run_on_its_way_leaves_one_terminal_state(fleet: Fleet, state: str) -> None:
    for number in (1, 2):
        fleet.worker(f"worker-{number}")
    fleet.scheduler()
    the("echo").using(delay=0.1).enqueue("warm").result(timeout=20)
    seeded = random.Random(f"cancel {state}")
    count = 40 if state == "waiting" else 120
    delays = [seeded.uniform(0.0, SPREAD[state]) for _ in range(count)]
    accepted: set[UUID] = set()
    cancelled_at_once: dict[UUID, float] = {}
    lock = threading.Lock()

    def race(delay: float) -> UUID:
        try:
            run_id = ENQUEUE[state]()
            threading.Event().wait(delay)
            try:
                services.run_cancel(run_id, actor=Actor.system("test"))
            except WrongState:
                return run_id
            with lock:
                accepted.add(run_id)
                if Run.objects.get(pk=run_id).status == "cancelled":
                    cancelled_at_once[run_id] = time.time()
            return run_id
        finally:
            connection.close()

    # Whatever else than WrongState is raised, a deadlock say, comes out here.
    with ThreadPoolExecutor(20) as pool:
        ids = list(pool.map(race, delays))
    all_final(ids)

    runs = {run.id: run for run in Run.objects.filter(pk__in=ids)}
    assert {r.status for r in runs.values()} <= {str(s) for s in FINAL}
    assert accepted, "some cancels came in time"
    for run_id in cancelled_at_once:
        assert runs[run_id].status == "cancelled", "what was cancelled stays so"
        begun = [e.at for e in fleet.ledger.entries("begin", str(run_id))]
        assert all(at <= cancelled_at_once[run_id] for at in begun), "no step begins after a cancel that took effect"
    for run_id in set(ids) - accepted:
        assert runs[run_id].status in {"completed", "failed"}, "a cancel that was refused changed nothing"
    assert not Attempt.objects.filter(run_id__in=ids, finished_at=None).exists()
    assert [flow.objects.filter(entry_id__in=ids).count() for flow in (Entry, Timer, Lease)] == [0, 0, 0]
