"""How long runs took: a histogram."""

from __future__ import annotations

import math
from collections.abc import Iterable

from holdfast.words import duration
from runs import histogram
from runs.charts.base import COUNTED, FAILED, Cell, Figure, count_ticks, layout, line, note

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
