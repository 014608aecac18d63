"""What the runs in a box of the map have more often than the others of the same time: their task, queue, version,
worker, key, error, tags, and the scalars of their payloads.

Ranked by the difference of shares: the part of the runs in the box that have it, less the part of the others. Told is
what at least MIN_RUNS runs of the box's sample have, where the difference is more than SIGMAS standard errors of two
proportions, so that chance alone rarely shows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from holdfast import db
from holdfast.redaction import hides
from runs.charts import Cell, Window
from runs.explore import links
from runs.explore.asked import Asked
from runs.explore.sample import BESIDE, INSIDE, OUTSIDE, SAMPLE, about, parameters, slices
from runs.search.terms import PAYLOAD, Term, text_of
from runs.search.values import Json
from runs.store import SQL

#: Runs of the box's sample that must have something in common.
MIN_RUNS: Final = 5
#: Standard errors by which the shares must differ.
SIGMAS: Final = 3.0
#: The part of the runs that are guessed to be there which makes a sample the whole.
NEARLY: Final = 0.9
#: Differences that are told, and values that are compared.
SHOWN: Final = 20
CANDIDATES: Final = 1_000
#: Characters of a key or value of a payload, and stored bytes of a payload, that are looked at.
MAX_TEXT: Final = 100
MAX_PAYLOAD: Final = 65_536


@dataclass(frozen=True, slots=True)
class Side:
    """The runs of one side: how many there are, about, and how many were looked at."""

    runs: int
    looked_at: int

    @property
    def whole(self) -> bool:
        """Whether these are all of them. How many there are is a guess where the box cuts a bin or a bucket."""
        return self.runs <= SAMPLE and self.looked_at >= NEARLY * self.runs


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that runs in the box have more often. Counts are those of the samples."""

    term: Term
    inside: int
    outside: int
    inside_share: float
    outside_share: float

    @property
    def field(self) -> str:
        """`version`, or `payload.tenant`."""
        return ".".join([self.term.field, *self.term.path])

    @property
    def value(self) -> str:
        value = self.term.values[0]
        return value.text if isinstance(value, Json) else str(value)

    @property
    def difference(self) -> float:
        return self.inside_share - self.outside_share

    @property
    def points(self) -> str:
        """The difference in hundredths."""
        return f"{100 * self.difference:.0f}" if self.difference >= 0.01 else f"{100 * self.difference:.1f}"


@dataclass(frozen=True, slots=True)
class Differences:
    """The ranking, the greatest first."""

    box: Side
    others: Side
    items: list[Difference]
    terms: list[Term]  # of the runs in the box

    @property
    def url(self) -> str:
        """The runs in the box."""
        return links.runs_of(self.terms)

    @property
    def searches(self) -> list[tuple[Difference, str]]:
        """Each with the search for its runs in the box."""
        return [(item, text_of([*self.terms, item.term])) for item in self.items]

    @property
    def rows(self) -> list[tuple[Difference, str]]:
        """Each with the address of its runs in the box."""
        return [(item, links.runs_of([*self.terms, item.term])) for item in self.items]


def differences(asked: Asked, window: Window, cells: Iterable[Cell]) -> Differences:
    """Compares samples of the runs in the box with those of the rest of the window: one statement."""
    found = slices(cells, window, asked.box)
    limits = {"payload": MAX_PAYLOAD, "text": MAX_TEXT, "least": MIN_RUNS, "most": CANDIDATES}
    with db.callers() as conn:
        rows = conn.execute(SQL.explore_differences, {**parameters(found, asked), **limits}).fetchall()
    (_, _, _, inside, outside), *counted = rows
    box, since, until = asked.box, asked.box.since or window.start, asked.box.until or window.end
    terms = [
        *links.terms_of(asked),
        links.NOT_CANCELLED,
        *links.within("finished", max(since, window.start), min(until, window.end)),
        *links.lasted(box.over, box.under),
    ]
    return Differences(
        Side(about(found, INSIDE), inside), Side(about(found, BESIDE, OUTSIDE), outside),
        rank([row for row in counted if not hides(row[:2])], inside, outside), terms,
    )  # fmt: skip


def rank(rows: Sequence[tuple[str, str, str, int, int]], inside: int, outside: int) -> list[Difference]:
    """The differences worth telling, the greatest first.

    Args:
        rows: field, path, value, how many runs inside and outside have it.
        inside, outside: how many runs there are of each.
    """
    if not inside or not outside:
        return []
    found = []
    for field, path, value, here, there in rows:
        p, q = here / inside, there / outside
        if here < MIN_RUNS or p - q <= SIGMAS * _standard_error(here + there, inside, outside):
            continue
        if term := _term(field, path, value):
            found.append(Difference(term, here, there, p, q))
    found.sort(key=lambda one: (-one.difference, one.outside_share, one.field, one.value))
    return found[:SHOWN]


def _standard_error(having: int, inside: int, outside: int) -> float:
    """Of the difference of two shares, if both sides were alike."""
    pooled = having / (inside + outside)
    return math.sqrt(pooled * (1 - pooled) * (1 / inside + 1 / outside))


def _term(field: str, path: str, value: str) -> Term | None:
    """The search for it; None for what a search cannot say."""
    if not value.isprintable() or not path.isprintable() or (field == PAYLOAD and not path):
        return None
    read: Any = Json(value) if field == PAYLOAD else value
    return Term(field, (read,), path=(path,) if path else ())
