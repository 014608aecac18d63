"""How often something failed: the figure of a group of errors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from runs.charts.base import Figure, count_ticks, layout, marks, utc


def failed_tries(
    counts: Sequence[int], *, start: datetime, hours: int, deploys: Iterable[tuple[datetime, str]] = ()
) -> Figure:
    """How often something failed, in bins of so many hours from `start`, with a mark for each deploy. Without any
    failure it has no trace."""
    size = timedelta(hours=hours)
    ends = [start + size * (n + 1) for n in range(len(counts))]
    middles = [utc(end - size / 2) for end in ends]
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
    found = layout(
        xaxis={
            "type": "date",
            "range": [utc(start), utc(start + size * len(counts))],
            "tickangle": 0,
            "nticks": 5,
            "tickformat": "%H:%M" if hours == 1 else "%-d %b",
        },
        yaxis={"rangemode": "tozero", "tickformat": ",d", **count_ticks(highest)},
    )
    return {"data": [trace] if highest else [], "layout": found | {"bargap": 0.1} | marks(deploys, size)}
