"""Rows of the line that are done with, and for whom PostgreSQL has to keep them: a lease walks past all of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from holdfast import db
from queues import store

#: From so many rows on a lease takes noticeably longer: with 40,000 twice as long, with 160,000 six times.
COSTLY: Final = 50_000
#: Seconds for which a transaction may be open before it is blamed.
LONG: Final = 60.0


@dataclass(frozen=True, slots=True)
class Horizon:
    """What may not be cleared away yet."""

    dead: int = 0  # rows of the line that are done with and not cleared away, as PostgreSQL estimates
    holder: str = ""  # who may still see the oldest of them; empty: nobody
    since: datetime | None = None  # when the holder's transaction began; None: PostgreSQL does not say

    def is_held(self, now: datetime) -> bool:
        """Whether somebody keeps so many rows, for so long, that runs start later for it."""
        is_long = self.since is None or (now - self.since).total_seconds() >= LONG
        return bool(self.holder) and is_long and self.dead >= COSTLY


def horizon() -> Horizon:
    """How it stands now. Sessions of other database users are seen only by a member of `pg_read_all_stats`."""
    with db.callers() as conn:
        row = conn.execute(store.SQL.horizon).fetchone()
    assert row is not None
    return Horizon(*row)
