"""What rules look at: rollups of minutes, and what waits or is at work now. One path for the scheduler, which wants the
last minute, and for previews, which want a week."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from django.db import OperationalError, connection, transaction
from django.db.models import F, Q

from holdfast import db
from queues import backlog
from queues.models import Queue
from queues.pauses import Pause, pauses
from runs import coarse, histogram
from runs.alerts import series
from runs.alerts.choices import Kind
from runs.alerts.model import Alert
from runs.charts import COUNTED, FAILED
from runs.errors import HoldfastError
from runs.models import RollupKind, Task
from runs.schedules.choices import TickOutcome
from runs.schedules.firing import MISSED
from runs.schedules.model import Schedule, Tick
from runs.store import SQL

MINUTE: Final = timedelta(minutes=1)
#: Milliseconds after which a statement is given up.
PATIENCE: Final = 5_000
#: The newest runs that are looked at for one that is not over, tasks whose usage is summed, missed ticks of a preview.
MOST_RUNS, MOST_TASKS, MOST_TICKS = 1_000, 1_000, 100_000
_QUERY_CANCELED: Final = "57014"
_ACTIVITY: Final = (RollupKind.RUN, RollupKind.ATTEMPT, RollupKind.DELAY)
_MISSED: Final = Q(outcome__in=[TickOutcome.MISSED, TickOutcome.FAILED]) | Q(
    fired_at__gt=F("due_at") + timedelta(seconds=MISSED)
)


class TooSlow(HoldfastError):
    """There is too much to measure."""

    status, code = 503, "measuring_too_slow"


class Point(NamedTuple):
    """A value at the end of a minute. None is unmeasured."""

    at: datetime
    value: float | None
    of: int = 0  # runs that ended, of kinds that count them
    why: str = ""


def measure(rule: Alert, end: datetime, *, patience: int | None = None) -> Point:
    """What a rule says of the time until `end`, a full minute. Raises TooSlow."""
    return points(rule, end - MINUTE, end, patience=patience)[-1]


def points(rule: Alert, start: datetime, end: datetime, *, patience: int | None = None) -> list[Point]:
    """A value at the end of each minute from `start` to `end`, which are full minutes; `end` is about now.

    Raises:
        TooSlow: a statement took longer than `patience` milliseconds, or PATIENCE.
    """
    with _patience(patience or PATIENCE):
        return _KINDS[Kind(rule.kind)](rule, start, end)


@contextmanager
def _patience(milliseconds: int) -> Iterator[None]:
    """Statements inside are given up after so long."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SHOW statement_timeout")
            before = cursor.fetchone()[0]
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(milliseconds)])
            yield
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [before])
    except OperationalError as error:
        if db.sqlstate(error) != _QUERY_CANCELED:
            raise
        raise TooSlow(
            f"It took longer than {milliseconds / 1000:g} s to measure. Choose one task or queue, or a shorter window."
        ) from None


class _Grid:
    """The minutes that the values of a rule are made of."""

    def __init__(self, rule: Alert, start: datetime, end: datetime, width: int = 1) -> None:
        self.start, self.end = start + MINUTE - width * MINUTE, end
        self.width = width
        self.length = (end - self.start) // MINUTE
        self.scope = {"task": rule.task, "queue": rule.queue}

    def place(self, minute: datetime) -> int:
        return (minute - self.start) // MINUTE

    def rows(self, name: str, *kinds: RollupKind, **more: Any) -> list[Any]:
        """The rows of a statement about these minutes, from `kinds` of rollups."""
        if kinds:
            more |= {"kinds": [str(kind) for kind in kinds], "summed": coarse.SIZES[0]}
        return _rows(name, start=self.start, end=self.end, **self.scope, **more)

    def points(self, values: list[Any], of: list[Any] | None = None) -> list[Point]:
        """The values at the ends of their windows."""
        first = self.start + self.width * MINUTE
        counts = of or [0] * len(values)
        return [
            Point(first + n * MINUTE, value, int(count))
            for n, (value, count) in enumerate(zip(values, counts, strict=True))
        ]


