"""Rows of the line that are done with, and for whom PostgreSQL has to keep them: a lease walks past all of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from holdfast import db
from queues import store

#: From so many rows on fewer runs start a second: with 60,000 a third fewer, with 160,000 two thirds (docs/verdict.md).
COSTLY: Final = 50_000
#: Seconds for which a transaction may be open before it is blamed. Of a standby or a slot PostgreSQL tells no time: it
#: is blamed when so many transactions have begun since. (One that follows is some ten seconds behind.)
LONG: Final = 60.0
FAR_BEHIND: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Horizon:
    """What may not be cleared away yet."""

    dead: int = 0  # rows of the line that are done with and not cleared away, as PostgreSQL estimates
    holder: str = ""  # who may still see the oldest of them; empty: nobody
    since: datetime | None = None  # when the holder's transaction began; None: PostgreSQL does not say
    age: int = 0  # transactions that have begun since then

    def open_for(self, now: datetime) -> float | None:
        """Seconds for which the holder's transaction is open; None: PostgreSQL does not say."""
        return None if self.since is None else (now - self.since).total_seconds()

    def is_held(self, now: datetime) -> bool:
        """Whether somebody keeps so many rows, for so long, that runs start later for it."""
        seconds = self.open_for(now)
        long = self.age >= FAR_BEHIND if seconds is None else seconds >= LONG
        return bool(self.holder) and long and self.dead >= COSTLY


def horizon() -> Horizon:
    """How it stands now. When sessions of other database users began, only a member of `pg_read_all_stats` is told."""
    with db.callers() as conn:
        row = conn.execute(store.SQL.horizon).fetchone()
    assert row is not None
    return Horizon(*row)
