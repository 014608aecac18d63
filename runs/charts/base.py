"""What all figures share: the axes, marks in time, ticks, and colours by the names of design tokens."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from runs.states import Status

Figure = dict[str, Any]

#: Ends that count as failures. A cancelled run was somebody's wish: it is in neither part of the rate.
FAILED = frozenset({Status.FAILED, Status.TIMED_OUT, Status.CRASHED, Status.EXPIRED, Status.UNKNOWN})
COUNTED = FAILED | {Status.COMPLETED}

#: Deploys that are marked in a chart, and characters of their tasks' names.
MAX_MARKS, MAX_NAMES = 20, 200


@dataclass(frozen=True, slots=True)
class Cell:
    """What charts need of a rollup row: `count` runs that ended in `minute` with `status` after about `bucket`."""

    minute: datetime
    status: str
    bucket: int
    count: int


def layout(*, xaxis: Figure, yaxis: Figure) -> Figure:
    return {
        "margin": {"l": 44, "r": 12, "t": 24, "b": 32},
        "xaxis": xaxis,
        "yaxis": {"fixedrange": True, **yaxis},
    }


def marks(deploys: Iterable[tuple[datetime, str]], size: timedelta) -> Figure:
    """Lines where deploys were; those of one bin are one."""
    bins: dict[int, list[tuple[datetime, str]]] = {}
    for at, name in sorted(deploys):
        bins.setdefault(int(at.timestamp() // size.total_seconds()), []).append((at, name))
    shapes, notes = [], []
    for found in list(bins.values())[-MAX_MARKS:]:
        at, name = found[0]
        shapes.append(line(utc(at)))
        words = "deploy" if len(found) == 1 else f"{len(found)} deploys"
        names = ", ".join(dict.fromkeys(name for _, name in found))
        hover = names if len(names) <= MAX_NAMES else names[:MAX_NAMES] + "…"
        notes.append({**note(utc(at), words, 1), "hovertext": f"{at.astimezone(UTC):%H:%M} new code of {hover}"})
    return {"shapes": shapes, "annotations": notes}


def line(x: float | str) -> Figure:
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


def note(x: float | str, text: str, row: int) -> Figure:
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


def ceiling(percent: float) -> float:
    """The upper end of the axis: small rates stay readable, and the axis does not jump with each point."""
    return next(step for step in (1, 2, 5, 10, 25, 50, 105) if percent * 1.05 <= step)


def count_ticks(highest: int) -> Figure:
    """There is no half run: few of them get a tick each."""
    return {"nticks": 5} if highest >= 5 else {"dtick": 1}


def utc(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
