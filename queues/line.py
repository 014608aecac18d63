"""The line of a queue: which place an entry has, who holds what it waits for, and how fast the line moves."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from holdfast import db
from queues import store

#: Places are exact up to here; one more means "more".
EXACT_UP_TO: Final = 10_000
#: Holders that are named.
MAX_HOLDERS: Final = 5


@dataclass(frozen=True, slots=True)
class Place:
    """Where an entry stands."""

    own: int  # entries of its concurrency key, or without a key as it is, that come before it
    ahead: int  # starts of the queue that come before its own


@dataclass(frozen=True, slots=True)
class Holder:
    """An entry in a worker's hands."""

    id: uuid.UUID
    since: datetime


def place(entry_id: uuid.UUID) -> Place | None:
    """Its place in line; None when it is in no line: in a worker's hands, not due, or gone."""
    with db.callers() as conn:
        row = conn.execute(store.SQL.place_in_line, {"id": entry_id, "most": EXACT_UP_TO + 1}).fetchone()
    return None if row is None else Place(*row)


def holders(queue_id: int, key: str | None = None) -> tuple[list[Holder], int]:
    """The first few that hold slots of the queue, or of one key of it, the longest first, and how many there are."""
    asked = {"queue": queue_id, "key": key, "limit": MAX_HOLDERS, "most": EXACT_UP_TO + 1}
    with db.callers() as conn:
        rows = conn.execute(store.SQL.holders, asked).fetchall()
    return [Holder(row[0], row[1]) for row in rows], rows[0][2] if rows else 0
