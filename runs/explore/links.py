"""Where points of charts lead: to the runs behind them, as searches, and to the page itself with a box.

A figure does not hold an address for each of its thousands of points: a trace's `meta` has one, with {x} and {y} in it,
and what stands there for each column and row. `static/holdfast/chart.js` puts them together.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final
from urllib.parse import quote, urlencode

from django.urls import reverse

from runs import histogram
from runs.charts import FAILED, Window
from runs.explore.asked import Asked, time_text
from runs.search.terms import Term, text_of
from runs.search.values import Moment, duration_text, instant
from runs.states import Status

Terms = Sequence[Sequence[Term]]
FAILURES: Final = tuple(sorted(map(str, FAILED)))
#: A stack of the throughput, and the statuses in it.
ENDS: Final = {"completed": (str(Status.COMPLETED),), "failed": FAILURES, "cancelled": (str(Status.CANCELLED),)}

#: Beside a time of ends: completed or failed.
NOT_CANCELLED: Final = Term("status", (str(Status.CANCELLED),), negated=True)


def terms_of(asked: Asked) -> list[Term]:
    """What runs must be, without the time."""
    plain = {"queue": asked.queue, "task": asked.task, "version": asked.version, "worker": asked.worker}
    return [Term(name, (value,)) for name, value in plain.items() if value]


def runs_of(terms: Iterable[Term]) -> str:
    """The address of the list of these runs."""
    return f"{reverse('runs:runs')}?{urlencode({'q': text_of(terms)}, safe=':,')}"


def meta(
    asked: Asked, *terms: Term, x: Sequence[Sequence[Term]] = (), y: Sequence[Sequence[Term]] = ()
) -> dict[str, Any]:
    """Of a trace: the runs of its points. `x` and `y` are the terms of its columns and rows."""
    base = quote(text_of([*terms_of(asked), *terms]), safe=":,")
    holes = [hole for hole, parts in (("{x}", x), ("{y}", y)) if parts]
    return {
        "url": f"{reverse('runs:runs')}?q={'+'.join([*([base] if base else []), *holes])}",
        **{name: [_part(one) for one in parts] for name, parts in (("x", x), ("y", y)) if parts},
    }


def box_meta(asked: Asked, window: Window, numbers: Sequence[int]) -> dict[str, Any]:
    """Of the map: the page with the box that somebody drags. `at` are the edges to which it snaps, as an axis has them;
    `as` is how each is written in the address."""
    fixed = asked.at(window).without_box()
    edges = window.edges
    return {
        "url": f"{reverse('runs:explore')}{fixed}&since={{x0}}&until={{x1}}&over={{y0}}&under={{y1}}#differences",
        "x": {"at": [at.isoformat() for at in edges], "as": [time_text(at) for at in edges]},
        "y": {"at": [numbers[0] - 1, *numbers], "as": [edge_text(number) for number in [numbers[0] - 1, *numbers]]},
    }


def edge_text(number: int) -> str:
    """The upper bound of a bucket as a duration of an address, to the millisecond; empty for no bound."""
    if number < 0 or number >= histogram.LAST:
        return ""
    return duration_text(timedelta(milliseconds=max(1, round(histogram.bounds(number)[1] * 1000))))


def within(field: str, since: datetime | None, until: datetime | None) -> list[Term]:
    """It was from then, included, to then, excluded."""
    found = [Term(field, (_moment(since),), ">=")] if since else []
    return [*found, Term(field, (_moment(until),), "<")] if until else found


def lasted(over: timedelta | None, under: timedelta | None) -> list[Term]:
    """From its creation to its end it took so long."""
    found = [Term("total", (over,), ">=")] if over else []
    return [*found, Term("total", (under,), "<")] if under is not None else found


def bins(window: Window, field: str = "finished") -> list[list[Term]]:
    """Of each column: the runs that ended in it."""
    edges = window.edges
    return [within(field, start, end) for start, end in pairwise(edges)]


def across(window: Window, begun: str, over: str) -> list[list[Term]]:
    """Of each column: the runs in which one thing had happened by its end, and the other not before its beginning."""
    edges = window.edges
    return [[*within(begun, None, end), *within(over, start, None)] for start, end in pairwise(edges)]


def during(window: Window) -> list[Term]:
    """Of the whole time."""
    return within("finished", window.start, window.end)


def bucket(number: int) -> list[Term]:
    """Of a row: the runs that took so long. A search knows milliseconds: of shorter runs it finds a few more."""
    low, high = histogram.bounds(number)
    under = None if high == math.inf else timedelta(milliseconds=math.ceil(high * 1000))
    return lasted(timedelta(milliseconds=math.floor(low * 1000)), under)


def _part(terms: Sequence[Term]) -> str:
    return quote(text_of(terms), safe=":,")


def _moment(at: datetime) -> Moment:
    """With the fewest digits that mean it."""
    if at.microsecond:
        return instant(at)
    return Moment(at, at + (timedelta(seconds=1) if at.second else timedelta(minutes=1)))
