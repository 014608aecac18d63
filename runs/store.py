"""The only door through which runs change. The SQL stands in `runs/sql`; tables of flow are reached by pieces of
`queues.store`, inside the same statement or the same transaction.

Every function takes an open psycopg connection (or cursor) and leaves the transaction to its caller.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from psycopg import Cursor, errors
from psycopg.rows import TupleRow

from holdfast import sql
from queues import store as queue_store
from queues.store import Conn, Grant, Seized

#: First key of the advisory locks over the waits of runs. ("WAIT" in ASCII.)
WAIT_LOCKS: Final = 0x57414954

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
    parent_wait: str | None = None  # key of the wait in which the parent waits for them
    ttl: float | None = None  # seconds within which they have to start
    timeout: float | None = None  # seconds within which they have to end


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
    parent: uuid.UUID | None  # the run that waits for it
    active: float | None  # seconds of this attempt so far, when it goes on after a wait or a handover; None: it is new
    after_crash: bool  # the attempt before ended with its worker
    before: str = ""  # version of the code that had it last
    refused: list[str] | None = None  # versions of the code that its history did not fit
    accepted: int | None = None  # a person has accepted its history up to this snapshot, whatever the code asks for
    deferred: str | None = None  # what it waited for until now, if it had been left for other code (JSON)


class Fact(NamedTuple):
    """A snapshot as replay needs it."""

    sequence: int
    kind: str
    key: str
    attempt: int
    output: str | None
    state: str | None
    name: str = ""
    input: str | None = None


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


class WaitRow(NamedTuple):
    """A wait that a run begins."""

    run_id: uuid.UUID
    id: uuid.UUID
    key: str
    kind: str
    name: str
    sequence: int
    delay: float | None  # seconds until it is over by itself
    until: float | None  # Unix time, instead of `delay`
    detail: str | None


class SpawnRow(NamedTuple):
    """Runs that a run enqueues and waits for: both or neither."""

    run_id: uuid.UUID
    wait: WaitRow
    new: NewRuns


class GiveUpRow(NamedTuple):
    """Waits that a run gives up."""

    run_id: uuid.UUID
    ids: list[uuid.UUID]


class WaitFact(NamedTuple):
    """A wait as its run needs to know it."""

    id: uuid.UUID
    key: str
    kind: str
    outcome: str | None  # None: open
    output: str | None  # JSON
    created: float  # Unix times
    due: float | None
    resolved: float | None


class LogRow(NamedTuple):
    run_id: uuid.UUID
    at: float
    level: int
    message: str
    fields: str | None
    attempt: int
    step: str


class ChunkRow(NamedTuple):
    """A piece of a stream, or a mark in it (kinds of `runs.models.ChunkKind`)."""

    run_id: uuid.UUID
    stream: str
    kind: str
    at: float
    data: str | None
    attempt: int
    step: str
    snapshot: int


class FinishRow(NamedTuple):
    """How a stay of a run in a worker ends."""

    run_id: uuid.UUID
    token: int
    status: str  # the run's
    attempt: str | None  # the attempt's final status; None leaves it open
    output: str | None
    error: str | None
    failed: int  # 1 when it counts towards max_attempts
    delay: float | None  # None: final. Otherwise seconds until it may be leased again; infinity: until it is woken
    waiting_for: str | None
    active: float = 0.0  # seconds of this stay
    parent: uuid.UUID | None = None  # the run that waits for it
    parked: tuple[uuid.UUID, ...] = ()  # the waits for which it is put down
    waited: bool = False  # it has begun waits, some of which may be open


class RollupKey(NamedTuple):
    kind: str
    task: str
    queue: int
    name: str
    version: str
    status: str
    bucket: int


def enqueue(conn: Conn | Cursor[TupleRow], new: NewRuns) -> tuple[list[uuid.UUID], str]:
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
            "parent_wait": new.parent_wait,
            "ttl": new.ttl,
            "timeout": new.timeout,
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


def ran_out_at(conn: Conn, run_id: uuid.UUID) -> int | None:
    """Bytes of the largest memory limit at which an attempt of the run has failed; None: none has."""
    row = conn.execute(SQL.ran_out_at, {"id": run_id}).fetchone()
    return None if row is None else row[0]


def _columns(rows: Sequence[tuple[Any, ...]], *names: str) -> dict[str, list[Any]]:
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


def add_snapshots(cur: Cursor[TupleRow] | Conn, rows: Sequence[SnapshotRow]) -> None:
    names = ("run_ids", "sequences", "kinds", "names", "keys", "attempts", "inputs", "outputs", "states", "errors")
    cur.execute(SQL.snapshots, _columns(rows, *names, "started", "finished"), prepare=True)


def add_logs(cur: Cursor[TupleRow], rows: Sequence[LogRow]) -> None:
    names = ("run_ids", "ats", "levels", "messages", "fields", "attempts", "steps")
    cur.execute(SQL.logs, _columns(rows, *names), prepare=True)


def add_chunks(cur: Cursor[TupleRow], rows: Sequence[ChunkRow]) -> None:
    names = ("run_ids", "streams", "kinds", "ats", "data", "attempts", "steps", "snapshots")
    cur.execute(SQL.chunks, _columns(rows, *names), prepare=True)


def finish(cur: Cursor[TupleRow], rows: Sequence[FinishRow]) -> set[str]:
    """Ends or puts down attempts. Call after `queues.store.release` of the same rows (lock order), and after
    `lock_waits` for runs that are put down to wait and for parents that wait. Returns the pools of parents that come
    back."""
    names = ("ids", "tokens", "statuses", "attempts", "outputs", "errors", "failed", "delays", "waits", "active")
    cur.execute(SQL.finish, _columns([row[: len(names)] for row in rows], *names), prepare=True)
    final = [row.run_id for row in rows if row.delay is None]
    # Asked for only where one can be: the answer costs a round trip.
    stopped = [row[0] for row in cur.fetchall()] if len(final) < len(rows) else []
    if stopped:
        queue_store.withdraw(cur, stopped)
    if over := [row.run_id for row in rows if row.delay is None and row.waited] + stopped:
        close_waits(cur, over)
    final += stopped
    return children_ended(cur, final) if any(row.parent for row in rows) else set()


def add_rollups(cur: Cursor[TupleRow], worker: int, counts: dict[RollupKey, tuple[int, float]]) -> None:
    """Adds counts and sums of seconds to this minute's rollups."""
    # Sorted: two writers that share a row (they do not, rows carry the worker) could never deadlock.
    rows = [(*key, *counts[key]) for key in sorted(counts)]
    names = ("kinds", "tasks", "queues", "names", "versions", "statuses", "buckets", "counts", "seconds")
    cur.execute(SQL.rollups, {"worker": worker, **_columns(rows, *names)}, prepare=True)


