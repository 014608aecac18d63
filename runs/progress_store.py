"""The door to what runs say of themselves; as `runs.store`, which lends its statement."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import NamedTuple

from psycopg import Cursor
from psycopg.rows import TupleRow

from runs.store import SQL


class ProgressRow(NamedTuple):
    """How far a run is, and its metadata. None: as it was."""

    run_id: uuid.UUID
    value: float | None
    words: str | None
    metadata: str | None  # JSON

    def followed_by(self, newer: ProgressRow) -> ProgressRow:
        """Both in one: the newer one's, where it says something."""
        value, words = (self.value, self.words) if newer.value is None else (newer.value, newer.words)
        return ProgressRow(self.run_id, value, words, newer.metadata if newer.metadata is not None else self.metadata)


def set_progress(cur: Cursor[TupleRow], rows: Iterable[ProgressRow]) -> None:
    """One row for each run, however often it said something."""
    latest: dict[uuid.UUID, ProgressRow] = {}
    for row in rows:
        known = latest.get(row.run_id)
        latest[row.run_id] = row if known is None else known.followed_by(row)
    chosen = sorted(latest.values(), key=lambda row: row.run_id)
    parameters = {
        "ids": [row.run_id for row in chosen],
        "values": [row.value for row in chosen],
        "words": [row.words for row in chosen],
        "metadata": [row.metadata for row in chosen],
    }
    cur.execute(SQL.progress, parameters, prepare=True)
