"""Runs that have failed and are not over, and the time of their next attempt. The SQL is `runs/sql/retries.sql`."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from queues import store as queue_store
from queues.store import Conn
from runs.store.rows import RetryFacts
from runs.store.statements import SQL


def struggling(
    conn: Conn, *, task: str | None, queue: int | None, before: uuid.UUID | None, limit: int
) -> list[uuid.UUID]:
    """Runs that have failed at least once and are not over, newest first."""
    asked = {"task": task, "queue": queue, "before": before, "limit": limit}
    return [row[0] for row in conn.execute(SQL.struggling, asked, prepare=True)]


def retry_facts(conn: Conn, ids: Sequence[uuid.UUID], *, attempts: int, window: int) -> list[RetryFacts]:
    """What their attempts have come to, newest run first; runs that are over by now are left out. It looks at so many
    attempts and snapshots of each."""
    asked = {"ids": list(ids), "attempts": attempts, "window": window}
    found = [RetryFacts(*row) for row in conn.execute(SQL.retry_facts, asked, prepare=True)]
    return [facts._replace(steps=_object(facts.steps), spent=_object(facts.spent)) for facts in found]


def _object(text: Any) -> dict[str, Any]:
    """Django has its connections hand JSON over as text."""
    found: dict[str, Any] = json.loads(text) if isinstance(text, str) else text or {}
    return found


def postponable(conn: Conn, ids: Sequence[uuid.UUID], *, delay: float) -> list[uuid.UUID]:
    """Of these runs, those whose next attempt can be put off so far, as far as can be said without holding them."""
    return [row[0] for row in conn.execute(SQL.postponable, {"ids": list(ids), "delay": delay})]


def postpone_retries(
    conn: Conn, ids: Sequence[uuid.UUID], *, delay: float
) -> dict[uuid.UUID, tuple[datetime | None, datetime]]:
    """The next attempts of runs begin `delay` seconds from now. Returns when each was due and when it is. Where one is
    left out, it waits for no attempt or a later one, and what was done to its entry has to be rolled back."""
    queue_store.withdraw(conn, ids)
    rows = conn.execute(SQL.postpone_retries, {"ids": list(ids), "delay": delay})
    return {row[0]: (row[1], row[2]) for row in rows}


def hurry_retry(conn: Conn, run_id: uuid.UUID) -> tuple[set[str], datetime | None] | None:
    """The next attempt of a run may begin now. Returns the pools to wake and when it was due; None as above, or it is
    due already."""
    pools = queue_store.wake(conn, [run_id])
    row = conn.execute(SQL.hurry_retry, {"id": run_id}).fetchone() if pools else None
    return None if row is None else (pools, row[0])
