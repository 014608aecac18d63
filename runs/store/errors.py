"""Error groups. The SQL is `runs/sql/errors.sql`, which says in which order it locks."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import Cursor
from psycopg.rows import TupleRow

from queues.store import Conn
from runs.errorgroups.fingerprint import normal
from runs.store.rows import ErrorKey, ErrorRow
from runs.store.statements import SQL, columns

#: The worker of what no worker counts.
NOBODY = 0


def add_errors(
    cur: Cursor[TupleRow] | Conn, worker: int, counts: Mapping[ErrorKey, tuple[int, int]], groups: Sequence[ErrorRow]
) -> None:
    """Adds failed tries, and runs that ended so, to this hour; and says of `groups` that they were seen just now. Call
    it last in its transaction."""
    if counts:
        rows = [(*key, *counts[key]) for key in sorted(counts)]
        counted = columns(rows, "fingerprints", "tasks", "steps", "versions", "counts", "ends")
        cur.execute(SQL.error_counts, {"worker": worker, **counted}, prepare=True)
    if groups:
        told = [(g.fingerprint, g.type, g.message, json.dumps(sorted(g.tasks)), g.example) for g in groups]
        met = columns(sorted(told), "fingerprints", "types", "messages", "tasks", "examples")
        cur.execute(SQL.error_groups, met, prepare=True)


def note_errors(conn: Conn, ids: Sequence[uuid.UUID], error: Mapping[str, Any], message: str = "") -> None:
    """Counts an error that others than their worker have given to runs. `message` is what is the same for all of them.
    Call it last in its transaction."""
    fingerprint = error["fingerprint"]
    found = conn.execute(SQL.error_runs, {"ids": list(ids), "fingerprint": fingerprint}).fetchall()
    if found:
        counts = {ErrorKey(fingerprint, task, "", version): (count, ended) for task, version, count, ended, _ in found}
        group = ErrorRow(
            fingerprint, error["type"], message or normal(error["message"]), {row[0] for row in found}, found[0][4]
        )
        add_errors(conn, NOBODY, counts, [group])


def merge_error_counts(conn: Conn, *, age: float, limit: int) -> int:
    """Makes one row of what all workers counted in an hour that is `age` seconds past. Returns how many it took."""
    row = conn.execute(SQL.merge_error_counts, {"age": age, "limit": limit}).fetchone()
    return 0 if row is None else int(row[0])


def forget_errors(conn: Conn, *, counts: float, groups: float, limit: int) -> int:
    """Drops counts, and groups that were not seen, that are so many seconds old; `limit` of each at most. Returns how
    many."""
    dropped = conn.execute(SQL.forget_error_counts, {"age": counts, "limit": limit}).rowcount
    return dropped + conn.execute(SQL.forget_error_groups, {"age": groups, "limit": limit}).rowcount
