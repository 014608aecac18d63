"""Pages of a run's log, for readers who hold a part of it: by sequence, around a line or a time, narrowed by level,
step, attempt and words. A search looks at LOOK lines at most before it answers, and says how far it has looked."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final

from holdfast import db
from holdfast.redaction import hidden_keys
from runs.filters import Params, Reader
from runs.levels import LEVELS
from runs.live import LINE, Message, log_line
from runs.models import LogLine
from runs.store import SQL

#: Lines of one page.
PAGE: Final = 500
#: Lines that one page may pass in search of those that fit: some ten milliseconds' work for PostgreSQL.
LOOK: Final = 20_000
#: The highest sequence that a line can have: a bigint of PostgreSQL.
MAX_SEQUENCE: Final = 2**63 - 1
_MAX_ATTEMPT: Final = 2**31 - 1
_WHOLE: Final = 2**30  # characters of a message: all

NAMES: Final = ("level", "step", "attempt", "q")
PLACES: Final = ("after", "before", "around", "at")


@dataclass(frozen=True, slots=True)
class LineFilter:
    """Which lines are wanted. `step` is a step's key (`search#2`), or its name, for all calls of it."""

    level: int = 0
    step: str = ""
    attempt: int | None = None
    search: str = ""

    @classmethod
    def read(cls, reader: Reader) -> LineFilter:
        """From the parameters NAMES; what is wrong with them is kept by the reader."""
        level = reader.choice("level", LEVELS)
        attempt = reader.number("attempt", most=_MAX_ATTEMPT)
        return cls(LEVELS[level] if level else 0, reader.text("step") or "", attempt, reader.text("q") or "")

    @property
    def is_open(self) -> bool:
        """Whether every line fits."""
        return self == LineFilter()

    def params(self) -> dict[str, Any]:
        escaped = self.search.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
        like = f"%{escaped}%" if escaped else ""
        return {"level": self.level, "step": self.step, "attempt": self.attempt, "like": like, "hidden": hidden_keys()}


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines in sequence, as rows; `first` to `last` is what was looked at for them. `earlier`, `later`: there are lines
    beyond, of which nothing is known yet. `here` is the line that was asked for."""

    rows: list[dict[str, Any]]
    first: int
    last: int
    earlier: bool = False
    later: bool = False
    here: int | None = None

    def models(self) -> list[LogLine]:
        """Of lines that were read whole."""
        plain = [{name: value for name, value in row.items() if name != "length"} for row in self.rows]
        return [LogLine(**{**row, "fields": _json(row["fields"])}) for row in plain]

    def as_json(self) -> Message:
        return {
            "items": [log_line(row) for row in self.rows],
            "first": self.first,
            "last": self.last,
            "earlier": self.earlier,
            "later": self.later,
            "here": self.here,
        }


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the log: after or before a sequence, around one, or around the first line that is not older than a time.
    None of these: at its end."""

    after: int | None = None
    before: int | None = None
    around: int | None = None
    at: datetime | None = None


def asked(params: Params) -> tuple[LineFilter, Place]:
    """What an address asks for. Raises InvalidFilter: names every parameter that does not fit, and what would."""
    reader = Reader(params)
    reader.refuse_unknown((*NAMES, *PLACES))
    found = LineFilter.read(reader)
    number = partial(reader.number, most=MAX_SEQUENCE - 1)
    place = Place(number("after"), number("before"), number("around"), reader.time("at"))
    given = [name for name in PLACES if getattr(place, name) is not None]
    if len(given) > 1:
        reader.faults.append((given[1], f"stands beside {given[0]}; write one of them"))
    reader.done()
    return found, place


def lines(run_id: uuid.UUID, wanted: LineFilter, place: Place, *, limit: int = PAGE) -> Lines:
    """A page of lines at a place. `around` and `at` have half of it before the place, half behind."""
    if place.after is not None:
        return _after(run_id, wanted, place.after, limit)
    if place.around is None and place.at is None:
        return _before(run_id, wanted, MAX_SEQUENCE if place.before is None else place.before, limit)
    here = sequence_at(run_id, place.at) if place.at is not None else place.around or 0
    head = _before(run_id, wanted, here, limit // 2)
    tail = _after(run_id, wanted, max(0, here - 1), limit // 2)
    return Lines([*head.rows, *tail.rows], head.first, tail.last, head.earlier, tail.later, here)


def _after(run_id: uuid.UUID, wanted: LineFilter, sequence: int, limit: int, *, whole: bool = False) -> Lines:
    """The next lines. `whole`: their messages are not cut."""
    rows, more, (_, high) = _page(SQL.log_lines_after, run_id, wanted, sequence, limit, whole)
    last = rows[-1]["sequence"] if more and len(rows) == limit else high or sequence
    return Lines(rows, sequence + 1, last, earlier=sequence > 0, later=more)


def _before(run_id: uuid.UUID, wanted: LineFilter, sequence: int, limit: int) -> Lines:
    """The last lines before a sequence; before MAX_SEQUENCE: the last ones."""
    rows, more, (low, high) = _page(SQL.log_lines_before, run_id, wanted, sequence, limit)
    first = rows[-1]["sequence"] if more and len(rows) == limit else low or sequence
    last = high or 0 if sequence == MAX_SEQUENCE else sequence - 1
    return Lines(rows[::-1], first, last, earlier=more, later=sequence != MAX_SEQUENCE)


def onwards(
    run_id: uuid.UUID, wanted: LineFilter, *, after: int = 0, at: datetime | None = None, limit: int = PAGE
) -> Lines:
    """The lines after a sequence that are not older than a time, as they were stored: for programs, and for the command
    line."""
    start = after if at is None else max(after, sequence_at(run_id, at) - 1)
    return _after(run_id, wanted, start, limit, whole=True)


def sequence_at(run_id: uuid.UUID, at: datetime) -> int:
    """From which sequence on lines are not older than `at`; one more than the last where all are."""
    return db.rows(SQL.log_line_at, run=run_id, at=at)[0]["sequence"] or 0


def _json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value  # Django's connections leave jsonb as text


def _page(
    query: str, run_id: uuid.UUID, wanted: LineFilter, start: int, limit: int, whole: bool = False
) -> tuple[list[dict[str, Any]], bool, tuple[int | None, int | None]]:
    """The rows on one side of `start`, whether there may be more, and the ends of what was looked at."""
    look = limit + 1 if wanted.is_open else LOOK
    found = db.rows(
        query, run=run_id, **{"from": start}, look=look, limit=limit + 1, most=_WHOLE if whole else LINE,
        **wanted.params(),
    )  # fmt: skip
    low, high, looked = (found[0][name] for name in ("low", "high", "looked"))
    rows = [row for row in found if row["sequence"] is not None]
    for row in rows:
        for name in ("low", "high", "looked"):
            del row[name]
    more = len(rows) > limit or (not wanted.is_open and looked == look)
    return rows[:limit], more, (low, high)
