"""Terms become walks: down an index, from the newest run to older ones, no further than is bearable.

An index of runs serves some terms of a search (the status, the task …) in the order of ids; the others are looked at in
the runs that such a walk passes. A walk that has only terms of its index is exact. One that has more passes at most
WINDOW runs: if that was not enough for a page, the page ends there, says how far was looked, and the next one goes on.
Where a search has several such terms, each index leads through other runs; the walk that comes furthest counts.
"""

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from itertools import product
from typing import Any, Final

from django.db import connection
from django.db.models import Q, QuerySet
from django.utils import timezone

from runs.errors import SearchTooSlow
from runs.models import BAD, Run
from runs.patience import TooLong, patience
from runs.search.conditions import Condition, column_is, condition, implied
from runs.search.terms import Term, text_of
from runs.states import Status

#: Runs that one look passes at most, of all its walks together.
WINDOW: Final = 50_000
#: Walks side by side, one for each value of the index's columns. What has more values is looked at on the way.
MAX_BRANCHES: Final = 16
#: Indexes that are tried for one page.
MAX_WALKS: Final = 3
#: Milliseconds after which PostgreSQL gives a look up.
PATIENCE: Final = 5_000

#: What an index gives in the order of ids, the most selective first. The pairs are those of failures.
_INDEXES: Final = (
    ("id",),
    ("parent",),
    ("key",),
    ("error",),
    ("task", "status"),
    ("queue", "status"),
    ("worker",),
    ("status",),
    ("version",),
    ("task",),
    ("queue",),
)
_NONE: Final = Q()


@dataclass(frozen=True, slots=True)
class Found:
    """Ids, the newest first. `searched_to`: the oldest run that was looked at, where the search stopped before its
    end; there may be more below it."""

    ids: list[uuid.UUID]
    searched_to: uuid.UUID | None = None


@dataclass(frozen=True, slots=True)
class Walk:
    """Branches of one index, one for each value; `rest` is looked at on the way. `sorts`: few enough to be sorted."""

    branches: tuple[Q, ...]
    rest: Q = _NONE
    sorts: bool = False

    @property
    def exact(self) -> bool:
        return not self.rest and not self.sorts


def conditions(terms: Sequence[Term]) -> list[Condition]:
    """The conditions of a search, with names looked up."""
    now = timezone.now()
    return [found for term in terms for found in (condition(term, now), *implied(term))]


def everything(found: Sequence[Condition]) -> Q:
    """All conditions together, for a few runs that are known."""
    return _all(one.q for one in found)


def newest(terms: Sequence[Term], within: Q, limit: int, *, window: int | None = None) -> Found:
    """The newest runs that fit, at most `limit`.

    Args:
        within: bounds of the id.
        window: runs that the look passes at most; None: WINDOW.

    Raises:
        SearchTooSlow: PostgreSQL has given up.
    """
    found = conditions(terms)
    if any(one.never for one in found):
        return Found([])
    window = WINDOW if window is None else window
    with _patience(terms):
        best: Found | None = None
        for walk in walks(found, within, window):
            this = Found(list(_union(walk, limit))) if walk.exact else _window(walk, limit, window)
            if this.searched_to is None or len(this.ids) >= limit:
                return this
            best = this if best is None or this.searched_to < (best.searched_to or this.searched_to) else best
        assert best is not None
        return best


def count(terms: Sequence[Term], most: int) -> int:
    """How many runs fit, counted up to `most`; where the search is not exact, of those that one look passes."""
    found = conditions(terms)
    if any(one.never for one in found):
        return 0
    with _patience(terms):
        walk = walks(found)[0]
        size = WINDOW // len(walk.branches)
        total = 0
        for sql, params in _looks(walk, size, most):
            counted = f"SELECT count(*) FROM ({sql}) found"  # noqa: S608 - both parts are Django's
            total += int(_rows(counted, params)[0][0])
        return min(most, total)


def exists(term: Term) -> bool:
    """Whether any run fits a term that an index serves. Raises SearchTooSlow."""
    (found,) = conditions([term])
    if found.never:
        return False
    with _patience([term]):
        return _known_to_be_many([found], 0) or Run.objects.filter(found.q).exists()


def walks(found: Sequence[Condition], within: Q = _NONE, window: int | None = None) -> list[Walk]:
    """The ways to the runs that fit, the most promising first."""
    bounds = _all([within, *(one.ids for one in found if one.ids is not None)])
    bounds &= everything([one for one in found if one.timed])
    rest = [one for one in found if not one.timed]
    if not rest:
        return [Walk((bounds,))]
    if few := _few_stuck(rest, bounds) or _few_tagged(rest, bounds, WINDOW if window is None else window):
        return [few]
    listed = [_retried(rest, bounds)] if any(one.retried for one in rest) else []
    for index in _INDEXES:
        walk = _along(index, rest, bounds)
        if walk and walk.exact:
            return [walk]
        listed += [walk] if walk else []
    return listed[:MAX_WALKS] or [Walk((bounds,), everything(rest))]


def _along(index: tuple[str, ...], rest: Sequence[Condition], bounds: Q) -> Walk | None:
    """The walk along an index, if the search has a term for each of its columns and it holds what they ask for."""
    used = [next((one for one in rest if one.field == name and one.keys), None) for name in index]
    if not all(used):
        return None
    terms = [one for one in used if one]
    if "status" in index and not _holds(index, terms[-1].keys):
        return None
    others = everything([one for one in rest if one not in terms])
    pairs = list(product(*(one.keys for one in terms)))
    if len(pairs) > MAX_BRANCHES:
        return None
    branches = (_all(column_is(name, (key,)) for name, key in zip(index, pair, strict=True)) & bounds for pair in pairs)
    return Walk(tuple(branches), others)


