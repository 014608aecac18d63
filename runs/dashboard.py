"""What the pages Now and Tasks read, and the rows of the charts."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from django.utils import timezone

from holdfast import db, words
from queues import heads
from queues.backlog import Backlog
from queues.selectors import QueueFlow, queues_page
from queues.workers import AliveWorker, pools_served, workers_alive
from runs import histogram
from runs.charts import COUNTED, FAILED, Cell
from runs.models import Run
from runs.retries import selectors as retries
from runs.states import Status
from runs.store import SQL
from runs.stuck.selectors import Standstills, standstills
from runs.words import EXACT_UP_TO, count

#: Failures of each status that are looked at, and groups that are shown.
LATEST_FAILURES: Final = 300
GROUPS: Final = 8
#: Queues that the verdict looks at.
QUEUES: Final = 500
#: "Failing" from this share and number of failures in the last quarter of an hour.
FAILING_SHARE, FAILING_RUNS = 0.1, 3

#: Seconds without a look of the scheduler, which has one each minute, from which on what is shown as well is not known.
UNSEEN: Final = 180.0

COUNTED_TILES: Final = (Status.RUNNING, Status.QUEUED, Status.RETRYING, Status.SCHEDULED, Status.WAITING)
_FAILED: Final = sorted(FAILED)
_COUNTED: Final = sorted(COUNTED)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether things flow, in one sentence. `mood` is the colour of its dot: good, warn, bad or nothing."""

    kind: str
    words: str
    mood: str = ""
    hint: str = ""

    @property
    def is_down(self) -> bool:
        """Whether somebody has to look now: then the favicon is red."""
        return self.mood == "bad"


@dataclass(frozen=True, slots=True)
class TaskHour:
    """How a task's runs ended in the last hour, and in its last quarter."""

    task: str
    ended: int
    failed: int
    ended_lately: int
    failed_lately: int


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

    verdict: Verdict
    counts: dict[str, int]
    failed: int
    ended: int
    workers: list[AliveWorker]
    failing: list[FailureGroup]
    paused: list[QueueFlow]
    nothing_yet: bool  # no run was ever enqueued
    burning: int = 0  # runs whose attempts finish nothing new
    stuck: Standstills = Standstills()  # noqa: RUF009 - it is frozen

    @property
    def failed_search(self) -> str:
        """Finds the runs that `failed` counts: rollups know minutes, so the hour begins with its first full one."""
        hour = timezone.now() - timedelta(hours=1)
        first = hour.replace(second=0, microsecond=0) + timedelta(minutes=1)
        return f"status:{','.join(_FAILED)} finished:>={first:%Y-%m-%dT%H:%MZ}"

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

    @property
    def failure_rate(self) -> float | None:
        return 100 * self.failed / self.ended if self.ended else None

    @property
    def p50(self) -> float | None:
        return histogram.percentile(self.buckets, 0.5)

    @property
    def p95(self) -> float | None:
        return histogram.percentile(self.buckets, 0.95)


def now() -> Now:
    """Everything on the front page but its charts."""
    hours = [TaskHour(*row) for row in _rows("ended_by_task", failed=_FAILED, counted=_COUNTED)]
    flows = queues_page(limit=QUEUES).items
    workers = workers_alive()
    counts, unseen = _counts_and_look()
    return Now(
        verdict=verdict(counts, hours, flows, workers, heads.standing(flows, workers), unseen),
        counts=counts,
        failed=sum(hour.failed for hour in hours),
        ended=sum(hour.ended for hour in hours),
        workers=workers,
        failing=failure_groups(),
        paused=[flow for flow in flows if flow.queue.paused],
        nothing_yet=not Run.objects.exists(),
        burning=retries.summary().burning,
        stuck=standstills(),
    )


def verdict_now() -> Verdict:
    """The sentence alone."""
    hours = [TaskHour(*row) for row in _rows("ended_by_task", failed=_FAILED, counted=_COUNTED)]
    flows, workers = queues_page(limit=QUEUES).items, workers_alive()
    counts, unseen = _counts_and_look()
    return verdict(counts, hours, flows, workers, heads.standing(flows, workers), unseen)


def _counts_and_look() -> tuple[dict[str, int], float | None]:
    """How many runs are in each of COUNTED_TILES, counted up to 10,001, and the seconds since the scheduler last looked
    at queues; None: it never has. One query."""
    statuses = [str(s) for s in COUNTED_TILES]
    counts = dict(_rows("status_counts_and_look", statuses=statuses, most=EXACT_UP_TO + 1))
    return counts, counts.pop("")


def failure_groups() -> list[FailureGroup]:
    """What fails most, looking at the latest failures of each status."""
    statuses = [*_FAILED, str(Status.RETRYING)]
    return [FailureGroup(*row) for row in _rows("failing", statuses=statuses, most=LATEST_FAILURES, groups=GROUPS)]


def rate_cells(start: datetime, end: datetime, *, minutes: int, task: str | None = None) -> list[Cell]:
    """Runs that ended from `start` to `end`, by status and bins of so many minutes; their buckets mean nothing."""
    found = _rows("rate_cells", start=start, end=end, minutes=minutes, task=task, counted=_COUNTED)
    return [Cell(*row) for row in found]


def duration_cells(start: datetime, end: datetime, *, task: str | None = None) -> list[Cell]:
    """Runs that ended from `start` to `end`, by status and duration; their minutes mean nothing."""
    return [Cell(*row) for row in _rows("duration_cells", start=start, end=end, task=task, counted=_COUNTED)]


