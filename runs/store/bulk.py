"""The scope of bulk jobs."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from queues.store import Conn
from runs.store.statements import SQL


def freeze_bulk(conn: Conn, job: uuid.UUID, ids: Sequence[uuid.UUID]) -> None:
    """Writes down which runs a job is about, in this order."""
    conn.execute(SQL.freeze_bulk, {"job": job, "ids": list(ids)})