def _holds(index: tuple[str, ...], statuses: Sequence[Any]) -> bool:
    return set(statuses) <= set(BAD) if len(index) > 1 else Status.COMPLETED not in statuses


def _few_stuck(rest: Sequence[Condition], bounds: Q) -> Walk | None:
    """Runs that are stuck are few: the scheduler calls no more than some thousands so (`runs.stuck.watch.MOST`)."""
    stuck = [one for one in rest if one.few]
    if not stuck:
        return None
    return Walk((everything(stuck),), bounds & everything([one for one in rest if one not in stuck]), sorts=True)


def _few_tagged(rest: Sequence[Condition], bounds: Q, window: int) -> Walk | None:
    """The index of tags has no order, so its runs are sorted if they are not too many."""
    tagged = [one for one in rest if one.field == "tag" and not one.negated]
    if not tagged:
        return None
    q = everything(tagged)
    if _known_to_be_many(tagged, window) or Run.objects.filter(q).order_by()[: window + 1].count() > window:
        return None
    return Walk((q,), bounds & everything([one for one in rest if one not in tagged]), sorts=True)


#: What ANALYZE knows of frequent tags: the part of all runs that has each, and how many runs there are.
_FREQUENCIES: Final = """
SELECT e.tag, e.part * c.reltuples
FROM pg_stats s
JOIN pg_class c ON c.oid = %s::regclass
CROSS JOIN unnest(s.most_common_elems::text::text[], s.most_common_elem_freqs) AS e (tag, part)
WHERE s.schemaname = c.relnamespace::regnamespace::text AND s.tablename = c.relname AND s.attname = 'tags'
  AND e.tag = ANY(%s)
"""


def _known_to_be_many(tagged: Sequence[Condition], most: int) -> bool:
    """Whether the statistics of the table know that one of these tags has more runs: counting them takes long.

    With terms of several tags nothing is known of those that have one of each."""
    if len(tagged) != 1 or not tagged[0].tags:
        return False
    rows = _rows(_FREQUENCIES, [Run._meta.db_table, list(tagged[0].tags)])
    return any(runs > most for _, runs in rows)


def _retried(rest: Sequence[Condition], bounds: Q) -> Walk:
    """Down the index of runs that were tried more than once, when only those are asked for."""
    return Walk((bounds & Q(attempt__gt=1),), everything(rest))


def _union(walk: Walk, limit: int) -> Iterator[uuid.UUID]:
    # Each branch is read in the order of its index and cut there; one condition for all would sort them all.
    ids = [_ordered(branch).values_list("pk", flat=True)[:limit] for branch in walk.branches]
    if len(ids) == 1:
        yield from ids[0]
    else:
        together: Any = reduce(lambda left, right: left.union(right, all=True), ids)
        yield from together.order_by("-id")[:limit]


def _window(walk: Walk, limit: int, window: int) -> Found:
    """What fits among the runs that the walk passes. No run is told that is older than where any branch stopped."""
    size = window // len(walk.branches)
    ids: list[uuid.UUID] = []
    stops: list[uuid.UUID] = []
    for branch, (sql, params) in zip(walk.branches, _looks(walk, size, limit), strict=True):
        fitting = [row[0] for row in _rows(sql, params)]
        ids += fitting
        if len(fitting) < limit and not walk.sorts:
            stops += _ordered(branch).values_list("pk", flat=True)[size - 1 : size]
    stop = max(stops, default=None)
    ids = sorted((one for one in ids if stop is None or one >= stop), reverse=True)
    return Found(ids[:limit], stop if len(ids) < limit else None)


def _looks(walk: Walk, size: int, limit: int) -> Iterator[tuple[str, list[Any]]]:
    """For each branch: a statement that looks for `rest` in the runs it passes, and ends as soon as it has enough."""
    rest, rest_params = _ordered(walk.rest).values_list("pk", flat=True)[:limit].query.sql_with_params()
    for branch in walk.branches:
        if walk.exact:
            sql, params = _ordered(branch).values_list("pk", flat=True)[:limit].query.sql_with_params()
            yield sql, list(params)
            continue
        passed = Run.objects.filter(branch).order_by() if walk.sorts else _ordered(branch)[:size]
        sql, params = passed.defer("output").query.sql_with_params()
        # In the statement, the runs that are passed stand under the name of their table.
        how = "MATERIALIZED" if walk.sorts else "NOT MATERIALIZED"
        yield f'WITH "{Run._meta.db_table}" AS {how} ({sql}) {rest}', [*params, *rest_params]


def _ordered(q: Q) -> QuerySet[Run]:
    return Run.objects.filter(q).order_by("-id")


def _rows(sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall())


def _all(qs: Any) -> Q:
    return reduce(lambda left, right: left & right, qs, Q())


@contextmanager
def _patience(terms: Sequence[Term]) -> Iterator[None]:
    """Statements inside are given up after PATIENCE."""
    if not terms:
        yield
        return
    try:
        with patience(PATIENCE, by_index=True):
            yield
    except TooLong:
        message = (
            f"was looked for for {PATIENCE // 1000} s without an end; add a term that leaves fewer runs, such as a "
            "task, a status or age:<1d"
        )
        text = text_of(terms)
        raise SearchTooSlow(f"The search {text!r} {message}.", errors=[{"field": "q", "message": message}]) from None