def _failure_rate(rule: Alert, start: datetime, end: datetime) -> list[Point]:
    grid = _Grid(rule, start, end, rule.window // 60)
    ended, failed = [0] * grid.length, [0] * grid.length
    for minute, number, bad in grid.rows("alert_ends", RollupKind.RUN, counted=sorted(COUNTED), failed=sorted(FAILED)):
        ended[grid.place(minute)], failed[grid.place(minute)] = number, bad
    values = series.rates(failed, ended, grid.width, rule.min_runs)
    return grid.points(values, series.sums(ended, grid.width))


def _latency(rule: Alert, start: datetime, end: datetime) -> list[Point]:
    grid = _Grid(rule, start, end, rule.window // 60)
    cells: list[dict[int, int]] = [{} for _ in range(grid.length)]
    for minute, bucket, number in grid.rows("alert_durations", counted=sorted(COUNTED)):
        cells[grid.place(minute)][bucket] = number
    values = series.percentiles(cells, grid.width, rule.min_runs, rule.percentile / 100)
    return grid.points(values, series.sums([sum(cell.values()) for cell in cells], grid.width))


def _head_wait(rule: Alert, start: datetime, end: datetime) -> list[Point]:
    """A queue that is paused has no value: that it waits is what somebody wanted. Queues that were paused are looked at
    one by one, the others as one."""
    with db.callers() as conn:
        heads = backlog.head_waits(conn, rule.queue or None)
    stopped = pauses(rule.queue or None)
    grid = _Grid(rule, start, end)
    longest: dict[str, list[float | None]] = defaultdict(lambda: [None] * grid.length)
    for minute, name, delay in grid.rows("alert_waits", RollupKind.DELAY, names=list(stopped)):
        longest[name][grid.place(minute)] = histogram.bounds(delay)[0]
    lines = []
    for name in [rule.queue] if rule.queue in stopped else [*stopped, ""]:  # "" is all that was never paused
        mine = [head for head in heads if name == (head.queue if head.queue in stopped else "")]
        oldest = min((head.ready_at for head in mine if head.ready_at), default=None)
        waiting = (end - oldest).total_seconds() if oldest else None
        lines.append(_flowing(grid.points(series.head_waits(longest[name], waiting)), stopped.get(name, ())))
    found = [
        max(points, key=lambda point: -1.0 if point.value is None else point.value)
        for points in zip(*lines, strict=True)
    ]
    flowing = [head for head in heads if not head.paused]
    if not flowing:
        why = "the queue is paused" if heads else _missing("queue", rule.queue)
        found[-1] = Point(end, None, why=why)
    elif not rule.queue and (first := _first(flowing, stopped, end)):
        found[-1] = found[-1]._replace(why=f"queue {first}")
    return found


def _first(heads: Sequence[backlog.HeadWait], stopped: Mapping[str, Sequence[Pause]], end: datetime) -> str | None:
    """The queue whose first in line waits longest, pauses not counted."""
    since = {
        head.queue: max([head.ready_at, *(pause.end for pause in stopped.get(head.queue, ()) if pause.end <= end)])
        for head in heads
        if head.ready_at
    }
    return min(since, key=lambda name: since[name], default=None)


def _flowing(found: list[Point], stopped: Sequence[Pause]) -> list[Point]:
    """While its queue is paused a rule has no value, and what waits has waited since it was resumed. `found` are
    seconds."""
    kept, ended, left = [], None, list(reversed(stopped))
    for point in found:
        while left and left[-1].end <= point.at:
            ended = left.pop().end
        value, why = point.value, point.why
        if left and left[-1].holds(point.at):
            value, why = None, "the queue is paused"
        elif value is not None and ended is not None:
            value = min(value, (point.at - ended).total_seconds())
        kept.append(point._replace(value=value, why=why))
    return kept


def _no_progress(rule: Alert, start: datetime, end: datetime) -> list[Point]:
    gap = max(1, int(rule.threshold // 60))
    grid = _Grid(rule, start, end, 2 * gap + 60)
    completed, intervals = [False] * grid.length, []
    for minute, done, delay, worked in grid.rows("alert_activity", *_ACTIVITY):
        place = grid.place(minute)
        completed[place] = done
        for bucket in (delay, worked):
            if bucket is not None:
                intervals.append((place - int(histogram.bounds(bucket)[0] // 60), place))
    since = _work_since(rule)
    if since is not None:
        intervals.append((grid.place(since), grid.length - 1))
    values = series.standstills(completed, series.covered(grid.length, intervals), gap)
    why, queue = _stands_still(rule)
    found = _flowing(grid.points(values[grid.width - 1 :]), pauses(queue).get(queue, ()) if queue else ())
    if why:
        found[-1] = Point(end, None, why=why)
    elif since is None and not found[-1].value:
        found[-1] = found[-1]._replace(why="nothing runs or waits")
    return found


def _work_since(rule: Alert) -> datetime | None:
    name = "alert_work_of_task" if rule.task else "alert_work_of_queue"
    since: datetime | None = _rows(name, task=rule.task, queue=rule.queue, most=MOST_RUNS)[0][0]
    return since


def _stands_still(rule: Alert) -> tuple[str, str]:
    """Why nothing could be expected to go on, or nothing; and the queue."""
    task = Task.objects.filter(pk=rule.task).first() if rule.task else None
    if rule.task and task is None:
        return _missing("task", rule.task), ""
    queue = Queue.objects.filter(**({"pk": task.queue_id} if task else {"name": rule.queue})).first()
    if queue is None:
        return _missing("queue", rule.queue), ""
    return f"queue {queue.name} is paused" if queue.paused else "", queue.name


def _missed_schedule(rule: Alert, start: datetime, end: datetime) -> list[Point]:
    """Ticks that nobody was there for, that could begin no run, or that were more than a minute late; by when that was
    noticed."""
    grid = _Grid(rule, start, end, rule.window // 60)
    named = {"schedule__name": rule.schedule} if rule.schedule else {}
    missed = [0] * grid.length
    ticks = Tick.objects.filter(_MISSED, fired_at__gte=grid.start, fired_at__lt=end, **named).order_by("-fired_at")
    for at in ticks.values_list("fired_at", flat=True)[:MOST_TICKS]:
        missed[grid.place(at)] += 1
    found = grid.points(series.sums(missed, grid.width))
    schedules = Schedule.objects.filter(name=rule.schedule) if rule.schedule else Schedule.objects.all()
    if not schedules.exists():
        return [point._replace(value=None, why=_missing("schedule", rule.schedule)) for point in found]
    if not (going := schedules.filter(paused_at__isnull=True)).exists() and not found[-1].value:
        found[-1] = found[-1]._replace(value=None, why="paused")
        return found
    overdue = going.filter(next_at__lt=end - timedelta(seconds=MISSED)).count()
    return [*found[:-1], found[-1]._replace(value=(found[-1].value or 0) + overdue)]


def _spend(rule: Alert, start: datetime, end: datetime) -> list[Point]:
    grid = _Grid(rule, start, end, rule.window // 60)
    used = [0.0] * grid.length
    for minute, amount in grid.rows("alert_usage", unit=rule.unit, most=MOST_TASKS):
        used[grid.place(minute)] = float(amount)
    # Sums of floats that are slid over a week would not come back to nothing.
    found = grid.points([max(0.0, round(value, 9)) for value in series.sums(used, grid.width)])
    if not any(used) and not _rows("alert_unit_known", task=rule.task, unit=rule.unit, most=MOST_TASKS)[0][0]:
        return [point._replace(value=None, why=f"nobody has said yet to use {rule.unit}") for point in found]
    return found


def _missing(what: str, name: str) -> str:
    return f"there is no {what} {name}" if name else f"there is no {what} yet"


def _rows(name: str, **params: Any) -> list[Any]:
    with db.callers() as conn:
        return conn.execute(getattr(SQL, name), params).fetchall()


_KINDS: Final[dict[Kind, Callable[[Alert, datetime, datetime], list[Point]]]] = {
    Kind.FAILURE_RATE: _failure_rate,
    Kind.LATENCY: _latency,
    Kind.HEAD_WAIT: _head_wait,
    Kind.MISSED_SCHEDULE: _missed_schedule,
    Kind.NO_PROGRESS: _no_progress,
    Kind.SPEND: _spend,
}
