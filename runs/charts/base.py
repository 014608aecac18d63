"""What all figures share: the axes, marks in time, ticks, and colours by the names of design tokens."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
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
#: What the words beside a mark need at its right, as a share of the time.
NOTE_ROOM = 0.15


@dataclass(frozen=True, slots=True)
class Cell:
    """What charts need of a rollup row: `count` runs that ended in `minute` with `status` after about `bucket`."""

    minute: datetime
    status: str
    bucket: int
    count: int


@dataclass(frozen=True, slots=True)
class Window:
    """A span of time in bins of `minutes`, from the beginning of the first to the end of the last."""

    start: datetime
    end: datetime
    minutes: int

    @property
    def size(self) -> timedelta:
        return timedelta(minutes=self.minutes)

    @property
    def bins(self) -> int:
        return max(1, math.ceil((self.end - self.start) / self.size))

    @property
    def edges(self) -> list[datetime]:
        """Where bins begin, and the end."""
        return [self.start + self.size * n for n in range(self.bins + 1)]

    def place(self, at: datetime) -> int | None:
        """The number of the bin in which a time is; None when it is in none."""
        number = (at - self.start) // self.size
        return number if 0 <= number < self.bins else None

    @property
    def hover(self) -> str:
        """How a time of it is written for a reader: with its day where there are several."""
        return "%H:%M" if self.end - self.start <= timedelta(days=1) else "%a %d %b %H:%M"


def time_axis(window: Window) -> Figure:
    return {
        "type": "date",
        "range": [utc(window.start), utc(window.end)],
        "hoverformat": window.hover,
        "tickangle": 0,
        "nticks": 5,
    }


def layout(*, xaxis: Figure, yaxis: Figure) -> Figure:
    return {
        "margin": {"l": 44, "r": 12, "t": 24, "b": 32},
        "xaxis": xaxis,
        "yaxis": {"fixedrange": True, **yaxis},
    }


def marks(deploys: Iterable[tuple[datetime, str]], size: timedelta, room: timedelta = timedelta()) -> Figure:
    """Lines where deploys were; those of one bin of `size` are one. A line speaks for those within `room` behind it as
    well: their words would lie upon each other."""
    bins: dict[int, list[tuple[datetime, str]]] = {}
    for at, name in sorted(deploys):
        bins.setdefault(int(at.timestamp() // size.total_seconds()), []).append((at, name))
    shown = list(bins.values())[-MAX_MARKS:]
    spoken: list[list[tuple[datetime, str]]] = []
    for found in shown:
        if spoken and found[0][0] - spoken[-1][0][0] < room:
            spoken[-1] += found
        else:
            spoken.append(list(found))
    return {"shapes": [line(utc(found[0][0])) for found in shown], "annotations": [_spoken(found) for found in spoken]}


def window_marks(deploys: Iterable[tuple[datetime, str]], window: Window) -> Figure:
    """The marks of a chart over a window."""
    return marks(deploys, window.size, (window.end - window.start) * NOTE_ROOM)


def _spoken(found: Sequence[tuple[datetime, str]]) -> Figure:
    at = found[0][0]
    words = "deploy" if len(found) == 1 else f"{len(found)} deploys"
    names = ", ".join(dict.fromkeys(name for _, name in found))
    hover = names if len(names) <= MAX_NAMES else names[:MAX_NAMES] + "…"
    return {**note(utc(at), words, 1), "hovertext": f"{at.astimezone(UTC):%H:%M} new code of {hover}"}


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
