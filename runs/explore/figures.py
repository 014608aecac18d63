"""The page and its charts: rollups of a time become totals, groups and figures, whose points lead to their runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from holdfast.access.selectors import database_now
from queues.samples import SampleBin, sample_bins
from runs import changes, charts, histogram
from runs.charts import Cell, Figure, Window
from runs.charts.base import utc
from runs.charts.durations import place
from runs.errors import InvalidFilter, SearchTooSlow
from runs.explore import links, selectors
from runs.explore.asked import Asked, Box
from runs.explore.differences import Differences, differences
from runs.models import RollupKind
from runs.patience import PATIENCE, TooLong, patience
from runs.search.terms import Term

#: What a look over a long time is told when it takes too long.
_SHORTER: Final = f"took more than {PATIENCE // 1000} s to add up; choose a shorter time"


@dataclass(slots=True)
class Look:
    """What is asked for, and its time; rollups are read once, by whoever is first to need them."""

    asked: Asked
    window: Window
    _cells: dict[RollupKind, list[Cell]] = field(default_factory=dict)

    def cells(self, kind: RollupKind = RollupKind.RUN) -> list[Cell]:
        if kind not in self._cells:
            self._cells[kind] = selectors.cells(self.asked, self.window, kind)
        return self._cells[kind]

    def samples(self) -> list[SampleBin]:
        """How queues stood. Of what was asked only the queue and the time narrow it."""
        window = self.window
        return sample_bins(window.start, window.end, minutes=window.minutes, queue=self.asked.queue)

    def deploys(self) -> Sequence[tuple[datetime, str]]:
        return changes.deploys(self.window.start, self.window.end, self.asked.task)


@dataclass(frozen=True, slots=True)
class Page:
    """What the page shows without its charts."""

    window: Window
    totals: selectors.Totals
    groups: list[Row]
    groups_total: int
    ended_url: str
    failed_url: str
    differences: Differences | None  # where there is a box
    sampled: int = 0  # runs whose tags were looked at


@dataclass(frozen=True, slots=True)
class Row:
    """A group, the page that looks at nothing else, and its runs."""

    group: selectors.Group
    url: str
    runs_url: str
    failed_url: str

    @property
    def rates(self) -> list[float | None]:
        """The share of each bin that failed; None where nothing ended."""
        return [
            failed / ended if ended else None for failed, ended in zip(self.group.failed, self.group.ended, strict=True)
        ]


def page(asked: Asked) -> Page:
    """Raises SearchTooSlow."""
    with _patience():
        return _page(Look(asked, asked.window(database_now())))


def _page(look: Look) -> Page:
    asked = look.asked
    cells, window = look.cells(), look.window
    groups = selectors.tags(asked, window, cells) if asked.by == "tag" else selectors.groups(asked, window)
    compared = differences(asked, window, cells) if asked.box else None
    terms = [*links.terms_of(asked), *links.during(window)]
    return Page(
        window,
        selectors.totals(cells),
        [_row(asked, group, terms) for group in groups.items],
        groups.total,
        links.runs_of([*terms, links.NOT_CANCELLED]),
        links.runs_of([*terms, Term("status", links.FAILURES)]),
        compared,
        groups.sampled,
    )


def _row(asked: Asked, group: selectors.Group, terms: Sequence[Term]) -> Row:
    if not group.name:  # runs that had no version or no worker yet: no search finds them
        return Row(group, "", "", "")
    own = [*(term for term in terms if term.field != asked.by), Term(asked.by, (group.name,))]
    failed = Term("status", links.FAILURES)
    url = "" if asked.by == "tag" else asked.without_box(**{asked.by: group.name})
    return Row(group, url, links.runs_of([*own, links.NOT_CANCELLED]), links.runs_of([*own, failed]))


def draw(name: str, asked: Asked) -> Figure:
    """The figure of a chart, by its name in FIGURES. Raises SearchTooSlow."""
    with _patience():
        return FIGURES[name](Look(asked, asked.window(database_now())))


@dataclass(frozen=True, slots=True)
class Numbers:
    """What the charts show, as numbers: of each bin how runs ended, and percentiles of their waits."""

    window: Window
    page: Page
    bins: list[tuple[selectors.Totals, dict[float, float | None]]]
    histogram: list[list[float | None]]  # lower bound, upper bound, count
    queues: list[dict[str, Any]]


def numbers(asked: Asked) -> Numbers:
    """Raises SearchTooSlow."""
    asked = replace(asked, box=Box())
    with _patience():
        look = Look(asked, asked.window(database_now()))
        found, starts = _page(look), _waited(look)
        ended = selectors.by_bin(look.cells(), look.window)
        samples = [asdict(sample) for sample in look.samples()]
    buckets = [
        [low, None if high == math.inf else high, count]
        for (low, high), count in ((histogram.bounds(n), c) for n, c in sorted(found.totals.buckets.items()))
    ]
    return Numbers(look.window, found, list(zip(ended, starts, strict=True)), buckets, samples)


def _waited(look: Look) -> list[dict[float, float | None]]:
    bins: list[dict[int, int]] = [{} for _ in range(look.window.bins)]
    for cell in look.cells(RollupKind.DELAY):
        if (number := look.window.place(cell.minute)) is not None:
            bins[number][cell.bucket] = bins[number].get(cell.bucket, 0) + cell.count
    return [{q: histogram.percentile(found, q) for q in (0.5, 0.95, 0.99)} for found in bins]


def compare(asked: Asked) -> Differences:
    """The differences of the box. Raises InvalidFilter where there is none, SearchTooSlow."""
    if not asked.box:
        message = "is missing, and so are until, over and under; write one of them at least"
        raise InvalidFilter(f"since {message}.", errors=[{"field": "since", "message": message}])
    with _patience():
        look = Look(asked, asked.window(database_now()))
        return differences(asked, look.window, look.cells())


@contextmanager
def _patience() -> Iterator[None]:
    try:
        with patience():
            yield
    except TooLong:
        raise SearchTooSlow(f"This time {_SHORTER}.", errors=[{"field": "span", "message": _SHORTER}]) from None


def throughput(look: Look) -> Figure:
    figure = charts.throughput(look.cells(), look.window, deploys=look.deploys())
    for trace in figure["data"]:
        status = Term("status", links.ENDS[trace["name"]])
        trace["meta"] = links.meta(look.asked, status, x=links.bins(look.window))
    return figure


def failure_rate(look: Look) -> Figure:
    """A point leads to the runs that failed."""
    window = look.window
    figure = charts.failure_rate(
        look.cells(), start=window.start, end=window.end, bin_minutes=window.minutes, deploys=look.deploys()
    )
    for trace in figure["data"]:
        trace["meta"] = links.meta(look.asked, Term("status", links.FAILURES), x=links.bins(window))
        trace["hovertemplate"] = trace["hovertemplate"].replace("%H:%M", window.hover)
    return figure


def percentiles(look: Look) -> Figure:
    """A point leads to the runs that took so long or longer."""
    cells = [cell for cell in look.cells() if cell.status in charts.COUNTED]
    figure = charts.percentiles(cells, look.window, deploys=look.deploys())
    for trace in figure["data"]:
        slow = [links.lasted(_from(value), None) for value in trace["y"]]
        columns = [[*bin_, *over] for bin_, over in zip(links.bins(look.window), slow, strict=True)]
        trace["meta"] = links.meta(look.asked, links.NOT_CANCELLED, x=columns)
    return figure


def _from(seconds: float | None) -> timedelta | None:
    """Where the bucket of a percentile begins: within it the value is a guess, and no run may be as long."""
    if seconds is None:
        return None
    low, _ = histogram.bounds(histogram.bucket(seconds * 0.999_999))
    return timedelta(milliseconds=math.floor(low * 1000))


def durations(look: Look) -> Figure:
    figure = charts.duration_histogram(look.cells())
    for trace in figure["data"]:
        ends = [
            Term("status", links.ENDS[trace["name"]]),
            *links.within("finished", look.window.start, look.window.end),
        ]
        trace["meta"] = links.meta(look.asked, *ends, x=[links.bucket(round(x + 0.5)) for x in trace["x"]])
    return figure


def heatmap(look: Look) -> Figure:
    """A cell leads to its runs, a box to what they have more often than the others."""
    figure = charts.heatmap(look.cells(), look.window, deploys=look.deploys())
    numbers = figure["layout"]["meta"]["buckets"]
    for trace in figure["data"]:
        columns, rows = links.bins(look.window), [links.bucket(number) for number in numbers]
        trace["meta"] = links.meta(look.asked, links.NOT_CANCELLED, x=columns, y=rows)
    figure["layout"]["meta"] = {"box": links.box_meta(look.asked, look.window, numbers)}
    figure["layout"]["dragmode"] = "select"
    if look.asked.box:
        figure["layout"].setdefault("shapes", []).append(_box(look.asked.box, look.window, numbers))
    return figure


def waits(look: Look) -> Figure:
    """A point leads to the runs whose first attempt began then."""
    cells = look.cells(RollupKind.DELAY)
    figure = charts.percentiles(cells, look.window, deploys=look.deploys(), what="waited")
    for trace in figure["data"]:
        trace["meta"] = links.meta(look.asked, x=links.bins(look.window, "started"))
    return figure


def depth(look: Look) -> Figure:
    """A point leads to the runs that waited or ran then and have started, or ended, since."""
    queue = look.asked.queue
    figure = charts.depth(look.samples(), look.window, limit=bool(queue), deploys=look.deploys())
    own = [Term("queue", (queue,))] if queue else []
    pairs = {"waiting": ("created", "started"), "running": ("started", "finished")}
    for trace in figure["data"]:
        if trace["name"] in pairs:
            trace["meta"] = links.meta(Asked(), *own, x=links.across(look.window, *pairs[trace["name"]]))
    return figure


def slots(look: Look) -> Figure:
    """A cell leads to the runs of its queue that were running then and have ended since."""
    figure = charts.slots(look.samples(), look.window, deploys=look.deploys())
    names = figure["layout"].pop("meta")["queues"]
    for trace in figure["data"]:
        rows = [[Term("queue", (name,))] for name in names]
        trace["meta"] = links.meta(Asked(), x=links.across(look.window, "started", "finished"), y=rows)
    return figure


def _box(box: Box, window: Window, numbers: Sequence[int]) -> Figure:
    """The box that was dragged, on the map."""
    low = numbers[0] - 1 if box.over is None else place(box.over.total_seconds())
    high = numbers[-1] if box.under is None else place(box.under.total_seconds())
    return {
        "type": "rect",
        "x0": utc(box.since or window.start), "x1": utc(box.until or window.end), "y0": low, "y1": high,
        "line": {"color": "--focus", "width": 2},
    }  # fmt: skip


FIGURES: Final[dict[str, Callable[[Look], dict[str, Any]]]] = {
    "throughput": throughput,
    "failure-rate": failure_rate,
    "percentiles": percentiles,
    "durations": durations,
    "heatmap": heatmap,
    "waits": waits,
    "depth": depth,
    "slots": slots,
}
