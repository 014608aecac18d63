"""One-minute counts: those of a worker's commit, and those of runs that a statement has ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from psycopg import Cursor
from psycopg.rows import TupleRow

from queues.store import Conn
from runs.histogram import bucket
from runs.models import RollupKind
from runs.store.errors import NOBODY
from runs.store.rows import Counts, RollupKey
from runs.store.statements import SQL, columns


def add_rollups(cur: Cursor[TupleRow], worker: int, counts: Mapping[RollupKey, tuple[int, float]]) -> None:
    """Adds counts and sums of seconds to this minute's rollups of a worker."""
    _add(cur, {(key, worker): found for key, found in counts.items()}, apart=False)


def count_ends(cur: Cursor[TupleRow] | Conn, rows: Iterable[tuple[Any, ...]]) -> None:
    """Counts what a statement has ended (rows as `Counts`), as the writer counts the ends of stays: under the worker
    that had the run last, but in rows of this connection."""
    counts: dict[tuple[RollupKey, int], tuple[int, float]] = {}
    for row in map(Counts._make, rows):
        for kind, status, seconds in (
            (RollupKind.RUN, row.status, row.age),
            (RollupKind.ATTEMPT, row.attempt, row.seconds),
        ):
            if seconds is None or status is None:
                continue
            of = RollupKey(kind, row.task, row.queue, "", row.version, status, bucket(seconds))
            count, total = counts.get((of, row.worker or NOBODY), (0, 0.0))
            counts[of, row.worker or NOBODY] = (count + 1, total + seconds)
    if counts:
        _add(cur, counts, apart=True)


def _add(
    cur: Cursor[TupleRow] | Conn, counts: Mapping[tuple[RollupKey, int], tuple[int, float]], *, apart: bool
) -> None:
    # Sorted: two that share a row (they do not, rows carry the worker or the connection) could never deadlock.
    rows = [(*of[0], of[1], *counts[of]) for of in sorted(counts)]
    names = ("kinds", "tasks", "queues", "names", "versions", "statuses", "buckets", "workers", "counts", "seconds")
    cur.execute(SQL.rollups, {"apart": apart, **columns(rows, *names)}, prepare=True)
