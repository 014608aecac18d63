"""What the verdict is made of. Each part is asked for on its own: one that cannot be read is told, and never green."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeVar

from django.db import OperationalError

from holdfast import db
from queues import breakers, heads, samples, tickets
from queues.backlog import Backlog
from queues.horizon import Horizon, horizon
from queues.models import Breaker
from queues.selectors import QueueFlow, queues_page
from queues.workers import AliveWorker, workers_alive
from runs.states import Status
from runs.store import SQL
from runs.stuck.selectors import Standstills, standstills
from runs.words import EXACT_UP_TO

#: Queues that are looked at.
QUEUES: Final = 500
COUNTED: Final = (Status.RUNNING, Status.CANCELLING, Status.QUEUED, Status.RETRYING, Status.SCHEDULED, Status.WAITING)
_CANCELED: Final = "57014"  # what PostgreSQL calls a statement that took too long
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TaskHour:
    """How a task's runs ended in the last hour, and in its last quarter."""

    task: str
    ended: int
    failed: int
    ended_lately: int
    failed_lately: int


@dataclass(frozen=True, slots=True)
class Facts:
    """How things stand. `unread` has the parts that could not be read, with why: what they hold is not known."""

    counts: dict[str, int] = field(default_factory=dict)
    hours: Sequence[TaskHour] = ()
    flows: Sequence[QueueFlow] = ()
    workers: Sequence[AliveWorker] = ()
    still: Sequence[Backlog] = ()
    open_breakers: Sequence[Breaker] = ()
    stuck: Standstills = Standstills()  # noqa: RUF009 - it is frozen
    horizon: Horizon = Horizon()  # noqa: RUF009 - so is it
    redis: float | None = None  # seconds after which it answered; None: it did not
    suspended: bool = False  # `rq suspend` holds all workers back
    sampled: datetime | None = None  # the last minute of which the scheduler took a sample; None: it never did
    database: float = 0.0  # seconds in which it counted runs
    unread: dict[str, str] = field(default_factory=dict)

    @property
    def running(self) -> int:
        """Runs in workers' hands; those that are told to stop are so until their code has stopped."""
        return self.counts.get(Status.RUNNING, 0) + self.counts.get(Status.CANCELLING, 0)


class _Reading:
    """Reads parts, and keeps why some could not be."""

    def __init__(self) -> None:
        self.unread: dict[str, str] = {}

    def part(self, name: str, read: Callable[[], T], otherwise: Callable[[], T]) -> T:
        """What `read` gives, or `otherwise` when PostgreSQL gave the statement up. Raises what else goes wrong."""
        try:
            return read()
        except OperationalError as error:
            if db.sqlstate(error) != _CANCELED:
                raise
            self.unread[name] = "PostgreSQL gave it up, because it took too long"
            return otherwise()


def facts(failed: Sequence[str], counted: Sequence[str]) -> Facts:
    """How things stand now, by the ends that count as failures, and those that count at all."""
    reading, began = _Reading(), time.monotonic()
    counts: dict[str, int] = reading.part("runs", lambda: status_counts(COUNTED), dict)
    took = time.monotonic() - began
    hours: list[TaskHour] = reading.part("outcomes", lambda: _hours(failed, counted), list)
    flows: list[QueueFlow] = reading.part("queues", lambda: queues_page(limit=QUEUES).items, list)
    workers: list[AliveWorker] = reading.part("workers", workers_alive, list)
    still: list[Backlog] = reading.part("heads", lambda: heads.standing(flows, workers), list)
    is_open: list[Breaker] = reading.part("breakers", breakers.open_breakers, list)
    redis = tickets.answer_time()
    return Facts(
        counts,
        hours,
        flows,
        workers,
        still=still,
        open_breakers=is_open,
        stuck=reading.part("stuck", standstills, Standstills),
        horizon=reading.part("transactions", horizon, Horizon),
        redis=redis,
        suspended=redis is not None and tickets.suspended(),
        sampled=reading.part("scheduler", samples.latest, lambda: None),
        database=took,
        unread=reading.unread,
    )


def status_counts(statuses: Sequence[str]) -> dict[str, int]:
    """How many runs are in each of these statuses (not `completed`), counted up to 10,001, in one query."""
    with db.callers() as conn:
        asked = {"statuses": [str(s) for s in statuses], "most": EXACT_UP_TO + 1}
        return dict(conn.execute(SQL.status_counts, asked).fetchall())


def _hours(failed: Sequence[str], counted: Sequence[str]) -> list[TaskHour]:
    with db.callers() as conn:
        asked = {"failed": list(failed), "counted": list(counted)}
        return [TaskHour(*row) for row in conn.execute(SQL.ended_by_task, asked).fetchall()]
