"""What an address of Explore asks for, checked.

?span=24h&task=…&queue=…&version=…&worker=…&by=version     a time that ends now, what runs must be, a grouping
?from=2026-01-31T09:00&to=2026-01-31T15:00                 another time, UTC
&since=…&until=…&over=30s&under=1m                         a box of the map: when runs ended, how long they took
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlencode

from runs.charts import Window
from runs.filters import Params, Reader
from runs.search.values import duration_text

SPANS: Final = {
    "1h": timedelta(hours=1),
    "6h": timedelta(hours=6),
    "24h": timedelta(days=1),
    "7d": timedelta(days=7),
}
DEFAULT_SPAN: Final = "24h"
#: The longest time that one look covers.
LONGEST: Final = timedelta(days=31)
#: Minutes of a bin, and how many bins a chart has at most.
_SIZES: Final = (1, 5, 15, 30, 60, 120, 180, 360)
MAX_BINS: Final = 130
GROUPINGS: Final = ("task", "queue", "version", "worker", "tag")
_PLAIN: Final = ("task", "queue", "version", "worker")
BOX: Final = ("since", "until", "over", "under")
NAMES: Final = ("span", "from", "to", *_PLAIN, "by", *BOX)


@dataclass(frozen=True, slots=True)
class Box:
    """A part of the map: when runs ended, and how long they had taken. None is no bound."""

    since: datetime | None = None  # included
    until: datetime | None = None  # excluded
    over: timedelta | None = None  # included
    under: timedelta | None = None  # excluded

    def __bool__(self) -> bool:
        return any((self.since, self.until, self.over is not None, self.under is not None))


@dataclass(frozen=True, slots=True)
class Asked:
    """What to look at. `span` is a key of SPANS, or empty where `start` and `end` are said."""

    span: str = DEFAULT_SPAN
    start: datetime | None = None
    end: datetime | None = None
    task: str | None = None
    queue: str | None = None
    version: str | None = None
    worker: str | None = None
    by: str = GROUPINGS[0]
    box: Box = Box()

    @classmethod
    def parse(cls, params: Params) -> Asked:
        """Raises InvalidFilter, which names every parameter that does not fit, and what would."""
        reader = Reader(params)
        reader.refuse_unknown(NAMES)
        plain = {name: reader.text(name) for name in _PLAIN}
        start, end = reader.time("from"), reader.time("to")
        span = reader.choice("span", SPANS)
        by = reader.choice("by", GROUPINGS) or GROUPINGS[0]
        box = Box(reader.time("since"), reader.time("until"), reader.duration("over"), reader.duration("under"))
        reader.faults += _faults(start, end, box) if not reader.faults else []
        reader.done()
        said = start is not None and end is not None
        return cls(
            "" if said else span or DEFAULT_SPAN,
            start if said else None,
            end if said else None,
            **plain,
            by=by,
            box=box,
        )

    def window(self, now: datetime) -> Window:
        """The time that is looked at, in whole bins: what was asked for, and a little more at its ends."""
        end = self.end or now.replace(second=0, microsecond=0) + timedelta(minutes=1)
        start = self.start or end - SPANS[self.span]
        minutes = next(size for size in _SIZES if (end - start) / timedelta(minutes=size) <= MAX_BINS - 2)
        size = timedelta(minutes=minutes)
        first = start - _past(start, size)
        return Window(first, end + (size - _past(end, size)) % size, minutes)

    def at(self, window: Window) -> Asked:
        """The same at a time that does not move on."""
        return replace(self, span="", start=window.start, end=window.end)

    def params(self, **changes: str | None) -> list[tuple[str, str]]:
        """The parameters that ask for this, some of them changed; None takes one away."""
        found: dict[str, str | None] = {
            "span": self.span,
            "from": time_text(self.start),
            "to": time_text(self.end),
            **{name: getattr(self, name) for name in _PLAIN},
            "by": self.by if self.by != GROUPINGS[0] else None,
            "since": time_text(self.box.since),
            "until": time_text(self.box.until),
            "over": None if self.box.over is None else duration_text(self.box.over),
            "under": None if self.box.under is None else duration_text(self.box.under),
        }
        return [(name, value) for name, value in {**found, **changes}.items() if value]

    def address(self, **changes: str | None) -> str:
        """Those as the query of an address that people can read."""
        return f"?{urlencode(self.params(**changes), safe=':,')}"

    def without_box(self, **changes: str | None) -> str:
        return self.address(**dict.fromkeys(BOX), **changes)


def time_text(at: datetime | None) -> str | None:
    """As a field of a form has it, UTC: to the minute, or to the second where it needs them."""
    if at is None:
        return None
    at = at.astimezone(UTC)
    return f"{at:%Y-%m-%dT%H:%M}" if not at.second else f"{at:%Y-%m-%dT%H:%M:%S}"


def _past(at: datetime, size: timedelta) -> timedelta:
    """How far a time is behind the last beginning of a bin; those of hours begin with the day."""
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) % size


def _faults(start: datetime | None, end: datetime | None, box: Box) -> list[tuple[str, str]]:
    if start is not None and end is None:
        return [("to", "is missing; write where the time ends, or leave from empty as well")]
    if end is not None and start is None:
        return [("from", "is missing; write where the time begins, or leave to empty as well")]
    found = []
    if start is not None and end is not None:
        if end <= start:
            found.append(("to", "is not after from; write a later time"))
        elif end - start > LONGEST:
            found.append(("to", f"is more than {LONGEST.days} days after from; write an earlier time"))
    if box.since and box.until and box.until <= box.since:
        found.append(("until", "is not after the begin of the box; write a later time"))
    if box.under is not None and box.under <= (box.over or timedelta()):
        found.append(("under", "is not more than the shortest duration; write a longer one"))
    return found
