"""How queues stood, over time: what waited and ran, and which part of their slots they used."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from queues.samples import SampleBin
from runs.charts.base import Figure, Window, count_ticks, layout, time_axis, utc, window_marks

#: Queues of the map of slots: those whose slots were used most.
MAX_ROWS = 12
#: Characters of a queue's name beside the map.
MAX_NAME = 18


def depth(
    samples: Sequence[SampleBin], window: Window, *, limit: bool, deploys: Iterable[tuple[datetime, str]] = ()
) -> Figure:
    """What waited and what ran, the highest sample of each bin, of all queues together; a bin without one is a gap.

    With `limit`, of one queue: its limit too. Without samples it has no traces.
    """
    waiting: list[int | None] = [None] * window.bins
    running: list[int | None] = [None] * window.bins
    limits: list[int | None] = [None] * window.bins
    for sample in samples:
        if (place := window.place(sample.start)) is not None:
            waiting[place] = (waiting[place] or 0) + sample.depth
            running[place] = (running[place] or 0) + sample.running
            limits[place] = sample.concurrency_limit
    data = [
        _line("waiting", "--queue-fill", waiting, window) | {"fill": "tozeroy", "fillcolor": "--queue-soft"},
        _line("running", "--run-fill", running, window),
    ]
    if limit and any(limits):
        data.append(
            _line("limit", "--ink3", limits, window) | {"line": {"color": "--ink3", "width": 1, "dash": "dash"}}
        )
    highest = max((value for values in (waiting, running) for value in values if value), default=0)
    drawn = layout(xaxis=time_axis(window), yaxis={"rangemode": "tozero", "tickformat": ",d", **count_ticks(highest)})
    drawn |= window_marks(deploys, window)
    return {"data": data if samples else [], "layout": drawn}


def _line(name: str, color: str, values: Sequence[int | None], window: Window) -> Figure:
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": name,
        "x": [utc(at) for at in window.edges[:-1]],
        "y": list(values),
        "connectgaps": False,
        "line": {"color": color, "width": 2, "shape": "hv"},
        "marker": {"color": color, "size": 3},
        "hovertemplate": "%{x|" + window.hover + "} · %{y:,} " + name + "<extra></extra>",
    }


def slots(samples: Sequence[SampleBin], window: Window, *, deploys: Iterable[tuple[datetime, str]] = ()) -> Figure:
    """Which part of its slots each queue with a limit used at most in each bin: the stronger the shade, the more.

    Row n is the queue `layout["meta"]["queues"][n]`. Without such queues it has no traces.
    """
    found: dict[str, list[SampleBin | None]] = {}
    for sample in samples:
        if sample.share is not None and (place := window.place(sample.start)) is not None:
            found.setdefault(sample.queue, [None] * window.bins)[place] = sample
    most = sorted(found, key=lambda name: (-max(one.share or 0 for one in found[name] if one), name))[:MAX_ROWS]
    names = sorted(most, reverse=True)  # the axis goes up
    rows = [found[name] for name in names]
    trace = {
        "type": "heatmap",
        "x": [utc(at) for at in window.edges],
        "y": list(range(len(names) + 1)),
        "z": [[None if one is None else round(min(one.share or 0, 1), 3) for one in row] for row in rows],
        "text": [["" if one is None else _words(one) for one in row] for row in rows],
        "zmin": 0,
        "zmax": 1,
        "colorscale": [[0, "--sunken"], [1, "--ink"]],
        "showscale": False,
        "hoverongaps": False,
        "zsmooth": "fast",  # as in the map of durations
        "hovertemplate": "%{x|" + window.hover + "} · %{text}<extra></extra>",
    }
    drawn = layout(
        xaxis=time_axis(window),
        yaxis={
            "range": [0, len(names)],
            "tickvals": [number + 0.5 for number in range(len(names))],
            "ticktext": [name if len(name) <= MAX_NAME else name[:MAX_NAME] + "…" for name in names],
            "showgrid": False,
        },
    )
    drawn |= window_marks(deploys, window)
    drawn["meta"] = {"queues": names}
    return {"data": [trace] if names else [], "layout": drawn}


def _words(sample: SampleBin) -> str:
    paused = ", paused" if sample.paused else ""
    return f"{sample.queue}: {sample.running:,} of {sample.concurrency_limit:,} slots{paused}, {sample.depth:,} waiting"
