"""The only door through which runs change. The SQL stands in `runs/sql`; tables of flow are reached by pieces of
`queues.store`, inside the same statement or the same transaction.

Every function takes an open psycopg connection (or cursor) and leaves the transaction to its caller.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from psycopg import Cursor
from psycopg.rows import TupleRow

from holdfast import sql
from queues import store as queue_store
from queues.store import Conn, Grant, Seized

SQL = sql.load(Path(__file__).parent / "sql", {"add_incoming": queue_store.ADD_INCOMING})


@dataclass(frozen=True, slots=True)
class NewRuns:
    """Runs to enqueue that differ in nothing but their payload."""

    task: str
    queue: str
    lane: int
    payloads: list[str]  # JSON texts
    max_attempts: int
    priority: int = 0
    concurrency_key: str | None = None
    tags: list[str] = field(default_factory=list)
    idempotency_key: str | None = None
    run_after: datetime | None = None
    delay: float | None = None  # seconds
    trace_id: str | None = None
    parent_id: uuid.UUID | None = None


class Started(NamedTuple):
    """A run that a worker has begun or goes on with."""

    id: uuid.UUID
    task_id: str
    queue_id: int
    payload: str
    attempt: int
    failures: int
    max_attempts: int
    tags: list[str]
    trace_id: str
    token: int
    created: float  # Unix time
    resumed: bool  # the attempt goes on after a wait or a handover


class Fact(NamedTuple):
    """A snapshot as replay needs it."""

    sequence: int
    kind: str
    key: str
    attempt: int
    output: str | None
    state: str | None


class SnapshotRow(NamedTuple):
    run_id: uuid.UUID
    sequence: int
    kind: str
    name: str
    key: str
    attempt: int
    input: str | None
    output: str | None
    state: str | None
    error: str | None
    started: float
    finished: float


class LogRow(NamedTuple):
    run_id: uuid.UUID
    at: float
    level: int
    message: str
    fields: str | None
    attempt: int
    step: str


class FinishRow(NamedTuple):
    """How a stay of a run in a worker ends."""

    run_id: uuid.UUID
    token: int
    status: str  # the run's
    attempt: str | None  # the attempt's final status; None leaves it open
    output: str | None
    error: str | None
    failed: int  # 1 when it counts towards max_attempts
    delay: float | None  # None: final. Otherwise seconds until it may be leased again
    waiting_for: str | None


class RollupKey(NamedTuple):
    kind: str
    task: str
    queue: int
    name: str
    version: str
    status: str
    bucket: int


def enqueue(conn: Conn, new: NewRuns) -> tuple[list[uuid.UUID], str]:
    """Stores the runs and makes them leasable, in one statement. Returns their ids in order, and the pool to wake;
    no ids: there is no such queue."""
    rows = conn.execute(
        SQL.enqueue,
        {
            "task": new.task,
            "queue": new.queue,
            "lane": new.lane,
            "payloads": new.payloads,
            "max_attempts": new.max_attempts,
            "priority": new.priority,
            "concurrency_key": new.concurrency_key,
            "tags": new.tags,
            "idempotency_key": new.idempotency_key,
            "run_after": new.run_after,
            "delay": new.delay,
            "trace_id": new.trace_id,
            "parent_id": new.parent_id,
        },
        prepare=True,
    ).fetchall()
    return [row[0] for row in rows], rows[0][1] if rows else ""


def claim_key(conn: Conn, *, task: str, key: str, payload_hash: bytes, ttl: float) -> tuple[uuid.UUID, bytes]:
    """Claims an idempotency key for `ttl` seconds. The run id is the nil UUID when the key is the caller's to use."""
    row = conn.execute(SQL.claim_key, {"task": task, "key": key, "hash": payload_hash, "ttl": ttl}).fetchone()
    assert row is not None
    return row[0], bytes(row[1])


def settle_key(conn: Conn, *, task: str, key: str, run_id: uuid.UUID) -> None:
    conn.execute(SQL.settle_key, {"task": task, "key": key, "run_id": run_id})


def register_task(conn: Conn, row: dict[str, Any]) -> None:
    conn.execute(SQL.register_task, row)


def start(conn: Conn, *, worker: int, grants: Sequence[Grant], versions: str) -> list[Started]:
    """Leased runs become running. `versions` is JSON: task id → fingerprint of this worker's code."""
    rows = conn.execute(
        SQL.start,
        {
            "worker": worker,
            "ids": [g.entry_id for g in grants],
            "tokens": [g.token for g in grants],
            "versions": versions,
        },
        prepare=True,
    )
    return [Started(*row) for row in rows]


def history(conn: Conn, ids: list[uuid.UUID]) -> dict[uuid.UUID, list[Fact]]:
    """The snapshots of runs that are entered again, in order."""
    facts: dict[uuid.UUID, list[Fact]] = {run_id: [] for run_id in ids}
    for row in conn.execute(SQL.history, {"ids": ids}, prepare=True):
        facts[row[0]].append(Fact(*row[1:]))
    return facts


def _columns(rows: Sequence[tuple[Any, ...]], *names: str) -> dict[str, list[Any]]:
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


def add_snapshots(cur: Cursor[TupleRow], rows: Sequence[SnapshotRow]) -> None:
    names = ("run_ids", "sequences", "kinds", "names", "keys", "attempts", "inputs", "outputs", "states", "errors")
    cur.execute(SQL.snapshots, _columns(rows, *names, "started", "finished"), prepare=True)