def crash(conn: Conn, seized: Sequence[Seized], *, limit: int, error: str) -> int:
    """Runs of a worker that is gone: queued again, or final at the crash limit. Returns how many were queued again."""
    ids = [s.entry_id for s in seized]
    lock_waits(conn, parents(conn, ids))
    rows = conn.execute(
        SQL.crash, {"ids": ids, "tokens": [s.token for s in seized], "limit": limit, "error": error}
    ).fetchall()
    if over := [row[0] for row in rows if row[1] != "queued"]:
        close_waits(conn, over)
        children_ended(conn, over)
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


def families(conn: Conn, ids: Sequence[uuid.UUID]) -> list[uuid.UUID]:
    """These runs and the unfinished ones that they wait for, directly or through others."""
    return [row[0] for row in conn.execute(SQL.families, {"ids": list(ids)})]


class Stopped(NamedTuple):
    """A run that is over, or will be when its worker has stopped it (status `cancelling`)."""

    id: uuid.UUID
    status: str
    pool: str


def stop(conn: Conn, ids: Sequence[uuid.UUID], *, final: str, error: str | None = None) -> list[Stopped]:
    """Stops runs; `final` is the status they are to end with. Call with their locks and their parents' held
    (`lock_waits`). Rows: those that were neither over nor being stopped already."""
    queue_store.withdraw(conn, ids)
    rows = [Stopped(*row) for row in conn.execute(SQL.stop, {"ids": list(ids), "final": final, "error": error})]
    if over := [row.id for row in rows if row.status == final]:
        close_waits(conn, over)
        children_ended(conn, over)
    return rows


def stop_locked(conn: Conn, ids: Sequence[uuid.UUID], *, final: str, error: str | None = None) -> set[str]:
    """`stop`, of the runs that these wait for as well, with the locks that it needs. Returns the pools to wake."""
    family = families(conn, ids)
    lock_waits(conn, {*family, *parents(conn, ids)})
    return {row.pool for row in stop(conn, family, final=final, error=error)}


def to_stop(conn: Conn, worker: int) -> dict[uuid.UUID, str]:
    """Runs in a worker's hands that are to be stopped, and the status that each is stopped for."""
    return {row[0]: row[1] for row in conn.execute(SQL.to_stop, {"worker": worker}, prepare=True)}


