"""What waits for workers, and how busy these are: read by `work --max` each second, by every scrape of /metrics,
and by alerts each minute."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, NamedTuple

from django.conf import settings

from queues import store
from queues.selectors import EXACT_UP_TO, MAX_TIMERS
from queues.store import Conn

WorkerState = Literal["alive", "draining", "silent"]
#: Queues whose first in line is looked at.
MOST_QUEUES: Final = 1_000
WORKER_STATES: Final[tuple[WorkerState, ...]] = ("alive", "draining", "silent")


@dataclass(frozen=True, slots=True)
class Backlog:
    """What is in a queue now. Counts stop at 10,001, which means "more"."""

    queue: str
    pool: str
    concurrency_limit: int | None
    paused: bool  # or draining
    due: int  # entries that wait for a worker
    startable: int  # those of them that no limit, rate or pause keeps from a worker with room
    running: int  # entries in the hands of workers
    oldest_wait: float  # seconds that the oldest of `due` has waited; 0 when there is none
    open_wait: float  # the same of those whose concurrency key has a slot

    @property
    def head_wait(self) -> float:
        """Seconds that the oldest of `startable` has waited; 0 when there is none."""
        return self.open_wait if self.startable else 0.0


@dataclass(frozen=True, slots=True)
class WorkerCount:
    """How many workers serve these pools and are in this state."""

    pools: tuple[str, ...]
    state: WorkerState
    count: int


class HeadWait(NamedTuple):
    """Since when the first in line of a queue waits."""

    queue: str
    paused: bool  # or draining
    ready_at: datetime | None  # None: nothing waits


def head_waits(conn: Conn, queue: str | None = None) -> list[HeadWait]:
    """Of this queue (nothing if there is none), or of all; of very many, MOST_QUEUES."""
    rows = conn.execute(store.SQL.head_waits, {"queue": queue, "most": MOST_QUEUES})
    return [HeadWait(*row) for row in rows]


def backlogs(conn: Conn, pools: Sequence[str] | None = None) -> list[Backlog]:
    """All queues of these pools, or of all, in order of name: one statement, however many there are."""
    numbers = {"pools": None if pools is None else list(pools), "most": EXACT_UP_TO + 1}
    return [Backlog(*row) for row in conn.execute(store.SQL.backlog, numbers)]


def later(conn: Conn) -> dict[str, int]:
    """Entries that become ready later, or when they are woken, by the queue's name; queues without any are left out."""
    return {row[0]: row[1] for row in conn.execute(store.SQL.later, {"most": MAX_TIMERS})}


def worker_counts(conn: Conn) -> list[WorkerCount]:
    """Workers that have neither said goodbye nor been declared lost."""
    rows = conn.execute(store.SQL.worker_counts, {"timeout": settings.HOLDFAST_HEARTBEAT_TIMEOUT})
    return [WorkerCount(tuple(json.loads(row[0])), row[1], row[2]) for row in rows]


def worker_loads(conn: Conn, pids: Sequence[int]) -> dict[int, float]:
    """Which of these processes of this machine are registered as workers, and the share of slots that each has taken,
    in the lane where that is largest: 0.5 is half full."""
    rows = conn.execute(store.SQL.worker_loads, {"host": settings.HOLDFAST_HOST, "pids": list(pids)})
    return {row[0]: row[1] for row in rows}
