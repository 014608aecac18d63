"""From a search or a selection to the ids of runs. What comes to fit later is not among them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db.models import Q

from queues.selectors import EXACT_UP_TO
from runs.bulk.choices import STATUSES, Action
from runs.errors import InvalidFilter, InvalidOption
from runs.filters import RunFilter
from runs.models import Run
from runs.search import plan

#: Runs of one job.
MAX_RUNS: Final = 100_000
#: Runs of one selection, by their ids.
MAX_IDS: Final = 10_000
#: Seconds for which a search is looked for: when it is frozen, when somebody is about to decide, and when the list only
#: says how many it has. One that no index serves as a whole takes many looks (`runs.search.plan`).
PATIENCE: Final = 20.0
PREVIEW_PATIENCE: Final = 2.0
COUNT_PATIENCE: Final = 0.1
#: Runs that one look of such a count passes: short looks, so that it ends in time.
COUNT_WINDOW: Final = 10_000


@dataclass(frozen=True, slots=True)
class Preview:
    """What an action would be about.

    runs: of these; counted up to 10,000, one more means "more".
    exact: all runs were looked at. Otherwise there are at least so many.
    fitting: those of a selection with which the action can do something now; of a search all.
    newest: the newest one: those that come later are not meant.
    """

    action: Action
    text: str
    runs: int
    exact: bool = True
    fitting: int = 0
    newest: uuid.UUID | None = None


def filters_of(action: Action, search: str) -> RunFilter:
    """The runs that are meant by a search. One without a status means those with which the action can do something.

    Raises:
        InvalidFilter: it cannot be read.
    """
    filters = RunFilter.parse({"q": search})
    if any(term.field in ("status", "id") for term in filters.terms):
        return filters
    return filters.having("status", STATUSES[action])


def read_ids(values: Any) -> list[uuid.UUID]:
    """The ids of a selection, each once, the oldest run first. Raises InvalidOption."""
    if not isinstance(values, Sequence) or isinstance(values, str | bytes) or not 1 <= len(values) <= MAX_IDS:
        raise _fault("ids", f"must be a list of 1 to {MAX_IDS:,} ids of runs")
    found = set()
    for place, value in enumerate(values):
        try:
            found.add(value if isinstance(value, uuid.UUID) else uuid.UUID(value))
        except (ValueError, AttributeError, TypeError):
            raise _fault(f"ids[{place}]", f"is {value!r:.60}; write the UUID of a run") from None
    return sorted(found)


def freeze(filters: RunFilter, *, newest: uuid.UUID | None = None, most: int = MAX_RUNS) -> list[uuid.UUID]:
    """The ids of all runs that fit now, the oldest first.

    Args:
        newest: the newest run that is meant, where somebody has seen how many there are.

    Raises:
        InvalidFilter, SearchTooSlow: there are more than `most`, or looking for them takes too long.
    """
    ids, complete = _look(filters, newest, most + 1, PATIENCE)
    if len(ids) > most:
        raise _too_much(f"fits more than {most:,} runs; one job takes no more: narrow it, for example by created:<…")
    if not complete:
        raise _too_much(
            f"was looked for for {PATIENCE:.0f} s without an end; add a term that leaves fewer runs, such as a task, "
            "a status or age:<1d"
        )
    return ids[::-1]


def preview_search(action: Action, search: str) -> Preview:
    """How many runs a search means. Raises InvalidFilter, SearchTooSlow."""
    filters = filters_of(action, search)
    ids, complete = _look(filters, None, EXACT_UP_TO + 1, PREVIEW_PATIENCE)
    return Preview(action, filters.text, len(ids), complete, len(ids), ids[0] if ids else None)


def preview_ids(action: Action, ids: Sequence[uuid.UUID]) -> Preview:
    """With how many of a selection the action can do something."""
    fitting = Run.objects.filter(pk__in=ids, status__in=STATUSES[action]).count()
    return Preview(action, "", len(ids), True, fitting, max(ids))


def count(search: str) -> tuple[int, bool]:
    """How many runs a search of the list finds, whatever can be done to them: counted up to 10,000, one more means
    "more". False: there are at least so many. Raises InvalidFilter, SearchTooSlow."""
    ids, complete = _look(RunFilter.parse({"q": search}), None, EXACT_UP_TO + 1, COUNT_PATIENCE, COUNT_WINDOW)
    return len(ids), complete


def _look(
    filters: RunFilter, newest: uuid.UUID | None, most: int, patience: float, window: int | None = None
) -> tuple[list[uuid.UUID], bool]:
    """At most `most` ids, the newest first; False when the time was over before all runs were looked at."""
    until = time.monotonic() + patience
    within = Q(pk__lte=newest) if newest else Q()
    ids: list[uuid.UUID] = []
    while True:
        found = plan.newest(filters.terms, within, most - len(ids), window=window)
        ids += found.ids
        if len(ids) >= most or found.searched_to is None:
            return ids, True
        if time.monotonic() > until:
            return ids, False
        within = Q(pk__lt=found.searched_to)


def _too_much(message: str) -> InvalidFilter:
    return InvalidFilter(f"The search {message}.", errors=[{"field": "q", "message": message}])


def _fault(field: str, message: str) -> InvalidOption:
    return InvalidOption(f"{field} {message}.", errors=[{"field": field, "message": message}])
