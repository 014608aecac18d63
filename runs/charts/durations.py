"""How long runs took: a histogram, percentiles over time, and both as a map of time and duration."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime

from holdfast.words import duration
from runs import histogram
from runs.charts.base import (
    COUNTED,
    FAILED,
    Cell,
    Figure,
    Window,
    count_ticks,
    layout,
    line,
    note,
    time_axis,
    utc,
    window_marks,
)

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
#: The percentiles that are drawn over time, with the colour and the dash of their lines.
LINES = ((0.5, "--ink3", "solid"), (0.95, "--ink", "solid"), (0.99, "--ink3", "dot"))
#: So that a histogram of one bucket does not fill the whole width with one bar.
FEWEST_BUCKETS = 12
#: Seconds: what is shorter stands on the lower end of a logarithmic axis.
LEAST = 0.0005
#: What the words beside the mark of p95 need at its right, as a share of the axis.
NOTE_WIDTH = 0.2


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
    low, high = span(both)
    numbers = list(range(low, high + 1))
    marks = [(q, histogram.percentile(both, q)) for q in (0.5, 0.95)]
    right = max(place(value) for _, value in marks if value is not None) if both else 0
    drawn = layout(
        xaxis={
            "range": [low - 1, max(high, right + NOTE_WIDTH * (high - low + 1))],
            "tickvals": [place(seconds) for seconds, _ in TICKS],
            "ticktext": [text for _, text in TICKS],
        },
        yaxis={"rangemode": "tozero", "tickformat": ",d", **count_ticks(max(both.values(), default=0))},
    )
    drawn |= {"barmode": "stack", "bargap": 0.08}
    drawn["shapes"] = [line(place(value)) for _, value in marks if value is not None]
    drawn["annotations"] = [
        note(place(value), f"p{q * 100:.0f} {duration(value)}", row) for row, (q, value) in enumerate(marks) if value
    ]
    data = [
        _bars("completed", "--good-fill", numbers, counts[False]),
        _bars("failed", "--bad-fill", numbers, counts[True]),
    ]
    return {"data": data if both else [], "layout": drawn}


def percentiles(
    cells: Iterable[Cell], window: Window, *, deploys: Iterable[tuple[datetime, str]] = (), what: str = "took"
) -> Figure:
    """p50, p95 and p99 of the durations of each bin, in seconds on a logarithmic axis. A bin without any is a gap.

    `what` is said of runs: that they took so long, or waited. Without durations it has no traces.
    """
    bins: list[dict[int, int]] = [{} for _ in range(window.bins)]
    for cell in cells:
        if (place := window.place(cell.minute)) is not None:
            bins[place][cell.bucket] = bins[place].get(cell.bucket, 0) + cell.count
    times = [utc(at) for at in window.edges[:-1]]
    counts = [sum(found.values()) for found in bins]
    data = []
    for q, color, dash in LINES:
        values = [histogram.percentile(found, q) for found in bins]
        texts = [
            f"p{q * 100:.0f}: {part(q)} {what} at most {duration(value)}, of {count:,}"
            for value, count in zip(values, counts, strict=True)
        ]
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": f"p{q * 100:.0f}",
                "x": times,
                # A logarithmic axis has no zero.
                "y": [None if value is None else round(max(value, LEAST), 6) for value in values],
                "text": texts,
                "connectgaps": False,
                "line": {"color": color, "width": 2 if q == 0.95 else 1.25, "dash": dash},
                "marker": {"color": color, "size": 3},
                "hovertemplate": "%{x|" + window.hover + "} · %{text}<extra></extra>",
            }
        )
    drawn = layout(
        xaxis=time_axis(window),
        yaxis={
            "type": "log",
            "tickvals": [seconds for seconds, _ in TICKS],
            "ticktext": [text for _, text in TICKS],
        },
    )
    drawn |= window_marks(deploys, window)
    return {"data": data if any(counts) else [], "layout": drawn}


def part(q: float) -> str:
    """A share of runs in words: `half`, `95 of 100`."""
    return "half" if q == 0.5 else f"{q * 100:.0f} of 100"


def heatmap(cells: Iterable[Cell], window: Window, *, deploys: Iterable[tuple[datetime, str]] = ()) -> Figure:
    """When runs ended and how long they had taken: the stronger the shade, the more. Both are logarithmic.

    Row n of the map is the bucket `layout["meta"]["buckets"][n]`. Without ended runs it has no traces.
    """
    counts: dict[tuple[int, int], list[int]] = {}
    for cell in cells:
        column = window.place(cell.minute)
        if column is not None and cell.status in COUNTED:
            found = counts.setdefault((cell.bucket, column), [0, 0])
            found[0] += cell.count
            found[1] += cell.count if cell.status in FAILED else 0
    low, high = span(histogram.merge((bucket, n) for (bucket, _), (n, _) in counts.items()))
    numbers = list(range(low, high + 1))
    edges = window.edges
    shades: list[list[float | None]] = []
    texts: list[list[str]] = []
    for number in numbers:
        row = [counts.get((number, column)) for column in range(window.bins)]
        shades.append([round(math.log10(found[0]), 3) if found else None for found in row])
        texts.append([f"{found[0]:,} runs, {found[1]:,} failed" if found else "" for found in row])
    trace = {
        "type": "heatmap",
        "x": [utc(at) for at in edges],
        "y": [number - 1 for number in numbers] + [high],
        "z": shades,
        "text": texts,
        "zmin": -0.3,  # one run is to be seen
        "zmax": max([shade for row in shades for shade in row if shade is not None], default=1) or 1,
        "colorscale": [[0, "--line"], [1, "--ink"]],
        "showscale": False,
        # An image with a pixel for each cell, which data.css keeps from being smoothed. Without "fast" Plotly would say
        # so in a style attribute, which our policy forbids.
        "zsmooth": "fast",
        "hoverongaps": False,
        "hovertemplate": "%{x|" + window.hover + "} · %{text}<extra></extra>",
    }
    drawn = layout(
        xaxis=time_axis(window),
        yaxis={
            "range": [low - 1, high],
            "tickvals": [place(seconds) for seconds, _ in TICKS],
            "ticktext": [text for _, text in TICKS],
        },
    )
    drawn |= window_marks(deploys, window)
    drawn["meta"] = {"buckets": numbers}
    return {"data": [trace] if counts else [], "layout": drawn}


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


def span(counts: dict[int, int]) -> tuple[int, int]:
    if not counts:
        return histogram.bucket(0.01), histogram.bucket(60)
    low, high = min(counts) - 1, max(counts) + 1
    missing = max(0, FEWEST_BUCKETS - (high - low + 1))
    low = max(0, low - missing // 2)
    return low, min(histogram.LAST, max(high, low + FEWEST_BUCKETS - 1))


def place(seconds: float) -> float:
    """Where a duration stands on an axis on which bucket b covers b - 1 to b."""
    return histogram.PER_OCTAVE * math.log2(seconds / histogram.SMALLEST) if seconds > histogram.SMALLEST / 2 else -1.0
