"""Partitions of the weeks to come are made while everybody works, and while somebody reads for hours."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

import psycopg
import pytest
from django.core.management import CommandError, call_command

from holdfast import db
from runs import partitions, streams
from runs.engine import upkeep
from runs.models import Run
from tests.support import stored

pytestmark = pytest.mark.usefixtures("registered")


@pytest.fixture
def conn() -> Iterator[db.Conn]:
    """The scheduler's. What a test takes away is there again after it."""
    with db.connect("test") as found:
        found.execute("SET statement_timeout = '20s'")
        try:
            yield found
        finally:
            partitions.ensure_partitions(found)


@pytest.fixture
def run() -> Run:
    return stored.run("running", age=1)


@pytest.fixture
def backup(conn: db.Conn, run: Run) -> Iterator[db.Conn]:
    """Reads all snapshots in a transaction that takes as long as it likes; a coming week's partition is missing."""
    conn.execute(f"DROP TABLE IF EXISTS {partition_of(run, partitions.PARTITIONS_AHEAD)}")
    with db.connect("backup") as found:
        found.execute("SET idle_in_transaction_session_timeout = 0")
        found.execute("BEGIN")
        found.execute("SELECT * FROM runs_snapshot")
        yield found
        found.rollback()


def week_of(run: Run) -> int:
    return (run.id.int >> 80) // (partitions.PARTITION_DAYS * 86_400_000)


def partition_of(run: Run, later: int = 0) -> str:
    return f"runs_snapshot_w{week_of(run) + later}"


@contextmanager
def writing(run: Run) -> Iterator[Future[int]]:
    """Somebody writes snapshots of the run all the time. Gives how many; fails if one has to wait for long.

    Our DDL may be waited for by design, for half a second and as long as it takes: not a backup, which never ends."""
    begun, over = Event(), Event()

    def write() -> int:
        written = 0
        with db.connect("worker") as worker:
            worker.execute("SET lock_timeout = '5s'")
            while not over.is_set():
                worker.execute(
                    "INSERT INTO runs_snapshot (run_id, sequence, kind, name, key, attempt, started_at, finished_at)"
                    " VALUES (%s, %s, 'step', 'add', %s, 1, now(), now())",
                    [run.id, written := written + 1, f"add#{written}"],
                )
                begun.set()
        return written

    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(write)
        try:
            assert begun.wait(30)
            yield found
        finally:
            over.set()


def test_chunks_move_into_their_weeks_partition(conn: db.Conn, run: Run) -> None:
    week = week_of(run)
    conn.execute(f"DROP TABLE IF EXISTS runs_chunk_w{week}")
    sequences = stored.chunks(run, "a", "b")
    assert f"runs_chunk_w{week}" in partitions.ensure_partitions(conn)
    sequences += stored.chunks(run, "c")
    rows = conn.execute("SELECT tableoid::regclass::text FROM runs_chunk WHERE run_id = %s", [run.id]).fetchall()
    assert rows == [(f"runs_chunk_w{week}",)] * 3
    assert [c.sequence for c in streams.read(run.id, "answer").items] == sequences


def test_while_a_backup_reads_snapshots_are_written_and_the_partition_comes_later(
    conn: db.Conn, run: Run, backup: db.Conn
) -> None:
    with writing(run) as written:
        assert upkeep.make_partitions(conn) == upkeep.AGAIN
    assert written.result()
    backup.rollback()
    assert upkeep.make_partitions(conn) is None
    name = partition_of(run, partitions.PARTITIONS_AHEAD)
    assert conn.execute("SELECT to_regclass(%s)::text", [name]).fetchone() == (name,)


def test_a_missing_partition_of_this_week_is_made_while_its_rows_are_written(conn: db.Conn, run: Run) -> None:
    conn.execute(f"DROP TABLE IF EXISTS {partition_of(run)}")
    another = stored.run("running", age=1)
    with writing(run) as one, writing(another) as two:
        assert upkeep.make_partitions(conn) is None
    found = conn.execute(f"SELECT count(*) FROM {partition_of(run)}").fetchone()
    assert found == (one.result() + two.result(),)


def test_one_table_that_is_held_does_not_keep_the_others_from_theirs(conn: db.Conn, run: Run, backup: db.Conn) -> None:
    chunks = f"runs_chunk_w{week_of(run)}"
    conn.execute(f"DROP TABLE IF EXISTS {chunks}")
    with pytest.raises(psycopg.errors.LockNotAvailable):
        partitions.ensure_partitions(conn)
    assert conn.execute("SELECT to_regclass(%s)::text", [chunks]).fetchone() == (chunks,)


def test_a_history_is_not_seeded_while_a_backup_reads(run: Run, backup: db.Conn) -> None:
    with pytest.raises(CommandError, match="such as a backup; no run was made"):
        call_command("seed", "--small", "--add", verbosity=0)
    assert list(Run.objects.all()) == [run]
