"""How runs ended, over time: how many, and which share of them failed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime, timedelta

from runs.charts.base import (
    COUNTED,
    FAILED,
    NOTE_ROOM,
    Cell,
    Figure,
    Window,
    ceiling,
    count_ticks,
    layout,
    marks,
    time_axis,
    utc,
    window_marks,
)
from runs.states import Status

#: What is stacked, from below, with its colour.
_ENDS = (("completed", "--good-fill"), ("failed", "--bad-fill"), ("cancelled", "--idle-fill"))


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
    times = [utc(start + size * n) for n in range(bins)]
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
    drawn = layout(
        xaxis={
            "type": "date",
            "range": [times[0], utc(end)],
            "hoverformat": "%H:%M",
            "tickangle": 0,
            "nticks": 5,
        },
        yaxis={"range": [0, ceiling(highest)], "ticksuffix": " %", "rangemode": "tozero", "nticks": 5},
    )
    drawn |= marks(deploys, size, (end - start) * NOTE_ROOM)
    return {"data": [trace] if any(ended) else [], "layout": drawn}


def throughput(cells: Iterable[Cell], window: Window, *, deploys: Iterable[tuple[datetime, str]] = ()) -> Figure:
    """How many runs ended in each bin, stacked: completed, failed, cancelled. Without ended runs it has no traces."""
    counts = {name: [0] * window.bins for name, _ in _ENDS}
    for cell in cells:
        if (place := window.place(cell.minute)) is not None and (name := ended_as(cell.status)):
            counts[name][place] += cell.count
    times = [utc(at) for at in window.edges[:-1]]
    data = [
        {
            "type": "bar",
            "name": name,
            "x": times,
            "y": counts[name],
            "offset": 0,
            "width": window.size.total_seconds() * 1000,
            "marker": {"color": color, "line": {"width": 0}},
            "hovertemplate": "%{x|" + window.hover + "} · %{y:,} " + name + "<extra></extra>",
        }
        for name, color in _ENDS
        if any(counts[name])
    ]
    highest = max(map(sum, zip(*counts.values(), strict=True)))
    drawn = layout(xaxis=time_axis(window), yaxis={"rangemode": "tozero", "tickformat": ",d", **count_ticks(highest)})
    drawn |= {"barmode": "stack", "bargap": 0}
    drawn |= window_marks(deploys, window)
    return {"data": data, "layout": drawn}


def ended_as(status: str) -> str:
    """The part of a stack in which an end is counted; empty for what is none."""
    if status in FAILED:
        return "failed"
    return str(status) if status in (Status.COMPLETED, Status.CANCELLED) else ""