def add_logs(cur: Cursor[TupleRow], rows: Sequence[LogRow]) -> None:
    names = ("run_ids", "ats", "levels", "messages", "fields", "attempts", "steps")
    cur.execute(SQL.logs, _columns(rows, *names), prepare=True)


def trim_logs(conn: Conn, run_id: uuid.UUID, *, keep: int) -> int:
    """Drops the oldest lines of a run beyond `keep` bytes; the first that is left says how many there were. Returns
    how many were dropped just now."""
    row = conn.execute(SQL.trim_logs, {"run": run_id, "keep": keep, "shown": f"{keep // 2**20} MB"}).fetchone()
    return 0 if row is None else int(row[0])


def finish(cur: Cursor[TupleRow], rows: Sequence[FinishRow]) -> None:
    """Ends or puts down attempts. Call after `queues.store.release` of the same rows (lock order)."""
    names = ("ids", "tokens", "statuses", "attempts", "outputs", "errors", "failed", "delays", "waits")
    cur.execute(SQL.finish, _columns(rows, *names), prepare=True)


def add_rollups(cur: Cursor[TupleRow], worker: int, counts: dict[RollupKey, tuple[int, float]]) -> None:
    """Adds counts and sums of seconds to this minute's rollups."""
    # Sorted: two writers that share a row (they do not, rows carry the worker) could never deadlock.
    rows = [(*key, *counts[key]) for key in sorted(counts)]
    names = ("kinds", "tasks", "queues", "names", "versions", "statuses", "buckets", "counts", "seconds")
    cur.execute(SQL.rollups, {"worker": worker, **_columns(rows, *names)}, prepare=True)


def crash(conn: Conn, seized: Sequence[Seized], *, limit: int, error: str) -> int:
    """Runs of a worker that is gone: queued again, or final at the crash limit. Returns how many were queued again."""
    rows = conn.execute(
        SQL.crash,
        {"ids": [s.entry_id for s in seized], "tokens": [s.token for s in seized], "limit": limit, "error": error},
    ).fetchall()
    delays = {row[0]: row[2] for row in rows if row[1] == "queued"}
    back = [s for s in seized if s.entry_id in delays]
    conn.execute(
        SQL.give_back,
        {
            "ids": [s.entry_id for s in back],
            "queues": [s.queue_id for s in back],
            "lanes": [s.lane for s in back],
            "priorities": [s.priority for s in back],
            "keys": [s.concurrency_key for s in back],
            "delays": [delays[s.entry_id] for s in back],
        },
    )
    return len(back)


def record_overlap(conn: Conn, *, worker: int, ids: list[uuid.UUID]) -> None:
    conn.execute(SQL.overlap, {"worker": worker, "ids": ids})


def ready(conn: Conn, ids: list[uuid.UUID]) -> None:
    """Scheduled runs whose time has come."""
    conn.execute(SQL.ready, {"ids": ids}, prepare=True)


def cancel(conn: Conn, run_id: uuid.UUID) -> bool:
    """Cancels a run that is in nobody's hands. Call after its entry was withdrawn (lock order)."""
    if conn.execute(SQL.cancel, {"id": run_id}).fetchone() is None:
        return False
    conn.execute(SQL.close_attempt, {"id": run_id})
    return True


def reopen(conn: Conn, run_id: uuid.UUID) -> str | None:
    """A person's retry. Returns the pool to wake, or None when the run is in no state to be retried."""
    row = conn.execute(SQL.reopen, {"id": run_id}).fetchone()
    return None if row is None else row[1]


# ── partitions ───────────────────────────────────────────────────────────────────────────────────────────────────

#: Length of a partition, and how many lie ahead of the present one.
PARTITION_DAYS, PARTITIONS_AHEAD = 7, 2
PARTITIONED = ("runs_snapshot", "runs_logline")


def partition_bounds(week: int) -> tuple[uuid.UUID, uuid.UUID]:
    """The UUIDv7 range of runs created in the `week`-th week since 1970."""

    def first(number: int) -> uuid.UUID:
        milliseconds = number * PARTITION_DAYS * 86_400_000
        return uuid.UUID(int=milliseconds << 80)

    return first(week), first(week + 1)


def ensure_partitions(conn: Conn) -> list[str]:
    """Makes the partitions of this week and the next ones. Returns the names of the new ones."""
    row = conn.execute("SELECT floor(extract(epoch FROM now()) / 86400 / %s)::int", [PARTITION_DAYS]).fetchone()
    assert row is not None
    made = []
    for week in range(row[0], row[0] + PARTITIONS_AHEAD + 1):
        low, high = partition_bounds(week)
        for table in PARTITIONED:
            name = f"{table}_w{week}"
            with conn.transaction():
                # One scheduler at a time; the second finds the table made.
                conn.execute("SELECT pg_advisory_xact_lock(hashtext('holdfast partitions'))")
                found = conn.execute("SELECT to_regclass(%s)", [name]).fetchone()
                if found is not None and found[0] is None:
                    _make_partition(conn, table, name, low, high)
                    made.append(name)
    return made


def _make_partition(conn: Conn, table: str, name: str, low: uuid.UUID, high: uuid.UUID) -> None:
    """Rows that the default partition has caught meanwhile move over. Names and bounds are our own: DDL takes no
    parameters."""
    span = f"run_id >= '{low}' AND run_id < '{high}'"
    conn.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
    conn.execute(f"CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES)")
    conn.execute(
        f"WITH moved AS (DELETE FROM {table}_default WHERE {span} RETURNING *) INSERT INTO {name} SELECT * FROM moved"  # noqa: S608
    )
    conn.execute(f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ('{low}') TO ('{high}')")
