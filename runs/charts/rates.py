"""How runs ended, over time."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime, timedelta

from runs.charts.base import COUNTED, FAILED, Cell, Figure, ceiling, layout, marks, utc


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
    drawn |= marks(deploys, size)
    return {"data": [trace] if any(ended) else [], "layout": drawn}
