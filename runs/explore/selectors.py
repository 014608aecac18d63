"""Rollups of a time become what Explore shows: cells for charts, totals, and groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from holdfast import db
from runs import coarse, histogram
from runs.charts import COUNTED, FAILED, Cell, Window
from runs.explore.asked import Asked, Box
from runs.explore.sample import parameters, slices
from runs.models import RollupKind
from runs.store import SQL

#: Groups that are shown: those in which most runs ended.
MAX_GROUPS: Final = 20
#: Pairs of a run and a tag that are looked at.
MAX_TAGGED: Final = 20_000
_FAILED: Final = sorted(map(str, FAILED))
_COUNTED: Final = sorted(map(str, COUNTED))


@dataclass(slots=True)
class Totals:
    """How runs ended, and how long they took from their creation."""

    ended: int = 0
    failed: int = 0
    cancelled: int = 0
    buckets: dict[int, int] = field(default_factory=dict)

    def add(self, count: int, bucket: int, *, failed: bool) -> None:
        self.ended += count
        self.failed += count if failed else 0
        self.buckets[bucket] = self.buckets.get(bucket, 0) + count

    @property
    def failure_rate(self) -> float | None:
        """Percent."""
        return 100 * self.failed / self.ended if self.ended else None

    def percentile(self, q: float) -> float | None:
        """Seconds."""
        return histogram.percentile(self.buckets, q)

    @property
    def p50(self) -> float | None:
        return self.percentile(0.5)

    @property
    def p95(self) -> float | None:
        return self.percentile(0.95)

    @property
    def p99(self) -> float | None:
        return self.percentile(0.99)


@dataclass(slots=True)
class Group:
    """The runs of one task, queue, version or worker."""

    name: str
    totals: Totals
    ended: list[int]  # of each bin
    failed: list[int]


@dataclass(frozen=True, slots=True)
class Groups:
    """Those in which most runs ended, the most first; `total` is how many there are."""

    items: list[Group]
    total: int
    sampled: int = 0  # runs that were looked at, where it is a sample


def cells(asked: Asked, window: Window, kind: RollupKind = RollupKind.RUN) -> list[Cell]:
    """Counts by bin, status and bucket. Those of kind `delay` are starts."""
    found = _rows(SQL.explore_cells, kind=str(kind), **_fitting(asked), **_time(window))
    return [Cell(*row) for row in found]


def totals(found: Sequence[Cell]) -> Totals:
    """The sum of cells; who was cancelled counts neither as ended nor as failed."""
    total = Totals()
    for cell in found:
        if cell.status in COUNTED:
            total.add(cell.count, cell.bucket, failed=cell.status in FAILED)
        elif cell.status == "cancelled":
            total.cancelled += cell.count
    return total


def by_bin(found: Sequence[Cell], window: Window) -> list[Totals]:
    """The totals of each bin."""
    parts: list[list[Cell]] = [[] for _ in range(window.bins)]
    for cell in found:
        if (place := window.place(cell.minute)) is not None:
            parts[place].append(cell)
    return [totals(part) for part in parts]


def groups(asked: Asked, window: Window) -> Groups:
    """The runs by what `asked.by` says, but for tags, of which rollups know nothing."""
    rows = _rows(
        SQL.explore_groups,
        kind=str(RollupKind.RUN), by=asked.by, failed=_FAILED, counted=_COUNTED, most=MAX_GROUPS,
        **_fitting(asked), **_time(window),
    )  # fmt: skip
    found: dict[str, Group] = {}
    for name, _, minute, failed, bucket, count in rows:
        group = found.setdefault(name, Group(name, Totals(), [0] * window.bins, [0] * window.bins))
        if minute is None:
            group.totals.add(count, bucket, failed=failed)
        elif (place := window.place(minute)) is not None:
            group.ended[place] += count
            group.failed[place] += count if failed else 0
    items = sorted(found.values(), key=lambda group: (-group.totals.ended, group.name))
    return Groups(items, rows[0][1] if rows else 0)


def tags(asked: Asked, window: Window, found: Sequence[Cell]) -> Groups:
    """The tags that most runs of a sample have: rollups know nothing of them."""
    wanted = parameters(slices(found, window, Box()), replace(asked, box=Box()))
    rows = _rows(SQL.explore_tags, failed=_FAILED, most=MAX_TAGGED, **wanted)
    by_name: dict[str, Totals] = {}
    for _, name, failed, seconds in rows:
        by_name.setdefault(name, Totals()).add(1, histogram.bucket(seconds), failed=failed)
    most = sorted(by_name.items(), key=lambda item: (-item[1].ended, item[0]))
    return Groups([Group(name, sums, [], []) for name, sums in most[:MAX_GROUPS]], len(most), rows[0][0] if rows else 0)


def _fitting(asked: Asked) -> dict[str, Any]:
    return {"task": asked.task, "queue": asked.queue, "version": asked.version, "worker": asked.worker}


def _time(window: Window) -> dict[str, Any]:
    return {"minutes": window.minutes, **coarse.over(window.start, window.end, minutes=window.minutes)}


def _rows(sql: str, **params: Any) -> list[Any]:
    with db.callers() as conn:
        return conn.execute(sql, params).fetchall()