def task_stats(tasks: Collection[str]) -> dict[str, TaskStats]:
    """The last 24 hours of these tasks."""
    found = {task: TaskStats() for task in tasks}
    for task, status, bucket, number in _rows("task_stats", tasks=list(tasks), counted=_COUNTED) if tasks else ():
        stats = found[task]
        stats.ended += number
        stats.failed += number if status in FAILED else 0
        stats.buckets[bucket] = stats.buckets.get(bucket, 0) + number
    return found


def verdict(
    counts: dict[str, int],
    hours: Sequence[TaskHour],
    flows: Sequence[QueueFlow],
    workers: Sequence[AliveWorker],
    still: Sequence[Backlog] = (),
    unseen: float | None = None,
) -> Verdict:
    """The sentence: the worst that is true. A paused queue is no fault; what waits in one is not stuck. `still`: queues
    whose first entry waits for long although nothing holds it. `unseen`: seconds since the scheduler last looked."""
    ready = [flow for flow in flows if flow.depth and not flow.queue.paused]
    served = pools_served(workers)
    return (
        _stalled([flow for flow in ready if flow.queue.pool not in served])
        or _standing(still)
        or _failing(hours)
        or _blind(unseen)
        or _saturated([flow for flow in ready if _full(flow)])
        or _flowing(counts, ready)
        or _idle(counts, workers)
    )


def _stalled(flows: Sequence[QueueFlow]) -> Verdict | None:
    if not flows:
        return None
    depth = min(sum(flow.depth for flow in flows), EXACT_UP_TO + 1)
    pools = sorted({flow.queue.pool for flow in flows})
    ready = "1 run is ready" if depth == 1 else f"{count(depth)} runs are ready"
    return Verdict(
        "stalled",
        f"Stalled: {ready}, but no worker is alive for pool {' or '.join(pools)}.",
        "bad",
        f"manage.py work {' '.join(f'--pool {pool}' for pool in pools)}",
    )


def _standing(queues: Sequence[Backlog]) -> Verdict | None:
    if not queues:
        return None
    first = queues[0]
    waits = "1 run is ready" if first.startable == 1 else f"{count(first.startable)} runs are ready"
    others = f" So do {len(queues) - 1} more queues." if len(queues) > 2 else ""
    others = " So does one more queue." if len(queues) == 2 else others
    waited = words.duration(first.head_wait)
    return Verdict(
        "stalled",
        f"Stalled: {waits} in {first.queue} and nothing holds them, but the first has waited for {waited}.{others}",
        "bad",
    )


def _failing(hours: Sequence[TaskHour]) -> Verdict | None:
    failed = sum(hour.failed_lately for hour in hours)
    ended = sum(hour.ended_lately for hour in hours)
    if failed < FAILING_RUNS or failed < FAILING_SHARE * ended:
        return None
    worst = max(hours, key=lambda hour: hour.failed_lately)
    mostly = "all of" if worst.failed_lately == failed else "mostly"
    return Verdict(
        "failing",
        f"Failing: {failed:,} of {ended:,} runs failed in the last 15 minutes, {mostly} {worst.task}.",
        "bad",
    )


def _blind(unseen: float | None) -> Verdict | None:
    """What is not measured is not well: without a scheduler nobody notices what is stuck or lost."""
    if unseen is None or unseen < UNSEEN:
        return None
    return Verdict(
        "blind",
        f"Blind: no scheduler has looked for {words.duration(unseen)}. "
        "Timers, retries, schedules and alerts stand still, and nobody notices what is stuck.",
        "bad",
        "manage.py schedule",
    )


def _saturated(flows: Sequence[QueueFlow]) -> Verdict | None:
    if not flows:
        return None
    flow = max(flows, key=lambda f: f.depth)
    waits = "1 waits" if flow.depth == 1 else f"{count(flow.depth)} wait"
    others = f" {len(flows) - 1} more queues are full." if len(flows) > 2 else ""
    others = " One more queue is full." if len(flows) == 2 else others
    limit = flow.queue.concurrency_limit
    return Verdict(
        "saturated",
        f"Saturated: {flow.queue.name} runs {flow.running:,} of {limit:,}, and {waits} for a slot.{others}",
        "warn",
    )


def _full(flow: QueueFlow) -> bool:
    limit = flow.queue.concurrency_limit
    return limit is not None and flow.running >= limit


def _flowing(counts: dict[str, int], ready: Sequence[QueueFlow]) -> Verdict | None:
    running = counts.get(Status.RUNNING, 0)
    depth = min(sum(flow.depth for flow in ready), EXACT_UP_TO + 1)
    if not running and not depth:
        return None
    waiting = f"{count(depth)} {'is' if depth == 1 else 'are'} about to start" if depth else "nothing waits for a slot"
    return Verdict("flowing", f"Flowing: {count(running)} running, {waiting}.", "good")


def _idle(counts: dict[str, int], workers: Sequence[AliveWorker]) -> Verdict:
    later = sum(counts.get(status, 0) for status in (Status.RETRYING, Status.SCHEDULED, Status.WAITING))
    rest = f"{count(min(later, EXACT_UP_TO + 1))} will go on later" if later else "nothing waits"
    if not any(worker.takes_work for worker in workers):
        return Verdict(
            "idle",
            f"Idle: nothing runs and {rest}. No worker is alive: what is enqueued now will wait.",
            "warn",
            "manage.py work",
        )
    return Verdict("idle", f"Idle: nothing runs and {rest}.")


def _rows(name: str, **params: Any) -> list[Any]:
    with db.callers() as conn:
        return conn.execute(getattr(SQL, name), params).fetchall()


WINDOWS: Final = {"1h": (timedelta(hours=1), 1), "6h": (timedelta(hours=6), 5), "24h": (timedelta(hours=24), 15)}
