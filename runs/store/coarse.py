"""Sums of rollups; see `CoarseRollup` and `MinuteSum` of `runs.rollupmodel`. The SQL is `runs/sql/coarse.sql`."""

from __future__ import annotations

from datetime import datetime

from queues.store import Conn
from runs.coarse import SIZES
from runs.store.statements import SQL


def sum_rollups(conn: Conn, *, age: float) -> int:
    """Sums the next bin of each size that has been over for `age` seconds. Returns how many bins it has summed."""
    conn.execute(SQL.coarse_begin, {"sizes": list(SIZES)})
    return sum(_sum(conn, size, age) for size in SIZES)


def _sum(conn: Conn, size: int, age: float) -> int:
    with conn.transaction():
        claimed = conn.execute(SQL.coarse_claim, {"size": size}).fetchone()
        if claimed is None:
            return 0
        found = conn.execute(SQL.coarse_next, {"size": size, "age": age, "until": claimed[0]}).fetchone()
        if found is None or not found[1]:
            return 0
        conn.execute(SQL.coarse_sum, {"size": size, "at": found[0]})
        if size == SIZES[0]:
            conn.execute(SQL.minute_sum, {"size": size, "at": found[0]})
    return 1


def forget_sums(conn: Conn, *, since: datetime) -> None:
    """Rollups since then were changed by somebody else than a worker: their sums are made anew."""
    conn.execute(SQL.coarse_forget, {"since": since})
    conn.execute(SQL.minute_forget, {"size": SIZES[0]})
