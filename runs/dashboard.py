"""What the pages Now and Tasks read, and the rows of the charts."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from django.utils import timezone

from holdfast import db
from holdfast.access.selectors import database_now
from queues.selectors import QueueFlow
from queues.workers import AliveWorker
from runs import coarse, histogram
from runs.causes import selectors as causes
from runs.causes.judging import Verdict
from runs.causes.selectors import Story
from runs.charts import COUNTED, FAILED, Cell
from runs.models import RollupKind, Run
from runs.retries import selectors as retries
from runs.search.terms import finished_since
from runs.states import Status
from runs.store import SQL
from runs.stuck.selectors import Standstills

#: Failures of each status that are looked at, and groups that are shown.
LATEST_FAILURES: Final = 300
GROUPS: Final = 8

_FAILED: Final = sorted(FAILED)
_COUNTED: Final = sorted(COUNTED)
#: The rollups of how runs ended.
_ENDS: Final = {"kind": str(RollupKind.RUN), "counted": _COUNTED}


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Runs of one task that failed the same way in the last hour, or are about to try again after they did."""

    task: str
    fingerprint: str
    runs: int
    retrying: int
    type: str | None
    message: str | None
    latest: uuid.UUID

    @property
    def name(self) -> str:
        """The error's name without its module."""
        return (self.type or "Error").rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class Now:
    """The front page."""

    story: Story
    counts: dict[str, int]
    failed: int
    ended: int
    workers: Sequence[AliveWorker]
    failing: list[FailureGroup]
    paused: list[QueueFlow]
    nothing_yet: bool  # no run was ever enqueued
    burning: int = 0  # runs whose attempts finish nothing new
    stuck: Standstills = Standstills()  # noqa: RUF009 - it is frozen

    @property
    def verdict(self) -> Verdict:
        return self.story.verdict

    @property
    def running(self) -> int:
        """See `Facts.running`."""
        return self.story.facts.running

    @property
    def failed_search(self) -> str:
        """Finds the runs that `failed` counts."""
        return _failed_since(timezone.now() - timedelta(hours=1))

    @property
    def lost(self) -> int:
        """Workers whose heartbeat is overdue."""
        return sum(worker.silent for worker in self.workers)

    @property
    def alive(self) -> int:
        return len(self.workers) - self.lost


@dataclass(slots=True)
class TaskStats:
    """A task's runs that ended in the last 24 hours."""

    ended: int = 0
    failed: int = 0
    buckets: dict[int, int] = field(default_factory=dict)
    since: datetime | None = None  # what ended earlier is not counted

    @property
    def failure_rate(self) -> float | None:
        return 100 * self.failed / self.ended if self.ended else None

    @property
    def failed_search(self) -> str:
        """Finds the runs that `failed` counts, among those of the task."""
        return _failed_since(self.since) if self.since else ""

    @property
    def p50(self) -> float | None:
        return histogram.percentile(self.buckets, 0.5)

    @property
    def p95(self) -> float | None:
        return histogram.percentile(self.buckets, 0.95)


def now() -> Now:
    """Everything on the front page but its charts."""
    story = causes.story()
    facts = story.facts
    return Now(
        story=story,
        counts=facts.counts,
        failed=sum(hour.failed for hour in facts.hours),
        ended=sum(hour.ended for hour in facts.hours),
        workers=facts.workers,
        failing=failure_groups(),
        paused=[flow for flow in facts.flows if flow.queue.paused],
        nothing_yet=not Run.objects.exists(),
        burning=retries.summary().burning,
        stuck=facts.stuck,
    )


def failure_groups() -> list[FailureGroup]:
    """What fails most, looking at the latest failures of each status."""
    statuses = [*_FAILED, str(Status.RETRYING)]
    return [FailureGroup(*row) for row in _rows("failing", statuses=statuses, most=LATEST_FAILURES, groups=GROUPS)]


def rate_cells(start: datetime, end: datetime, *, minutes: int, task: str | None = None) -> list[Cell]:
    """Runs that ended from `start` to `end`, by status and bins of so many minutes; their buckets mean nothing."""
    time = coarse.over(start, end, minutes=minutes)
    return [Cell(*row) for row in _rows("rate_cells", **_ENDS, **time, minutes=minutes, task=task)]


def duration_cells(start: datetime, end: datetime, *, task: str | None = None) -> list[Cell]:
    """Runs that ended from `start` to `end`, by status and duration; their minutes mean nothing."""
    return [Cell(*row) for row in _rows("duration_cells", **_ENDS, **coarse.over(start, end), task=task)]


def task_stats(tasks: Collection[str]) -> dict[str, TaskStats]:
    """The last 24 hours of these tasks."""
    if not tasks:
        return {}
    end = database_now() + timedelta(minutes=1)
    start = end - timedelta(days=1)
    found = {task: TaskStats(since=start) for task in tasks}
    time = coarse.over(start, end)
    for task, status, bucket, number in _rows("task_stats", **_ENDS, **time, tasks=list(tasks)):
        stats = found[task]
        stats.ended += number
        stats.failed += number if status in FAILED else 0
        stats.buckets[bucket] = stats.buckets.get(bucket, 0) + number
    return found


def _failed_since(start: datetime) -> str:
    return f"status:{','.join(_FAILED)} {finished_since(start)}"


def _rows(name: str, **params: Any) -> list[Any]:
    with db.callers() as conn:
        return conn.execute(getattr(SQL, name), params).fetchall()


WINDOWS: Final = {"1h": (timedelta(hours=1), 1), "6h": (timedelta(hours=6), 5), "24h": (timedelta(hours=24), 15)}
