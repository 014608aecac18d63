"""Waits as pages, API and command line read them: what somebody is to answer, and what a run has waited for."""

from __future__ import annotations

import functools
import heapq
import re
import uuid
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.db.models import DateTimeField, Func, Q, QuerySet, Value
from django.http import HttpRequest

from holdfast.access.selectors import database_now
from runs.alerts.model import Firing
from runs.errors import UnknownWait
from runs.filters import DEFAULT_LIMIT, InvalidFilter
from runs.models import ANSWERED_KINDS, Wait
from runs.selectors import Page

#: Open approvals are counted up to here; then it is "99+".
MAX_COUNTED: Final = 100
#: Open waits that the page of a run lists.
MAX_SHOWN: Final = 20

#: The places whose number stands in the menu.
_COUNTED: Final = ("/approvals/", "/alerts/")
_CURSOR: Final = re.compile(r"(\d{1,17})-([0-9a-f]{32})")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: What a list of waits does not read of their runs.
_HEAVY: Final = tuple(f"run__{name}" for name in ("payload", "output", "error", "ending", "waiting_for"))


def open_waits(
    kinds: Iterable[str] = ANSWERED_KINDS, *, cursor: str | None = None, limit: int = DEFAULT_LIMIT
) -> Page[Wait, str]:
    """What somebody is to answer, oldest first, with its run.

    Raises:
        InvalidFilter: a kind that nobody answers, or a cursor that is none.
    """
    branches = [_after(_open().filter(kind=_answered(kind)).order_by("created_at", "id"), cursor) for kind in kinds]
    # Each kind is read in the order of the index, and cut there.
    found = heapq.merge(*(branch[: limit + 1] for branch in branches), key=lambda wait: (wait.created_at, wait.pk))
    return _page(list(found), limit, lambda wait: (wait.created_at - _EPOCH) // timedelta(microseconds=1))


def run_waits(run_id: uuid.UUID, *, cursor: str | None = None, limit: int = DEFAULT_LIMIT) -> Page[Wait, str]:
    """All waits of a run, in the order in which it asked. Raises InvalidFilter."""
    found = _with_runs(Wait.objects.filter(run_id=run_id)).order_by("sequence", "id")
    if (place := _read(cursor)) is not None:
        found = found.filter(sequence__gte=place[0]).exclude(sequence=place[0], id__lte=place[1])
    return _page(list(found[: limit + 1]), limit, lambda wait: wait.sequence)


def open_of_run(run_id: uuid.UUID) -> list[Wait]:
    """What a run waits for now; the first MAX_SHOWN."""
    return list(_open().filter(run_id=run_id).order_by("sequence")[:MAX_SHOWN])


def approvals_count() -> int:
    """How many approvals are open: exact below MAX_COUNTED."""
    return _approvals()[:MAX_COUNTED].count()


def badges(request: HttpRequest) -> dict[str, Any]:
    """Context processor: what the menu counts. Nothing is read until a menu is drawn, and then all of it at once."""
    del request
    counts = functools.cache(_counts)
    return {"badges": {place: functools.partial(lambda place: counts()[place], place) for place in _COUNTED}}


def _counts() -> dict[str, int]:
    """What waits at each place: approvals that are open, alerts that fire and that nobody has acknowledged."""
    firings = Firing.objects.filter(until=None, acknowledged_at=None).order_by()
    parts = [
        found.annotate(place=Value(place)).values_list("place", flat=True)[:MAX_COUNTED]
        for place, found in zip(_COUNTED, (_approvals(), firings), strict=True)
    ]
    return Counter(parts[0].union(parts[1], all=True))


def wait_get(wait_id: uuid.UUID) -> Wait:
    """One wait with its run. Raises UnknownWait."""
    found = _with_runs(Wait.objects.filter(pk=wait_id)).first()
    if found is None:
        raise UnknownWait(f"There is no wait {wait_id}.")
    return found


def is_open(found: Wait) -> bool:
    """Whether it can still be answered."""
    return found.resolved_at is None and (found.due_at is None or found.due_at > database_now())


_STANDS: Final = Q(due_at=None) | Q(due_at__gt=Func(function="holdfast_now", output_field=DateTimeField()))


def _approvals() -> QuerySet[Wait]:
    return Wait.objects.filter(_STANDS, kind="approval", resolved_at=None).order_by()


def _open() -> QuerySet[Wait]:
    # One whose time is over may not be settled yet: it is closed all the same.
    return _with_runs(Wait.objects.filter(_STANDS, resolved_at=None))


def _with_runs(found: QuerySet[Wait]) -> QuerySet[Wait]:
    return found.select_related("run").defer(*_HEAVY)


def _answered(kind: str) -> str:
    if kind in ANSWERED_KINDS:
        return kind
    message = f"is {kind[:60]!r}; write one of {', '.join(ANSWERED_KINDS)}"
    raise InvalidFilter(f"kind {message}.", errors=[{"field": "kind", "message": message}])


def _after(found: QuerySet[Wait], cursor: str | None) -> QuerySet[Wait]:
    if (place := _read(cursor)) is None:
        return found
    at = _EPOCH + timedelta(microseconds=place[0])
    return found.filter(created_at__gte=at).exclude(created_at=at, id__lte=place[1])


def _read(cursor: str | None) -> tuple[int, uuid.UUID] | None:
    if not cursor:
        return None
    if (match := _CURSOR.fullmatch(cursor)) is None:
        message = "is no cursor; send the `next` of the page before, unchanged"
        raise InvalidFilter(f"cursor {message}.", errors=[{"field": "cursor", "message": message}])
    return int(match[1]), uuid.UUID(match[2])


def _page(found: list[Wait], limit: int, number: Any) -> Page[Wait, str]:
    items = found[:limit]
    return Page(items, f"{number(items[-1])}-{items[-1].pk.hex}" if len(found) > limit else None)
