"""What a run leaves behind while it is at work: snapshots, log lines, chunks of streams; and what its steps that
promise more need to know."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence

from psycopg import Cursor, errors
from psycopg.rows import TupleRow

from queues import store as queue_store
from queues.store import Conn
from runs.store.rows import BeatRow, ChunkRow, Fact, Intent, LogRow, SnapshotRow
from runs.store.statements import SQL, columns


def history(conn: Conn, ids: list[uuid.UUID]) -> dict[uuid.UUID, list[Fact]]:
    """The snapshots of runs that are entered again, in order."""
    facts: dict[uuid.UUID, list[Fact]] = {run_id: [] for run_id in ids}
    for row in conn.execute(SQL.history, {"ids": ids}, prepare=True):
        facts[row[0]].append(Fact(*row[1:]))
    return facts


def beats(conn: Conn, ids: list[uuid.UUID]) -> dict[uuid.UUID, dict[str, str | None]]:
    """What the unfinished steps of runs that are entered again have said last, by step key."""
    found: dict[uuid.UUID, dict[str, str | None]] = {}
    for run_id, key, details in conn.execute(SQL.beats, {"ids": ids}, prepare=True):
        found.setdefault(run_id, {})[key] = details
    return found


def set_beats(cur: Cursor[TupleRow], rows: Iterable[BeatRow]) -> None:
    """One row for each step, however often it beat; none for those that are over."""
    latest = {(row.run_id, row.key): row for row in rows}
    chosen = [latest[key] for key in sorted(latest)]
    names = ("run_ids", "keys", "attempts", "details", "ats")
    if alive := [row for row in chosen if not row.over]:
        cur.execute(SQL.set_beats, columns([row[:-1] for row in alive], *names), prepare=True)
    if over := [row for row in chosen if row.over]:
        ids, keys = [row.run_id for row in over], [row.key for row in over]
        cur.execute(SQL.end_beats, {"run_ids": ids, "keys": keys}, prepare=True)


def ran_out_at(conn: Conn, run_id: uuid.UUID) -> int | None:
    """Bytes of the largest memory limit at which an attempt of the run has failed; None: none has."""
    row = conn.execute(SQL.ran_out_at, {"id": run_id}).fetchone()
    return None if row is None else row[0]


def add_snapshots(cur: Cursor[TupleRow] | Conn, rows: Sequence[SnapshotRow]) -> None:
    names = ("run_ids", "sequences", "kinds", "names", "keys", "attempts", "inputs", "outputs", "states", "errors")
    cur.execute(SQL.snapshots, columns(rows, *names, "started", "finished", "usages", "homes"), prepare=True)
    if homes := {row.run_id: row.home for row in rows if row.home is not None}:
        queue_store.settle(cur, homes)


def add_logs(cur: Cursor[TupleRow], rows: Sequence[LogRow]) -> None:
    names = ("run_ids", "ats", "levels", "messages", "fields", "attempts", "steps")
    cur.execute(SQL.logs, columns(rows, *names), prepare=True)


def add_chunks(cur: Cursor[TupleRow], rows: Sequence[ChunkRow]) -> None:
    names = ("run_ids", "streams", "kinds", "ats", "data", "attempts", "steps", "snapshots")
    cur.execute(SQL.chunks, columns(rows, *names), prepare=True)


def trim_logs(conn: Conn, run_id: uuid.UUID, *, keep: int) -> int:
    """Drops the oldest lines of a run beyond `keep` bytes; the first that is left says how many there were. Returns
    how many were dropped just now."""
    row = conn.execute(SQL.trim_logs, {"run": run_id, "keep": keep, "shown": f"{keep // 2**20} MB"}).fetchone()
    return 0 if row is None else int(row[0])


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
