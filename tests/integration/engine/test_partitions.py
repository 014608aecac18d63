"""Partitions of the weeks to come are made while everybody works, and while somebody reads for hours."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from django.core.management import CommandError, call_command

from holdfast import db
from runs import partitions, streams
from runs.engine import upkeep
from runs.models import Run
from tests.support import stored
from tests.support.waiting import eventually

pytestmark = pytest.mark.usefixtures("registered")
WAITS = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'runs_snapshot_default'::regclass"


@pytest.fixture
def conn() -> Iterator[db.Conn]:
    with db.connect("test") as found:
        yield found


@pytest.fixture
def run() -> Run:
    return stored.run("running", age=1)


@pytest.fixture
def backup(conn: db.Conn, run: Run) -> Iterator[db.Conn]:
    """Reads all snapshots in a transaction that takes as long as it likes; a coming week's partition is missing."""
    conn.execute(f"DROP TABLE IF EXISTS {missing(run)}")
    with db.connect("backup") as found:
        found.execute("BEGIN")
        found.execute("SELECT * FROM runs_snapshot")
        yield found
        found.rollback()
    partitions.ensure_partitions(conn)


def week_of(run: Run) -> int:
    return (run.id.int >> 80) // (partitions.PARTITION_DAYS * 86_400_000)


def missing(run: Run) -> str:
    return f"runs_snapshot_w{week_of(run) + partitions.PARTITIONS_AHEAD}"


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
    with db.connect("worker") as worker, ThreadPoolExecutor(1) as scheduler:
        worker.execute("SET lock_timeout = '100ms'")
        duty = scheduler.submit(upkeep.make_partitions, conn)
        eventually(lambda: duty.done() or worker.execute(WAITS).fetchone(), "the scheduler stands in line")
        written = 0
        while not duty.done():
            worker.execute(
                "INSERT INTO runs_snapshot (run_id, sequence, kind, name, key, attempt, started_at, finished_at)"
                " VALUES (%s, %s, 'step', 'add', %s, 1, now(), now())",
                [run.id, written := written + 1, f"add#{written}"],
            )
        assert written, "nobody who writes stood behind it"
        assert duty.result() == upkeep.AGAIN
    backup.rollback()
    assert upkeep.make_partitions(conn) is None
    assert conn.execute("SELECT to_regclass(%s)::text", [missing(run)]).fetchone() == (missing(run),)


def test_a_history_is_not_seeded_while_a_backup_reads(run: Run, backup: db.Conn) -> None:
    with pytest.raises(CommandError, match="such as a backup; nothing was made"):
        call_command("seed", "--small", "--add", verbosity=0)
    assert list(Run.objects.all()) == [run]


def test_others_are_told_that_the_lock_was_not_given(conn: db.Conn, backup: db.Conn) -> None:
    with pytest.raises(psycopg.errors.LockNotAvailable):
        partitions.ensure_partitions(conn)
