"""A value that is watched: the figure of an alert."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from runs.charts.base import Figure, layout, line, marks, utc

#: A firing of a minute is drawn as wide as this part of a chart.
THINNEST = 250


def watched(
    bins: Sequence[tuple[datetime, float | None, str]],
    *,
    start: datetime,
    end: datetime,
    threshold: float,
    fired: Iterable[tuple[datetime, datetime]],
    suffix: str,
    deploys: Iterable[tuple[datetime, str]] = (),
) -> Figure:
    """A value over time, the threshold as a line, and the times at which an alert would have fired as areas.

    Args:
        bins: time, value (None: unmeasured, a gap) and its words.
        suffix: of the axis, such as ` %`.
    """
    highest = max([threshold, *(value for _, value, _ in bins if value is not None)])
    trace = {
        "type": "scatter",
        "mode": "lines",
        "name": "value",
        "x": [utc(at) for at, _, _ in bins],
        "y": [value for _, value, _ in bins],
        "customdata": [words for _, _, words in bins],
        "connectgaps": False,
        "line": {"color": "--ink2", "width": 1.5, "shape": "hv"},
        "hovertemplate": "%{x|%a %H:%M} · %{customdata}<extra></extra>",
    }
    found = layout(
        xaxis={
            "type": "date",
            "range": [utc(start), utc(end)],
            "tickformat": "%a %-d",
            "tickangle": 0,
            "nticks": 7,
        },
        yaxis={"range": [0, 1.15 * highest or 1], "ticksuffix": suffix, "nticks": 5},
    )
    found |= marks(deploys, timedelta(days=1))
    width = (end - start) / THINNEST
    areas = [_area(utc(since), utc(max(until, since + width))) for since, until in fired]
    limit = {**line(0), "xref": "paper", "x0": 0, "x1": 1, "yref": "y", "y0": threshold, "y1": threshold}
    limit["line"] = {"color": "--bad-fill", "width": 1.5, "dash": "dash"}
    found["shapes"] = [*areas, *found["shapes"], limit]
    drawn = any(value is not None for _, value, _ in bins)
    return {"data": [trace] if drawn else [], "layout": found}


def _area(x0: str, x1: str) -> Figure:
    place = {"type": "rect", "xref": "x", "yref": "paper", "x0": x0, "x1": x1, "y0": 0, "y1": 1}
    return {**place, "fillcolor": "--bad-soft", "line": {"width": 0}, "layer": "below"}
