"""What pages read of workers, and of what else must be so before an entry starts."""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.conf import settings

from holdfast import db
from queues import store
from queues.rate import Rate

#: Workers listed at most.
MAX_WORKERS: Final = 500


@dataclass(frozen=True, slots=True)
class AliveWorker:
    """A worker that has neither said goodbye nor been declared lost."""

    id: int
    name: str
    pools: list[str]
    hostname: str
    pid: int
    coroutines: int  # capacity
    threads: int  # capacity
    processes: int  # capacity
    running: int
    memory: int  # bytes
    started_at: datetime
    heartbeat_at: datetime
    draining_at: datetime | None
    silent: bool  # its heartbeat is older than HOLDFAST_HEARTBEAT_TIMEOUT

    @property
    def capacity(self) -> int:
        return self.coroutines + self.threads + self.processes

    @property
    def takes_work(self) -> bool:
        return not self.silent and self.draining_at is None


@dataclass(frozen=True, slots=True)
class Gate:
    """What decides whether a queue's entries may start, but for the workers."""

    id: int
    queue: str
    pool: str
    limit: int | None
    key_limit: int | None
    paused: bool
    pause_reason: str
    paused_until: datetime | None
    drained_from: datetime | None  # what came later waits until the queue is resumed
    taken: int  # slots taken, counted up to the limit
    rate_amount: int | None
    rate_period: float | None  # seconds
    rate_unit: str | None
    started: int  # starts, or units, in the window of the rate
    opens_at: datetime | None  # when the first of them leaves the window
    key_rate_amount: int | None
    key_rate_period: float | None
    key_rate_unit: str | None
    has_homes: bool = False  # some of its entries were put aside for workers of one host

    @property
    def full(self) -> bool:
        return self.limit is not None and self.taken >= self.limit

    @property
    def rate(self) -> Rate | None:
        return Rate.of(self.rate_amount, self.rate_period, self.rate_unit)

    @property
    def key_rate(self) -> Rate | None:
        return Rate.of(self.key_rate_amount, self.key_rate_period, self.key_rate_unit)

    @property
    def by_key(self) -> bool:
        """Something is counted of each concurrency key."""
        return self.key_limit is not None or self.key_rate_amount is not None


@dataclass(frozen=True, slots=True)
class KeyGate:
    """What one concurrency key has taken of a queue."""

    taken: int = 0  # slots, counted up to the limit of a key
    started: int = 0  # starts, or units, in the window of the rate of a key
    opens_at: datetime | None = None  # when the first of them leaves the window


def holds_back(rate: Rate | None, started: int, units: int) -> bool:
    """Whether a rate lets nothing of so many units through while so much has started in its window."""
    if rate is None:
        return False
    return started + (min(units, rate.amount) if rate.unit else 1) > rate.amount


def workers_alive() -> list[AliveWorker]:
    """All of them, by name, up to MAX_WORKERS."""
    timeout = settings.HOLDFAST_HEARTBEAT_TIMEOUT
    with db.callers() as conn:
        rows = conn.execute(store.SQL.workers_alive, {"timeout": timeout, "most": MAX_WORKERS}).fetchall()
    return [AliveWorker(row[0], row[1], json.loads(row[2]), *row[3:]) for row in rows]


def pools_served(workers: Collection[AliveWorker]) -> set[str]:
    """The pools for which somebody takes work."""
    return {pool for worker in workers if worker.takes_work for pool in worker.pools}


def key_gates(keys: Collection[tuple[int, str]]) -> dict[tuple[int, str], KeyGate]:
    """What these keys, by their queue's primary key and their name, have taken."""
    if not keys:
        return {}
    wanted = {"queues": [queue for queue, _ in keys], "keys": [key for _, key in keys]}
    with db.callers() as conn:
        return {(row[0], row[1]): KeyGate(*row[2:]) for row in conn.execute(store.SQL.key_gates, wanted)}


def homes(ids: Collection[uuid.UUID]) -> dict[uuid.UUID, str]:
    """The hosts for whose workers these entries were put aside, where they were."""
    with db.callers() as conn:
        return {row[0]: row[1] for row in conn.execute(store.SQL.homes, {"ids": list(ids)})}


def gates(queues: Collection[int]) -> dict[int, Gate]:
    """The gates of these queues, by the queue's primary key."""
    if not queues:
        return {}
    with db.callers() as conn:
        rows = conn.execute(store.SQL.queue_gates, {"queues": list(queues)}).fetchall()
    return {row[0]: Gate(*row) for row in rows}
