"""Forks: new runs that begin where another one was at a snapshot. The SQL is `runs/sql/forks.sql`."""

from __future__ import annotations

import uuid

from queues.store import Conn
from runs.store.statements import SQL


def unanswered_intent(conn: Conn, run_id: uuid.UUID, *, past: int, upto: int) -> str | None:
    """The key of an unsafe step that was begun after `past` and up to `upto`, and of which nothing was known there."""
    row = conn.execute(SQL.unanswered_intent, {"run": run_id, "past": past, "upto": upto}).fetchone()
    return None if row is None else str(row[0])


def fork(conn: Conn, new: uuid.UUID, *, of: uuid.UUID, past: int, upto: int, state: str | None, version: str) -> None:
    """A run that was just enqueued has the history of another one from after `past` up to `upto`.

    Args:
        state: JSON that stands in place of the state of the last of these snapshots, when that is a checkpoint.
        version: of the code, where the other run does not say which one it had.
    """
    asked = {"new": new, "of": of, "past": past, "upto": upto, "state": state, "version": version}
    conn.execute(SQL.fork, asked)
