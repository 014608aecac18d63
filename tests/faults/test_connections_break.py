"""Faults 11, 12, 13 and 16: connections to PostgreSQL break, or their answers are lost, or somebody holds rows."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from holdfast import db
from queues import store as queue_store
from queues.models import Lease, Queue, Worker
from runs.engine.batch import Batch
from runs.engine.recovery import Watch
from runs.engine.tail import LogTail
from runs.engine.writer import Writer
from runs.models import Attempt, Run
from runs.store import LogRow
from tests.support.processes import Fleet
from tests.support.runs import all_final, attempts, lines, snapshots, statuses, the
from tests.support.waiting import eventually


def sessions(name: str, idle: float = 0.0) -> set[int]:
    """Pids of the sessions of this name on the test's database that have been idle for so many seconds."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE application_name = %s AND datname = current_database() "
            "AND (%s = 0 OR state = 'idle' AND clock_timestamp() - state_change >= make_interval(secs => %s))",
            [f"holdfast {name}", idle, idle],
        )
        return {row[0] for row in cursor.fetchall()}


def cut(pids: set[int]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(pg_terminate_backend(pid)) FROM unnest(%s::int[]) AS pid", [list(pids)])


def cut_beats(workers: int) -> None:
    """Each worker's session once, as it is about to be used: the time that a worker has until others take it for dead
    is there for coming back, and not spent before it has noticed."""
    left = eventually(lambda: found if len(found := sessions("beat")) == workers else None, "all hearts beat")
    assert left is not None

    def cut_some() -> bool:
        cut(ripe := left & sessions("beat", idle=0.4))
        left.difference_update(ripe)
        return not left

    eventually(cut_some, "heartbeats are cut")


@contextmanager
def another_session() -> Iterator[db.Conn]:
    """Somebody else's, whom Holdfast does not take for one of its own that is frozen."""
    conn = db.connect("test")
    conn.execute("SET idle_in_transaction_session_timeout = 0; SET application_name = 'somebody'")
    try:
        yield conn
    finally:
        conn.close()


def waits_for_a_lock(name: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND wait_event_type = 'Lock' "
            "AND datname = current_database()",
            [f"holdfast {name}"],
        )
        return bool(cursor.fetchone()[0])


def test_fault_11_a_heartbeat_that_is_cut_off_is_back_before_its_next_look(fleet: Fleet, tmp_path: Path) -> None:
    """Others take a worker for dead whose lock is free for 0.9 s; waiting for the next look would cost half of that."""
    rarely = tmp_path / "rarely.py"
    rarely.write_text("from runs.engine import beat\n\nbeat.LOOK = 3_600.0\n")
    fleet.environment["HOLDFAST_TASKS"] += f",{rarely}"
    worker = fleet.worker("worker-1")
    for _ in range(3):
        (before,) = eventually(lambda: sessions("beat", idle=0.1), "it rests")
        cut({before})
        eventually(lambda before=before: sessions("beat") - {before}, "its heart beats again")
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0, "nor is it held up when it ends"


def test_fault_13_a_lease_whose_answer_was_lost_is_not_held_for_ever(fleet: Fleet) -> None:
    fleet.worker("worker-1")
    fleet.scheduler()
    the("echo").using(delay=0.1).enqueue().result(timeout=20)  # the scheduler has done its own work on the tables
    with another_session() as conn:
        with conn.transaction():
            # The leaser commits the lease of the second attempt and is stopped before it hears what it leased.
            conn.execute("LOCK TABLE runs_snapshot IN ACCESS EXCLUSIVE MODE")
            handle = the("never-lucky").using(max_attempts=2).enqueue()
            eventually(lambda: waits_for_a_lock("leaser"), "the leaser reads the history")
            cut(sessions("leaser"))
        all_final([handle.id])
    assert [a.status for a in attempts(handle.id)] == ["failed", "failed"]
    assert not Lease.objects.exists()


def test_a_worker_whose_heartbeat_connection_is_cut_is_not_taken_for_dead(fleet: Fleet) -> None:
    for number in (1, 2, 3):
        fleet.worker(f"worker-{number}")
    fleet.scheduler()
    ids = [the(name).enqueue(10, 0.5).id for name in ("wall", "dam") * 3]
    eventually(lambda: fleet.ledger.count("begin") >= len(ids), "all are at work")
    for done in range(len(ids), 8 * len(ids), len(ids)):
        cut_beats(3)
        eventually(lambda most=done: fleet.ledger.count("end") >= most, "work goes on")
    all_final(ids)
    assert Worker.objects.filter(lost_at=None).count() == 3
    assert statuses(ids) == {"completed"}
    assert fleet.ledger.repeated("begin") == []
    assert Attempt.objects.filter(run_id__in=ids).count() == len(ids)


def test_fault_13_commits_whose_answers_are_lost_leave_nothing_twice(fleet: Fleet) -> None:
    for number in (1, 2):
        fleet.worker(f"worker-{number}")
    fleet.scheduler()
    ids = [the(name).enqueue(15, 0.02).id for name in ("wall", "dam") * 10]
    ids += [h.id for h in the("narrow-job").enqueue_many([{"seconds": 0.02}] * 60)]
    ids += [the("talks").enqueue().id for _ in range(20)]
    stop = threading.Event()

    def cutter() -> None:
        while not stop.wait(0.15):
            for name in ("writer", "leaser"):
                cut(sessions(name))
        connection.close()

    thread = threading.Thread(target=cutter)
    thread.start()
    try:
        eventually(lambda: Run.objects.filter(finished_at=None).count() < 40, "most end under cuts", timeout=150)
    finally:
        stop.set()
        thread.join()
    all_final(ids, timeout=150)
    assert statuses(ids) == {"completed"}
    assert not Lease.objects.exists()
    assert Attempt.objects.filter(run_id__in=ids).count() == len(ids)
    assert fleet.ledger.repeated("end") == []
    for run_id in ids:
        kept = [s.key for s in snapshots(run_id)]
        assert len(kept) == len(set(kept))
        assert max(Counter((x.message, x.step) for x in lines(run_id)).values(), default=1) == 1


def test_fault_16_rows_that_somebody_holds_for_long_make_no_worker_look_dead(fleet: Fleet) -> None:
    quick = {"HOLDFAST_HEARTBEAT_TIMEOUT": "5"}
    for number in (1, 2):
        fleet.worker(f"worker-{number}", **quick)
    fleet.scheduler(**quick)
    ids = [handle.id for handle in the("wall").enqueue_many([{"bricks": 20, "seconds": 0.1}] * 6)]
    eventually(lambda: Run.objects.filter(status="running").count() == 6, "all are at work")
    with another_session() as conn, conn.transaction():
        conn.execute("SELECT id FROM runs_run WHERE id = ANY(%s) FOR UPDATE", [ids])
        eventually(lambda: waits_for_a_lock("writer"), "a writer waits for the rows")
        held = time.monotonic() + 9
        eventually(lambda: time.monotonic() > held, "longer than a heartbeat may take")
    all_final(ids)
    assert statuses(ids) == {"completed"}
    assert not Worker.objects.exclude(lost_at=None).exists()
    assert {len(attempts(run_id)) for run_id in ids} == {1}


def test_fault_13_a_batch_that_postgresql_still_executes_is_not_written_a_second_time(registered: None) -> None:
    handle = the("echo").enqueue("x")
    with another_session() as beat, another_session() as blocker:
        worker = queue_store.worker_register(
            beat, name="w", pools=["default"], hostname="h", pid=1, version="", coroutines=1, threads=1
        )
        committed: list[Batch] = []
        tail = LogTail(handle.id)
        writer = Writer(
            worker, committed.append, lambda: None, lambda run_id: None, lambda run_id: None, lambda held: None
        )
        writer.start()

        def say(message: str) -> None:
            writer.put_log(LogRow(handle.id, time.time(), 20, message, None, 1, ""), tail)

        say("first")
        eventually(lambda: len(lines(handle.id)) == 1, "the writer is connected")
        with blocker.transaction():
            blocker.execute("LOCK TABLE runs_logline IN ACCESS EXCLUSIVE MODE")
            say("second")
            eventually(lambda: waits_for_a_lock("writer"), "the batch is being executed")
            assert writer._conn is not None
            # The network goes for the worker; the server's side knows nothing of it.
            lost = socket.socket(fileno=writer._conn.pgconn.socket)
            lost.shutdown(socket.SHUT_RD)
            lost.detach()
            eventually(lambda: len(sessions("writer")) == 2, "the writer is back with a new connection")
        eventually(lambda: len(committed) == 2, "both batches are acknowledged")
        assert writer.close(timeout=60)
    assert [x.message for x in lines(handle.id)] == ["first", "second"]


@pytest.mark.parametrize("synchronised", [False, True], ids=["before-the-sync", "after-the-sync"])
@pytest.mark.parametrize("holds", ["its-own-row", "a-queue"])
def test_fault_2_a_worker_that_froze_half_way_through_a_pipeline_is_declared_lost_and_its_locks_are_free(
    registered: None, synchronised: bool, holds: str
) -> None:
    with db.connect("beat") as beat, db.connect("writer") as frozen, db.connect("rescuer") as rescuer:
        worker = queue_store.worker_register(
            beat, name="frozen", pools=["default"], hostname="h", pid=1, version="", coroutines=1, threads=1
        )
        Worker.objects.filter(pk=worker).update(heartbeat_at=timezone.now() - timedelta(minutes=1))
        held = Worker.objects.filter(pk=worker) if holds == "its-own-row" else Queue.objects.filter(name="default")
        watch = Watch(timeout=5)

        def lost() -> bool:
            watch.look(rescuer)
            return Worker.objects.filter(pk=worker).exclude(lost_at=None).exists()

        def freeze() -> None:
            with frozen.pipeline(), frozen.cursor() as cursor:
                frozen.execute("BEGIN")
                if holds == "its-own-row":
                    queue_store.begin_batch(cursor, worker, 1)
                else:
                    frozen.execute("SELECT FROM queues_queue WHERE name = 'default' FOR UPDATE")
                # The states in which SIGSTOP may catch a writer. Sent and executed, but not synchronised: PostgreSQL
                # calls the session active. Synchronised and flushed: it is idle in transaction, but the flush has
                # switched off the timer of idle sessions.
                if synchronised:
                    frozen.pgconn.pipeline_sync()
                frozen.pgconn.send_flush_request()
                frozen.pgconn.flush()
                eventually(lambda: is_locked(held), "the batch is being written")
                eventually(lost, "it is declared lost")
                eventually(lambda: not is_locked(held), "what it held is free")

        with pytest.raises(psycopg.OperationalError):
            freeze()


def is_locked(rows: QuerySet[Any]) -> bool:
    with transaction.atomic():
        return not rows.select_for_update(skip_locked=True).exists()