def deadlines_due(conn: Conn, *, limit: int) -> list[tuple[uuid.UUID, str]]:
    """Takes deadlines that are over: (run, kind)."""
    return [(row[0], row[1]) for row in conn.execute(SQL.deadlines_due, {"limit": limit}, prepare=True)]


def next_deadline(conn: Conn) -> float | None:
    """Seconds until the next deadline (negative when late), or None."""
    row = conn.execute(SQL.next_deadline, prepare=True).fetchone()
    return None if row is None else row[0]


def never_started(conn: Conn, ids: Sequence[uuid.UUID]) -> list[uuid.UUID]:
    """Of these runs, those that still wait for their first start."""
    return [row[0] for row in conn.execute(SQL.never_started, {"ids": list(ids)})]


def reopen(conn: Conn, run_id: uuid.UUID) -> str | None:
    """A person's retry. Returns the pool to wake, or None when the run is in no state to be retried."""
    row = conn.execute(SQL.reopen, {"id": run_id}).fetchone()
    return None if row is None else row[1]


def accept_history(conn: Conn, run_id: uuid.UUID) -> str | None:
    """A run that is parked for its version goes on with any code. Returns the pool to wake; None: it is not parked."""
    row = conn.execute(SQL.accept_history, {"id": run_id}).fetchone()
    if row is not None:
        queue_store.wake(conn, [run_id])
    return None if row is None else str(row[0])


def wake_deferred(conn: Conn, *, versions: str, limit: int) -> set[str]:
    """Runs that were left for other code come back at once, if it may be these versions. Returns the pools to wake."""
    rows = conn.execute(SQL.deferred, {"versions": versions, "limit": limit}).fetchall()
    return queue_store.wake(conn, [row[0] for row in rows]) if rows else set()


# ── steps with a transaction, steps of which the outcome is unknown ──────────────────────────────────────────────


class Intent(NamedTuple):
    """An unsafe step that was begun, and of which nothing is known since."""

    name: str
    key: str
    input: str | None


def transaction_begin(conn: Conn, worker: int) -> None:
    """First statement of a step's own transaction."""
    conn.execute(SQL.transaction_begin, {"worker": str(worker)}, prepare=True)


def transaction_seal(conn: Conn, *, quiet: float) -> str:
    """From here on the transaction is rolled back after `quiet` seconds of silence. Returns its id. Call it before what
    others may have to wait for."""
    found = conn.execute(SQL.transaction_seal, {"quiet": f"{quiet * 1000:.0f}"}, prepare=True).fetchone()
    assert found is not None
    return str(found[1])


def transaction_status(conn: Conn, xid: str) -> str | None:
    """`committed`, `aborted`, `in progress`, or None for one that PostgreSQL has no memory of."""
    try:
        row = conn.execute(SQL.transaction_status, {"xid": xid}).fetchone()
    except errors.InvalidParameterValue:
        return None  # an id of the future: a crash of PostgreSQL took the transaction with it
    return None if row is None else row[0]


def snapshot_is_stored(conn: Conn, row: SnapshotRow) -> bool:
    found = conn.execute(
        SQL.snapshot_is_stored,
        {"run": row.run_id, "sequence": row.sequence, "key": row.key, "attempt": row.attempt},
    ).fetchone()
    return bool(found and found[0])


def lock_unknown(conn: Conn, run_id: uuid.UUID) -> tuple[int, str, str] | None:
    """Locks a run: (attempt, the step that its error names, status). None: there is no such run."""
    row = conn.execute(SQL.lock_unknown, {"id": run_id}).fetchone()
    return None if row is None else (row[0], row[1] or "", row[2])


def open_intent(conn: Conn, run_id: uuid.UUID, key: str) -> Intent | None:
    row = conn.execute(SQL.open_intent, {"id": run_id, "key": key}).fetchone()
    return None if row is None else Intent(*row)


def last_sequence(conn: Conn, run_id: uuid.UUID) -> int:
    row = conn.execute(SQL.last_sequence, {"id": run_id}).fetchone()
    assert row is not None
    return int(row[0])


def give_up(conn: Conn, run_id: uuid.UUID) -> bool:
    """A run that is unknown has failed, a person says."""
    return conn.execute(SQL.give_up, {"id": run_id}).fetchone() is not None


# ── waits ────────────────────────────────────────────────────────────────────────────────────────────────────────


def lock_waits(cur: Conn | Cursor[TupleRow], ids: Iterable[uuid.UUID]) -> None:
    """Takes the locks of these runs' waits, to the end of the transaction; before any row is locked."""
    cur.execute(SQL.lock_waits, {"ids": list(ids), "lock_class": WAIT_LOCKS}, prepare=True)


