"""Plotly figures from rollups: plain dictionaries, ready for JSON, tested without a browser.

A colour is the name of a design token, such as `--bad-fill`; `static/holdfast/chart.js` puts the token's value of the
current theme in its place, and themes what is not said here, so one figure serves light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from holdfast.words import duration
from runs import histogram
from runs.states import Status

Figure = dict[str, Any]

#: Ends that count as failures. A cancelled run was somebody's wish: it is in neither part of the rate.
FAILED = frozenset({Status.FAILED, Status.TIMED_OUT, Status.CRASHED, Status.EXPIRED, Status.UNKNOWN})
COUNTED = FAILED | {Status.COMPLETED}

TICKS = (
    (0.001, "1 ms"),
    (0.01, "10 ms"),
    (0.1, "100 ms"),
    (1.0, "1 s"),
    (10.0, "10 s"),
    (60.0, "1 min"),
    (600.0, "10 min"),
    (3600.0, "1 h"),
    (36000.0, "10 h"),
    (86400.0 * 7, "1 week"),
)
#: So that a histogram of one bucket does not fill the whole width with one bar.
FEWEST_BUCKETS = 12
#: What the words beside the mark of p95 need at its right, as a share of the axis.
NOTE_WIDTH = 0.2
#: Deploys that are marked in a chart, and characters of their tasks' names.
MAX_MARKS, MAX_NAMES = 20, 200


@dataclass(frozen=True, slots=True)
class Cell:
    """What charts need of a rollup row: `count` runs that ended in `minute` with `status` after about `bucket`."""

    minute: datetime
    status: str
    bucket: int
    count: int


def failure_rate(
    cells: Iterable[Cell],
    *,
    start: datetime,
    end: datetime,
    bin_minutes: int = 1,
    deploys: Iterable[tuple[datetime, str]] = (),
) -> Figure:
    """The share of ended runs that failed, in bins of `bin_minutes` from `start` to `end`, with a mark for each time at
    which other code of a task came.

    A bin in which nothing ended has no value: a gap, never 0 %. A window in which nothing ended has no trace at all.
    """
    size = timedelta(minutes=bin_minutes)
    bins = max(1, math.ceil((end - start) / size))
    ended = [0] * bins
    failed = [0] * bins
    for cell in cells:
        place = (cell.minute - start) // size
        if 0 <= place < bins and cell.status in COUNTED:
            ended[place] += cell.count
            failed[place] += cell.count if cell.status in FAILED else 0
    times = [_utc(start + size * n) for n in range(bins)]
    rates = [round(100 * bad / all_, 3) if all_ else None for bad, all_ in zip(failed, ended, strict=True)]
    highest = max((rate for rate in rates if rate is not None), default=0)
    trace = {
        "type": "scatter",
        "mode": "lines+markers",
        "name": "failure rate",
        "x": times,
        "y": rates,
        "customdata": [list(pair) for pair in zip(failed, ended, strict=True)],
        "connectgaps": False,
        "line": {"color": "--bad-fill", "width": 2, "shape": "linear"},
        "marker": {"color": "--bad-fill", "size": 4},
        "hovertemplate": "%{x|%H:%M} · %{customdata[0]:,} of %{customdata[1]:,} failed (%{y:.1f} %)<extra></extra>",
    }
    layout = _layout(
        xaxis={
            "type": "date",
            "range": [times[0], _utc(end)],
            "hoverformat": "%H:%M",
            "tickangle": 0,
            "nticks": 5,
        },
        yaxis={"range": [0, _ceiling(highest)], "ticksuffix": " %", "rangemode": "tozero", "nticks": 5},
    )
    layout |= _marks(deploys, size)
    return {"data": [trace] if any(ended) else [], "layout": layout}


def _marks(deploys: Iterable[tuple[datetime, str]], size: timedelta) -> Figure:
    """Lines where deploys were; those of one bin are one."""
    bins: dict[int, list[tuple[datetime, str]]] = {}
    for at, name in sorted(deploys):
        bins.setdefault(int(at.timestamp() // size.total_seconds()), []).append((at, name))
    shapes, notes = [], []
    for found in list(bins.values())[-MAX_MARKS:]:
        at, name = found[0]
        shapes.append(_line(_utc(at)))
        words = "deploy" if len(found) == 1 else f"{len(found)} deploys"
        names = ", ".join(dict.fromkeys(name for _, name in found))
        hover = names if len(names) <= MAX_NAMES else names[:MAX_NAMES] + "…"
        notes.append({**_note(_utc(at), words, 1), "hovertext": f"{at.astimezone(UTC):%H:%M} new code of {hover}"})
    return {"shapes": shapes, "annotations": notes}


def failed_tries(
    counts: Sequence[int], *, start: datetime, hours: int, deploys: Iterable[tuple[datetime, str]] = ()
) -> Figure:
    """How often something failed, in bins of so many hours from `start`, with a mark for each deploy. Without any
    failure it has no trace."""
    size = timedelta(hours=hours)
    ends = [start + size * (n + 1) for n in range(len(counts))]
    middles = [_utc(end - size / 2) for end in ends]
    texts = [f"{end - size:%a %d %b %H:%M} – {end:%H:%M}" for end in ends]
    trace = {
        "type": "bar",
        "name": "failed tries",
        "x": middles,
        "y": list(counts),
        "text": texts,
        "textposition": "none",
        "marker": {"color": "--bad-fill"},
        "hovertemplate": "%{text} UTC: %{y:,} failed<extra></extra>",
    }
    highest = max(counts, default=0)
    layout = _layout(
        xaxis={
            "type": "date",
            "range": [_utc(start), _utc(start + size * len(counts))],
            "tickangle": 0,
            "nticks": 5,
            "tickformat": "%H:%M" if hours == 1 else "%-d %b",
        },
        yaxis={"rangemode": "tozero", "tickformat": ",d", **_count_ticks(highest)},
    )
    return {"data": [trace] if highest else [], "layout": layout | {"bargap": 0.1} | _marks(deploys, size)}


def duration_histogram(cells: Iterable[Cell]) -> Figure:
    """How long ended runs took, on a logarithmic axis, completed and failed stacked, with p50 and p95 marked.

    Without ended runs it has no traces.
    """
    counts: dict[bool, dict[int, int]] = {False: {}, True: {}}
    for cell in cells:
        if cell.status in COUNTED:
            part = counts[cell.status in FAILED]
            part[cell.bucket] = part.get(cell.bucket, 0) + cell.count
    both = histogram.merge([*counts[False].items(), *counts[True].items()])
    low, high = _span(both)
    numbers = list(range(low, high + 1))
    marks = [(q, histogram.percentile(both, q)) for q in (0.5, 0.95)]
    right = max(_place(value) for _, value in marks if value is not None) if both else 0
    layout = _layout(
        xaxis={
            "range": [low - 1, max(high, right + NOTE_WIDTH * (high - low + 1))],
            "tickvals": [_place(seconds) for seconds, _ in TICKS],
            "ticktext": [text for _, text in TICKS],
        },
        yaxis={"rangemode": "tozero", "tickformat": ",d", **_count_ticks(max(both.values(), default=0))},
    )
    layout |= {"barmode": "stack", "bargap": 0.08}
    layout["shapes"] = [_line(_place(value)) for _, value in marks if value is not None]
    layout["annotations"] = [
        _note(_place(value), f"p{q * 100:.0f} {duration(value)}", row) for row, (q, value) in enumerate(marks) if value
    ]
    data = [
        _bars("completed", "--good-fill", numbers, counts[False]),
        _bars("failed", "--bad-fill", numbers, counts[True]),
    ]
    return {"data": data if both else [], "layout": layout}


def _bars(name: str, color: str, numbers: list[int], counts: dict[int, int]) -> Figure:
    texts = []
    for number in numbers:
        low, high = histogram.bounds(number)
        texts.append(f"over {duration(low)}" if high == math.inf else f"{duration(low)} – {duration(high)}")
    return {
        "type": "bar",
        "name": name,
        "x": [number - 0.5 for number in numbers],
        "y": [counts.get(number, 0) for number in numbers],
        "text": texts,
        "textposition": "none",
        "marker": {"color": color},
        "hovertemplate": "%{text}: %{y:,} " + name + "<extra></extra>",
    }


def _layout(*, xaxis: Figure, yaxis: Figure) -> Figure:
    return {
        "margin": {"l": 44, "r": 12, "t": 24, "b": 32},
        "xaxis": xaxis,
        "yaxis": {"fixedrange": True, **yaxis},
    }


def _line(x: float | str) -> Figure:
    return {
        "type": "line",
        "xref": "x",
        "yref": "paper",
        "x0": x,
        "x1": x,
        "y0": 0,
        "y1": 1,
        "line": {"color": "--ink3", "width": 1, "dash": "dot"},
    }


def _note(x: float | str, text: str, row: int) -> Figure:
    """`row` 0 stands at the left of its line and row 1 at the right, so that close percentiles do not overlap."""
    return {
        "x": x,
        "y": 1,
        "xref": "x",
        "yref": "paper",
        "text": text,
        "showarrow": False,
        "xanchor": "left" if row else "right",
        "yanchor": "bottom",
        "font": {"color": "--ink3", "size": 11},
    }


def _span(counts: dict[int, int]) -> tuple[int, int]:
    if not counts:
        return histogram.bucket(0.01), histogram.bucket(60)
    low, high = min(counts) - 1, max(counts) + 1
    missing = max(0, FEWEST_BUCKETS - (high - low + 1))
    low = max(0, low - missing // 2)
    return low, min(histogram.LAST, max(high, low + FEWEST_BUCKETS - 1))


def _place(seconds: float) -> float:
    """Where a duration stands on an axis on which bucket b covers b - 1 to b."""
    return histogram.PER_OCTAVE * math.log2(seconds / histogram.SMALLEST) if seconds > histogram.SMALLEST / 2 else -1.0


def _ceiling(percent: float) -> float:
    """The upper end of the axis: small rates stay readable, and the axis does not jump with each point."""
    return next(step for step in (1, 2, 5, 10, 25, 50, 105) if percent * 1.05 <= step)


def _count_ticks(highest: int) -> Figure:
    """There is no half run: few of them get a tick each."""
    return {"nticks": 5} if highest >= 5 else {"dtick": 1}


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
