"""The scope of bulk jobs."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import NamedTuple

from queues.store import Conn
from runs.store.statements import SQL, columns


class SettledRow(NamedTuple):
    """What became of one run of a job."""

    position: int
    outcome: str
    why: str
    became: uuid.UUID | None


def freeze_bulk(conn: Conn, job: uuid.UUID, ids: Sequence[uuid.UUID]) -> None:
    """Writes down which runs a job is about, in this order."""
    conn.execute(SQL.freeze_bulk, {"job": job, "ids": list(ids)})


def settle_bulk(conn: Conn, job: uuid.UUID, rows: Sequence[SettledRow]) -> None:
    """Writes down and counts what became of some of its runs. Call with their rows locked, last in the transaction."""
    conn.execute(SQL.settle_bulk, {"job": job, **columns(rows, "positions", "outcomes", "whys", "became")})