def parents(conn: Conn, ids: Sequence[uuid.UUID]) -> list[uuid.UUID]:
    """The runs that wait for these."""
    return [row[0] for row in conn.execute(SQL.parents, {"ids": list(ids)})]


def open_waits(cur: Cursor[TupleRow], rows: Sequence[WaitRow]) -> None:
    """Opens waits; those that are open already stay as they are. Call with their runs' locks held."""
    names = ("run_ids", "ids", "keys", "kinds", "names", "sequences", "delays", "untils", "details")
    cur.execute(SQL.open_waits, _columns(rows, *names), prepare=True)
    if listening := [row.run_id for row in rows if row.kind == "signal"]:
        cur.execute(SQL.match_signals, {"runs": listening}, prepare=True)


def send_signal(conn: Conn, *, run: uuid.UUID, name: str, payload: str, by: str) -> set[str]:
    """Keeps a signal, and gives it to a wait of its name if there is one. Returns the pools to wake."""
    lock_waits(conn, [run])
    conn.execute(SQL.add_signal, {"run": run, "name": name, "payload": payload, "by": by})
    return wake(conn, [row[0] for row in conn.execute(SQL.match_signals, {"runs": [run]}).fetchall()])


def answer_wait(conn: Conn, wait_id: uuid.UUID, *, output: str, by: str) -> set[str] | None:
    """Completes a wait. Returns the pools to wake; None when it is over already. Call with its run's lock held."""
    rows = conn.execute(SQL.answer_wait, {"id": wait_id, "output": output, "by": by}).fetchall()
    return wake(conn, [row[0] for row in rows]) if rows else None


def wake(cur: Conn | Cursor[TupleRow], ids: Sequence[uuid.UUID]) -> set[str]:
    """Runs with an answered wait come back, if they have been put down to wait. Returns the pools to wake."""
    if not ids:
        return set()
    waiting = [row[0] for row in cur.execute(SQL.waiting_runs, {"ids": list(ids)}, prepare=True).fetchall()]
    return queue_store.wake(cur, waiting) if waiting else set()


def settle_waits(conn: Conn, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, list[WaitFact]]:
    """Ends the waits of these runs whose time is over, and tells all of them. One transaction."""
    runs = {"runs": list(ids)}
    with conn.pipeline(), conn.transaction():
        conn.execute(SQL.settle_due, runs, prepare=True)
        rows = conn.execute(SQL.waits, runs, prepare=True)
    facts: dict[uuid.UUID, list[WaitFact]] = {}
    for row in rows:
        facts.setdefault(row[0], []).append(WaitFact(*row[1:]))
    return facts


def waits(conn: Conn, run_id: uuid.UUID) -> list[WaitFact]:
    """The waits of a run as they stand: none is ended by looking."""
    return [WaitFact(*row[1:]) for row in conn.execute(SQL.waits, {"runs": [run_id]}).fetchall()]


def answered(cur: Cursor[TupleRow], ids: Sequence[uuid.UUID]) -> set[uuid.UUID]:
    """The runs of those of these waits that are over. Call with the runs' locks held."""
    return {row[0] for row in cur.execute(SQL.answered, {"ids": list(ids)}, prepare=True).fetchall()}


def give_up_waits(cur: Cursor[TupleRow], ids: Sequence[uuid.UUID]) -> None:
    cur.execute(SQL.give_up_waits, {"ids": list(ids)}, prepare=True)


def close_waits(cur: Conn | Cursor[TupleRow], runs: Sequence[uuid.UUID]) -> None:
    """Runs that are over wait for nothing any more."""
    cur.execute(SQL.close_waits, {"runs": list(runs)}, prepare=True)


def children_ended(cur: Conn | Cursor[TupleRow], ids: Sequence[uuid.UUID]) -> set[str]:
    """Parents whose last awaited child was among these runs come back. Call with the parents' locks held. Returns the
    pools to wake."""
    if not ids:
        return set()
    return wake(cur, [row[0] for row in cur.execute(SQL.children_ended, {"ids": list(ids)}, prepare=True).fetchall()])


def children(conn: Conn, run_id: uuid.UUID, key: str) -> list[dict[str, Any]]:
    """What became of the runs that a wait is for: id, status, output, error; in order."""
    rows = conn.execute(SQL.children, {"run": run_id, "key": key})
    return [{"id": str(row[0]), "status": row[1], "output": _json(row[2]), "error": _json(row[3])} for row in rows]


def _json(text: str | None) -> Any:
    return None if text is None else json.loads(text)
