"""What pages, API and command line read of runs. Lists page by keyset, and nothing counts further than 10,000."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from functools import reduce
from typing import Any, Final, Generic, TypeVar

from django.db.models import Exists, F, Func, IntegerField, OuterRef, Q, QuerySet, TextField
from django.db.models.functions import Cast, Coalesce

from queues.selectors import EXACT_UP_TO
from runs import spending
from runs.errors import UnknownRun, UnknownTask
from runs.filters import DEFAULT_LIMIT, RunFilter
from runs.models import Attempt, LogLine, Run, Snapshot, Task, Update
from runs.search import plan
from runs.search.values import time_of
from runs.states import Status

T = TypeVar("T")
C = TypeVar("C")

#: Bytes of payloads, outputs and states after which a page ends early, so that 200 large runs do not fill the memory.
MAX_PAGE_BYTES: Final = 8 * 1024 * 1024
MAX_LINES: Final = 1_000
MAX_SNAPSHOTS: Final = 500
MAX_ATTEMPTS: Final = 500
MAX_BEATS: Final = 50


@dataclass(frozen=True, slots=True)
class Page(Generic[T, C]):
    """Items, and the cursor from which the next page goes on (None at the end)."""

    items: list[T]
    next: C | None
    #: The time of the oldest run that was looked at, where a search stopped before it had a page full.
    searched_to: datetime | None = None


def runs_page(
    filters: RunFilter | None = None,
    *,
    cursor: uuid.UUID | None = None,
    limit: int = DEFAULT_LIMIT,
    bodies: bool = False,
) -> Page[Run, uuid.UUID]:
    """Runs, newest first, with their queue.

    Args:
        cursor: the last page's `next`.
        bodies: with payload and output; without, touching them costs a query for each run. With them, a page ends
            early at MAX_PAGE_BYTES.
    """
    within = Q(pk__lt=cursor) if cursor else Q()
    found = plan.newest((filters or RunFilter()).terms, within, limit + 1)
    more, ids = len(found.ids) > limit, found.ids[:limit]
    if bodies:
        kept = _fitting(ids, dict(Run.objects.filter(pk__in=ids).values_list("pk", _size("payload", "output"))))
        more, ids = more or len(kept) < len(ids), kept
    runs = Run.objects.filter(pk__in=ids).select_related("queue").order_by("-id")
    items = list(runs if bodies else runs.defer("payload", "output"))
    if bodies:
        spending.fill(items)
    if more and ids:
        return Page(items, ids[-1])
    return Page(items, found.searched_to, time_of(found.searched_to) if found.searched_to else None)


def runs_count(filters: RunFilter | None = None) -> int:
    """How many runs fit: exact up to 10,000; 10,001 means "more". A search counts what one look finds."""
    return plan.count((filters or RunFilter()).terms, EXACT_UP_TO + 1)


def status_counts(statuses: Iterable[str], filters: RunFilter | None = None) -> dict[str, int]:
    """`runs_count` of each status."""
    chosen = filters or RunFilter()
    return {status: runs_count(chosen.having("status", (status,))) for status in statuses}


def runs_fitting(filters: RunFilter, ids: Sequence[uuid.UUID]) -> set[uuid.UUID]:
    """Those of some runs that fit."""
    fits = plan.everything(plan.conditions(filters.terms))
    return set(Run.objects.filter(fits, pk__in=ids).values_list("pk", flat=True))


def arrivals(filters: RunFilter, newer_than: uuid.UUID, most: int) -> int:
    """How many runs that fit came after one, counted up to `most`."""
    return len(plan.newest(filters.terms, Q(pk__gt=newer_than), most).ids)


def run_get(run_id: uuid.UUID) -> Run:
    """One run with its queue, what it has used, and the heartbeats of its unfinished steps. Raises UnknownRun."""
    asked = Update.objects.filter(run_id=OuterRef("pk"))
    run = Run.objects.select_related("queue").annotate(has_updates=Exists(asked)).filter(pk=run_id).first()
    if run is None:
        raise UnknownRun(f"There is no run {run_id}.")
    spending.fill([run])
    if run.attempt and run.status != Status.COMPLETED:  # otherwise no step is unfinished
        run.beats = list(run.heartbeats.order_by("-at")[:MAX_BEATS])
    return run


def statuses(ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, str]:
    """The statuses of those of these runs that there are."""
    return dict(Run.objects.filter(pk__in=ids).values_list("pk", "status"))


def run_exists(run_id: uuid.UUID) -> uuid.UUID:
    """`run_id` itself, when there is such a run. Raises UnknownRun."""
    if not Run.objects.filter(pk=run_id).exists():
        raise UnknownRun(f"There is no run {run_id}.")
    return run_id


def status_and_pool(run_id: uuid.UUID) -> tuple[str, str]:
    """A run's status, and the pool that executes it. Raises UnknownRun."""
    row = Run.objects.filter(pk=run_id).values_list("status", "queue__pool").first()
    if row is None:
        raise UnknownRun(f"There is no run {run_id}.")
    return row


