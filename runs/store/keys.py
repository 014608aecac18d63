"""Keys under which several enqueues are one run."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from queues import store as queue_store
from queues.store import Conn
from runs.store.statements import SQL, columns

#: Keys that one statement forgets, so that none holds its locks for long; the next round takes more.
FORGET_LIMIT: Final = 5_000


class KeyRow(NamedTuple):
    """An idempotency key that is to be claimed."""

    key: str
    payload_hash: bytes
    ttl: float  # seconds


class Debounced(NamedTuple):
    """A debounce's key, locked."""

    run_id: uuid.UUID
    quiet_at: datetime
    open: bool  # a call now belongs to that run
    joined: datetime  # when it is quiet after a call that does
    begun: datetime  # when it is quiet after a call that begins another


def claim_keys(conn: Conn, task: str, rows: Sequence[KeyRow]) -> dict[str, tuple[uuid.UUID, bytes]]:
    """Claims idempotency keys, each given once. Of each the run that has it, and the hash of its payload; the nil UUID
    when it is the caller's to use."""
    arrays = columns(rows, "keys", "hashes", "ttls")
    found = conn.execute(SQL.claim_keys, {"task": task, **arrays})
    return {key: (run_id, bytes(known)) for key, run_id, known in found}


def settle_keys(conn: Conn, task: str, keys: list[str], runs: list[uuid.UUID]) -> None:
    """Says whose the keys are that were claimed in this transaction."""
    conn.execute(SQL.settle_keys, {"task": task, "keys": keys, "runs": runs})


def release_keys(conn: Conn, task: str, keys: list[str]) -> None:
    """Gives keys back that were claimed in this transaction."""
    conn.execute(SQL.release_keys, {"task": task, "keys": keys})


def claim_debounce(conn: Conn, *, task: str, key: str, delay: float, longest: float | None) -> Debounced:
    """Locks a debounce's key. Times in seconds."""
    row = conn.execute(SQL.claim_debounce, {"task": task, "key": key, "delay": delay, "longest": longest}).fetchone()
    assert row is not None
    return Debounced(*row)


def join_debounce(conn: Conn, *, task: str, key: str, quiet_at: datetime) -> None:
    conn.execute(SQL.join_debounce, {"task": task, "key": key, "quiet_at": quiet_at})


def begin_debounce(conn: Conn, *, task: str, key: str, run_id: uuid.UUID, quiet_at: datetime) -> None:
    conn.execute(SQL.begin_debounce, {"task": task, "key": key, "run_id": run_id, "quiet_at": quiet_at})


def change_scheduled(conn: Conn, run_id: uuid.UUID, *, payload: str, was: datetime, due_at: datetime) -> bool:
    """A run that is scheduled for `was` is called with another payload (JSON text), and at another time. False: its
    time has come."""
    if not queue_store.postpone(conn, run_id, was=was, due_at=due_at):
        return False
    conn.execute(SQL.change_scheduled, {"run_id": run_id, "payload": payload, "due_at": due_at})
    return True


def forget_keys(conn: Conn) -> int:
    """Drops some of the keys that say nothing any more. Returns how many."""
    row = conn.execute(SQL.forget_keys, {"limit": FORGET_LIMIT}).fetchone()
    return row[0] if row else 0
