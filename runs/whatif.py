"""What a proposed limit of a queue would have done to the last day's runs: arrivals from the database, and figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from holdfast import db
from holdfast.access.selectors import database_now
from queues import services
from queues.models import Queue
from queues.whatif import Arrival, Limits, Outcome, percentile, simulate
from runs.charts import Figure
from runs.filters import first_id
from runs.store import SQL

#: How far back arrivals are taken from, and how many at most: the latest.
SPAN: Final = timedelta(hours=24)
MOST: Final = 50_000
#: Points of the figure at most.
BINS: Final = 144


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The arrivals of a queue under its limits as they are, and as they are proposed."""

    queue: Queue
    proposed: Queue
    start: datetime  # of the first arrival that is counted
    end: datetime
    runs: int
    more: bool  # there were more arrivals than MOST; the earlier ones are left out
    before: Outcome
    after: Outcome
    figure: Figure


def what_if(name: str, changes: dict[str, Any]) -> WhatIf:
    """Replays the last day's arrivals of a queue by simulation; changes nothing.

    Args:
        changes: as `queues.services.queue_update` takes them.

    Raises:
        QueueNotFound, InvalidChange.
    """
    queue, proposed = services.queue_proposed(name, changes)
    end = database_now()
    arrivals = _arrivals(queue, end - SPAN)
    more = len(arrivals) > MOST
    arrivals = arrivals[-MOST:]
    before = simulate(arrivals, Limits.of(queue))
    after = simulate(arrivals, Limits.of(proposed))
    first = datetime.fromtimestamp(arrivals[0].at, UTC) if arrivals else end - SPAN
    drawn = figure(arrivals, before.waits, after.waits, end=end.timestamp())
    return WhatIf(queue, proposed, first, end, len(arrivals), more, before, after, drawn)


def _arrivals(queue: Queue, since: datetime) -> list[Arrival]:
    """Runs of the queue that were enqueued since then and have started, in their order; one more than MOST at most."""
    values = {"queue": queue.pk, "first": first_id(since), "limit": MOST + 1}
    with db.callers() as conn:
        rows = conn.execute(SQL.arrivals, values).fetchall()
    return [Arrival._make(row) for row in reversed(rows)]


def figure(arrivals: Sequence[Arrival], before: Sequence[float], after: Sequence[float], *, end: float) -> Figure:
    """p95 of the waits over time, before and after, by when the runs came. Without arrivals it has no traces."""
    if not arrivals:
        return {"data": [], "layout": {}}
    start = arrivals[0].at
    size = max(60.0, math.ceil((end - start) / BINS / 60) * 60.0)
    bins: dict[int, list[int]] = {}
    for number, arrival in enumerate(arrivals):
        bins.setdefault(int((arrival.at - start) // size), []).append(number)
    times = [_time(start + (place + 0.5) * size) for place in sorted(bins)]

    def trace(label: str, color: str, dash: str, waits: Sequence[float]) -> Figure:
        tops = [percentile(sorted(waits[n] for n in bins[place]), 0.95) for place in sorted(bins)]
        return {
            "type": "scatter",
            "mode": "lines+markers" if len(bins) < 24 else "lines",
            "name": label,
            "x": times,
            "y": [round(top, 3) for top in tops],
            "line": {"color": color, "width": 2, "dash": dash},
            "marker": {"color": color, "size": 4},
            "hovertemplate": "%{x|%H:%M} · %{y:,.1f} s " + label + "<extra></extra>",
        }

    return {
        "data": [trace("now", "--ink2", "dot", before), trace("proposed", "--run-fill", "solid", after)],
        "layout": {
            "margin": {"l": 44, "r": 12, "t": 12, "b": 32},
            "xaxis": {"type": "date", "tickangle": 0, "nticks": 4, "hoverformat": "%H:%M"},
            "yaxis": {"rangemode": "tozero", "ticksuffix": " s", "nticks": 4},
        },
    }


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