def runs_get(ids: Sequence[uuid.UUID]) -> list[Run]:
    """Runs with their queues in the order of `ids`; those that do not exist are left out."""
    found = Run.objects.select_related("queue").in_bulk(ids)
    spending.fill(list(found.values()))
    return [found[run_id] for run_id in ids if run_id in found]


def attempts(run_id: uuid.UUID, *, after: int = 0, limit: int = MAX_ATTEMPTS) -> Page[Attempt, int]:
    """A run's attempts with their worker, first one first; `after` is the number of the last one seen."""
    found = Attempt.objects.filter(run_id=run_id, number__gt=after).select_related("worker").order_by("number")
    page: Page[Attempt, int] = page_of(found, limit, "number")
    spending.fill_attempts(page.items)
    return page


def snapshots(
    run_id: uuid.UUID, *, after: int = 0, limit: int = MAX_SNAPSHOTS, bodies: bool = True
) -> Page[Snapshot, int]:
    """A run's snapshots in sequence; `after` is the sequence of the last one seen.

    Args:
        bodies: with input, output and state, and an early end at MAX_PAGE_BYTES; without, touching them costs queries.
    """
    found = Snapshot.objects.filter(run_id=run_id, sequence__gt=after).order_by("sequence")
    if not bodies:
        return page_of(found.defer("input", "output", "state"), limit, "sequence")
    sizes = dict(found.values_list("sequence", _size("input", "output", "state"))[: limit + 1])
    kept = _fitting(list(sizes)[:limit], sizes)
    items = list(found.filter(sequence__in=kept))
    return Page(items, kept[-1] if kept and len(kept) < len(sizes) else None)


def log_tail(run_id: uuid.UUID, *, limit: int = MAX_LINES, level: int = 0) -> list[LogLine]:
    """The last lines of a run, in sequence."""
    found = LogLine.objects.filter(run_id=run_id).order_by("-sequence")
    return list((found.filter(level__gte=level) if level else found)[:limit])[::-1]


def tasks(*, after: str = "", named: str = "", limit: int = DEFAULT_LIMIT) -> Page[Task, str]:
    """Registered tasks with their queue, in order of id; `after` is the last id seen, `named` a part of the id."""
    found = Task.objects.select_related("queue").filter(id__gt=after, id__icontains=named).order_by("id")
    return page_of(found, limit, "id")


def task_get(task_id: str) -> Task:
    """One registered task with its queue. Raises UnknownTask with near matches."""
    found = Task.objects.select_related("queue").filter(pk=task_id).first() if "\x00" not in task_id else None
    if found is None:
        ids = Task.objects.order_by("-registered_at").values_list("id", flat=True)[:EXACT_UP_TO]
        near = get_close_matches(task_id[:200], ids, n=3, cutoff=0.5)
        hint = f" Did you mean {', '.join(near)}?" if near else ""
        raise UnknownTask(f"There is no task {task_id!r:.220}.{hint}", near=near)
    return found


def _size(*fields: str) -> Any:
    """Bytes of the text of JSON columns. (The stored size is that of compressed text, which may be 100 times less.)"""
    sizes = [
        Coalesce(Func(Cast(F(field), TextField()), function="octet_length", output_field=IntegerField()), 0)
        for field in fields
    ]
    return reduce(lambda left, right: left + right, sizes)  # type: ignore[arg-type,return-value]


def _fitting(keys: list[C], sizes: dict[C, int]) -> list[C]:
    """As many of the first keys as have MAX_PAGE_BYTES together, at least one."""
    total = 0
    for count, key in enumerate(keys):
        total += sizes.get(key, 0)
        if total > MAX_PAGE_BYTES and count:
            return keys[:count]
    return keys


def page_of(found: QuerySet[Any], limit: int, cursor: str = "pk") -> Page[Any, Any]:
    """The first items of a query, and where the next page goes on: at the last one's `cursor`."""
    items = list(found[: limit + 1])
    return Page(items[:limit], getattr(items[limit - 1], cursor) if len(items) > limit else None)
