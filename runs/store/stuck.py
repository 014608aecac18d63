"""Where runs are, as their workers say, and which do not get on."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from queues.store import Conn
from runs.store.statements import SQL, columns

#: Rows that one call of `forget_stacks` drops.
FORGET: Final = 5_000
#: Streams of one run that are looked at for news.
STREAMS: Final = 50


class News(NamedTuple):
    """A run in somebody's hands, and when something new came of it last."""

    id: uuid.UUID
    token: int
    task: str
    since: datetime
    silence: float  # seconds
    lost: bool  # its worker's heartbeat is overdue


class Said(NamedTuple):
    """What a worker has said of a run."""

    id: uuid.UUID
    token: int
    at: datetime | None  # None: nothing yet
    names: list[str]  # of the steps that are at work
    waits: bool
    age: float  # seconds


class StuckRow(NamedTuple):
    """A run that does not get on."""

    id: uuid.UUID
    token: int
    lost: bool  # its worker's heartbeat is lost; otherwise nothing new came
    step: str
    since: datetime
    usual: float | None  # seconds


def want_stacks(conn: Conn, ids: Sequence[uuid.UUID]) -> list[tuple[uuid.UUID, int, datetime]]:
    """Asks the workers of these runs where they are: (run, lease's token, when it was asked) of those in somebody's
    hands."""
    return [(row[0], row[1], row[2]) for row in conn.execute(SQL.want_stack, {"runs": list(ids)})]


def stacks_wanted(conn: Conn, worker: int, *, limit: int) -> list[tuple[uuid.UUID, int]]:
    """What a worker is asked: runs and the tokens of their leases."""
    rows = conn.execute(SQL.stacks_wanted, {"worker": worker, "limit": limit}, prepare=True)
    return [(row[0], row[1]) for row in rows]


def give_stacks(conn: Conn, worker: int, found: Sequence[tuple[uuid.UUID, int, str]]) -> None:
    """A worker's answers: run, token, stack as JSON."""
    conn.execute(SQL.give_stacks, {"worker": worker, **columns(found, "ids", "tokens", "stacks")})


def forget_stacks(conn: Conn) -> None:
    """Drops what was asked of runs that have left their worker since."""
    conn.execute(SQL.forget_stacks, {"limit": FORGET})


def this_hour(conn: Conn) -> datetime:
    row = conn.execute(SQL.this_hour).fetchone()
    assert row is not None
    found: datetime = row[0]
    return found


def usual_of_hour(conn: Conn, hour: datetime) -> list[tuple[str, str, str, int, int]]:
    """(task, kind, step's name, bucket, count) of the steps and attempts that completed in an hour."""
    return [(row[0], row[1], row[2], row[3], row[4]) for row in conn.execute(SQL.usual_of_hour, {"hour": hour})]


def leased_for(conn: Conn, *, after: uuid.UUID, seconds: float, limit: int) -> list[uuid.UUID]:
    """Runs that have been in somebody's hands for so long, by id."""
    return [row[0] for row in conn.execute(SQL.leased_for, {"after": after, "seconds": seconds, "limit": limit})]


def news(conn: Conn, ids: Sequence[uuid.UUID], *, timeout: float) -> list[News]:
    """Those of these runs that are in somebody's hands."""
    return [News(*row) for row in conn.execute(SQL.news, {"ids": ids, "timeout": timeout, "streams": STREAMS})]


def stacks_said(conn: Conn, ids: Sequence[uuid.UUID]) -> list[Said]:
    """What workers have said of these runs, if they were asked."""
    rows: list[Any] = conn.execute(SQL.stacks_said, {"ids": ids}).fetchall()
    return [Said(row[0], row[1], row[2], row[3], row[4], row[5]) for row in rows]


def stuck_runs(conn: Conn, *, limit: int) -> dict[uuid.UUID, StuckRow]:
    """Those that are called stuck."""
    return {row[0]: StuckRow(*row) for row in conn.execute(SQL.stuck_runs, {"limit": limit})}


def call_stuck(conn: Conn, rows: Sequence[StuckRow]) -> None:
    """Calls runs stuck."""
    names = ("ids", "tokens", "losts", "steps", "sinces", "usuals")
    conn.execute(SQL.call_stuck, columns([tuple(row) for row in rows], *names))


def not_stuck(conn: Conn, ids: Sequence[uuid.UUID]) -> None:
    """Runs that have moved on."""
    conn.execute(SQL.not_stuck, {"ids": list(ids)})
