"""Faults 11 and 12: PostgreSQL is restarted: under load again and again, and while a dead worker is recovered."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from holdfast.embedded import EmbeddedServers
from queues.models import Lane
from tests.support.installation import Installation, environment_of
from tests.support.processes import FAULT_TASKS, TASKS, Fleet, Ledger
from tests.support.waiting import eventually

#: Seconds of load under restarts, and between them.
UNDER_FIRE, BETWEEN = 20.0, 3.0
#: Runs that wait at most.
BACKLOG = 500


@pytest.fixture
def own(request: pytest.FixtureRequest, data_dir: Path, ledger: Ledger) -> Iterator[Installation]:
    """Servers of this test alone."""
    servers = EmbeddedServers(data_dir, durable=False, die_with_parent=True)
    servers.start()
    more = {"HOLDFAST_TASKS": str(TASKS), "HOLDFAST_DEMO": "0", "TESTS_LEDGER": str(ledger.path)}
    found = Installation(servers, Fleet(environment_of(servers, dict(os.environ), **more), ledger))
    try:
        found.migrate()
        yield found
        outcome = getattr(request.node, "outcome_of_call", None)
        if outcome is None or outcome.failed:
            print(found.fleet.report())
    finally:
        found.close()


def nothing_is_held(own: Installation) -> None:
    assert [own.count(table) for table in ("queues_lease", "queues_entry", "queues_timer")] == [0, 0, 0]
    assert own.ask("SELECT run_id, number FROM runs_attempt WHERE finished_at IS NULL") == []


def test_fault_11_what_a_worker_does_whose_lease_a_crash_took_back_stays_out_of_the_run(own: Installation) -> None:
    """No lease is waited for to reach the disk. After the crash its run is another worker's, which knows the history:
    what the first one had done and could not write may not come into that."""
    own.configure("wal_writer_delay = 10s")
    own.fleet.environment["HOLDFAST_HEARTBEAT_TIMEOUT"] = (
        "600"  # it is not to be taken for dead while it is kept from all
    )
    own.fleet.start("scheduler", "schedule")
    first = own.worker("first", HOLDFAST_TASKS=str(FAULT_TASKS), HOLDFAST_THREADS="1", TESTS_HERE="first")
    ledger = own.fleet.ledger
    for number in range(10):  # whatever else is committed brings the lease to the disk
        with own.locked("SELECT 1 FROM queues_worker WHERE name = 'first' FOR NO KEY UPDATE"):  # it writes nothing
            (run_id,) = own.enqueue("laid-by-one", Lane.THREAD, [{"number": number}])
            here = f"first-{number}"
            eventually(partial(ledger.count, "lays", here), "it is leased")
            own.kill_postgresql(signal.SIGKILL)
        before = first.said()
        ledger.open_gate(here)
        eventually(partial(ledger.count, "laid", here), "its step is over")
        eventually(lambda before=before: "PostgreSQL is away" in first.said()[len(before) :], "it cannot write")  # type: ignore[misc]
        first.signal(signal.SIGSTOP)
        own.servers.ensure()
        if not own.ask("SELECT 1 FROM queues_lease"):
            break
        first.signal(signal.SIGCONT)
        own.all_final([run_id])
    written = own.ask("SELECT batch FROM queues_worker WHERE name = 'first'")
    second = own.worker("second", HOLDFAST_TASKS=str(FAULT_TASKS), TESTS_HERE="second")
    eventually(lambda: ledger.count("lays", f"second-{number}"), "the other one has it")
    first.signal(signal.SIGCONT)
    eventually(
        lambda: own.ask("SELECT batch FROM queues_worker WHERE name = 'first'") > written, "the first one writes again"
    )
    assert own.ask("SELECT output FROM runs_snapshot WHERE run_id = %s", run_id) == []
    ledger.open_gate(f"second-{number}")
    own.all_final([run_id])
    assert own.ask("SELECT status, output, attempt FROM runs_run WHERE id = %s", run_id) == [
        ("completed", f"second-{number}", 1)
    ]
    left = f"the lease of run {run_id} is gone; leaving the run to others"
    eventually(lambda: left in first.said(), "the first one says so")
    assert "PostgreSQL refused" not in first.said() + second.said()
    nothing_is_held(own)


def test_fault_11_runs_finish_right_while_postgresql_is_restarted_every_few_seconds(own: Installation) -> None:
    for number in (1, 2):
        own.worker(f"worker-{number}")
    own.fleet.start("scheduler", "schedule")
    acknowledged: list[UUID] = []
    ways = [signal.SIGINT, signal.SIGKILL, signal.SIGQUIT]
    began = restarted = time.monotonic()
    restarts = 0
    while restarts < 4 or time.monotonic() - began < UNDER_FIRE:
        if time.monotonic() - restarted > BETWEEN:
            own.restart_postgresql(ways[restarts % len(ways)])
            restarts, restarted = restarts + 1, time.monotonic()
        # No more than the workers get done, however fast the machine.
        eventually(lambda: own.count("queues_entry") < BACKLOG, "the workers get on")
        try:
            acknowledged += own.enqueue("wall", Lane.COROUTINE, [{"bricks": 5, "seconds": 0.1}] * 2)
            acknowledged += own.enqueue("dam", Lane.THREAD, [{"stones": 3, "seconds": 0.1}])
            acknowledged += own.enqueue("second-time-lucky", Lane.COROUTINE, [{}], delay=0.5)
        except psycopg.Error:
            continue  # not acknowledged: it may be there or not
    own.all_final(acknowledged)
    assert own.statuses(acknowledged) == {"completed"}
    wrong = own.ask(
        "SELECT id, output FROM runs_run WHERE status = 'completed' AND output IS DISTINCT FROM CASE task_id "
        "WHEN 'wall' THEN '[0, 1, 2, 3, 4]'::jsonb WHEN 'dam' THEN '[0, 1, 2]'::jsonb ELSE '42'::jsonb END"
    )
    assert wrong == []
    assert own.ask("SELECT run_id, key FROM runs_snapshot WHERE kind = 'step' GROUP BY 1, 2 HAVING count(*) > 1") == []
    nothing_is_held(own)
    assert own.ask("SELECT name FROM queues_worker WHERE lost_at IS NOT NULL") == [], "nobody was taken for dead"
    assert own.ask("SELECT id FROM runs_run WHERE crashes > 0") == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_fault_12_a_restart_in_the_middle_of_a_recovery_strands_nothing(own: Installation, how: signal.Signals) -> None:
    victim = own.worker("worker-victim")
    ids = own.enqueue("wall", Lane.COROUTINE, [{"bricks": 50, "seconds": 0.2}] * 4)
    ids += own.enqueue("dam", Lane.THREAD, [{"stones": 50, "seconds": 0.2}] * 4)
    own.fleet.start("scheduler", "schedule")
    eventually(lambda: own.fleet.ledger.count("end") >= len(ids), "all are at work")
    own.worker("worker-rescuer")
    # What is durable: a step whose side effect is there and whose snapshot is not yet may be called once more.
    rows = own.ask("SELECT run_id::text, output::text FROM runs_snapshot WHERE kind = 'step'")
    finished = set(rows)
    assert finished
    # `closing`: its transaction goes with the server, there is nothing to commit.
    with closing(psycopg.connect(own.servers.database_url)) as holder:
        # The recovery waits for one of the runs, in the middle of its transaction.
        holder.execute("SELECT id FROM runs_run WHERE id = %s FOR UPDATE", [ids[0]])
        victim.signal(signal.SIGKILL)
        victim.wait()

        def recovering() -> bool:
            rows = own.ask(
                "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE %s "
                "AND application_name LIKE 'holdfast%%'",
                "%crashes%",
            )
            return bool(rows)

        eventually(recovering, "somebody recovers the dead worker's runs")
        own.restart_postgresql(how)
    own.all_final(ids)
    assert own.statuses(ids) == {"completed"}
    nothing_is_held(own)
    crashed = own.ask("SELECT run_id, count(*) FROM runs_attempt WHERE status = 'crashed' GROUP BY 1")
    assert sorted(crashed) == sorted((run_id, 1) for run_id in ids), "recovered once each"
    again = {e.words[1:] for e in own.fleet.ledger.entries("begin") if e.pid != victim.pid}
    assert finished & again == set(), "no finished step was called again"
    assert own.ask("SELECT name FROM queues_worker WHERE lost_at IS NOT NULL") == [("worker-victim",)]
