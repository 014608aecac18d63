"""What pages, API and command line read of endpoints. Deliveries are runs of one task, by a tag."""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import QuerySet

from holdfast.access.selectors import database_now
from runs.filters import DEFAULT_LIMIT, first_id
from runs.models import Run
from runs.outbound import telling
from runs.outbound.model import Endpoint
from runs.selectors import Page, page_of
from runs.states import FINAL, Status
from runs.webhooks import vault

MAX_ENDPOINTS: Final = 1_000
#: What the list calls lately, and how many deliveries to all endpoints it looks at for that.
LATELY: Final = timedelta(hours=24)
MAX_LATELY: Final = 5_000


@dataclass(frozen=True, slots=True)
class Row:
    """An endpoint in the list."""

    endpoint: Endpoint
    sent: int  # lately begun
    failed: int  # of these, given up
    retrying: int  # of these, to be tried again
    last_at: datetime | None
    rotating: bool  # the secret before signs as well


def endpoints() -> tuple[list[Row], bool]:
    """Endpoints by name; True when more was sent lately than is counted."""
    now = database_now()
    rows = Endpoint.objects.order_by("name")[:MAX_ENDPOINTS]
    runs = Run.objects.filter(task_id=telling.DELIVERS, id__gte=first_id(now - LATELY)).order_by("-id")
    found = list(runs.values_list("payload__endpoint", "status", "created_at")[: MAX_LATELY + 1])
    sent, statuses = Counter(n for n, _, _ in found), Counter((n, s) for n, s, _ in found)
    last = {name: at for name, _, at in reversed(found)}
    made = [
        Row(
            row,
            sent[row.name],
            sum(statuses[row.name, status] for status in FINAL - {Status.COMPLETED, Status.CANCELLED}),
            statuses[row.name, Status.RETRYING],
            last.get(row.name),
            vault.rotating(row.old_until, now),
        )
        for row in rows
    ]
    return made, len(found) > MAX_LATELY


def deliveries(
    endpoint: Endpoint, *, cursor: uuid.UUID | None = None, limit: int = DEFAULT_LIMIT
) -> Page[Run, uuid.UUID]:
    """What was sent to it, the latest first; `cursor` is the last page's `next`."""
    found = _sent_to(endpoint).order_by("-id")
    found = found.filter(id__lt=cursor) if cursor else found
    return page_of(found, limit)


def delivery(endpoint: Endpoint, run_id: uuid.UUID) -> Run | None:
    """One of its deliveries."""
    return _sent_to(endpoint).filter(pk=run_id).first()


def is_for(endpoint: Endpoint, run: Run) -> bool:
    """False: it was for a deleted one of the same name."""
    return run.payload.get("endpoint_id") in (None, endpoint.pk)


def describe(run: Run) -> dict[str, Any]:
    """A delivery by the names of the API and the command line."""
    error, body = run.error or {}, run.payload["body"]
    return {
        "id": run.id,
        "type": str(body.get("type", "")),
        "status": run.status,
        "attempt": run.attempt,
        "max_attempts": run.max_attempts,
        "created_at": run.created_at,
        "next_at": run.next_at if run.status == Status.RETRYING else None,
        "finished_at": run.finished_at,
        # That of the attempt before says nothing of what was called off.
        "error": error.get("message") if run.status not in (Status.COMPLETED, Status.CANCELLED) else None,
        "answer": run.output,
        "body": body,
    }


def _sent_to(endpoint: Endpoint) -> QuerySet[Run]:
    tagged = Run.objects.filter(task_id=telling.DELIVERS, tags__contains=[telling.tag_of(endpoint.name)])
    return tagged.exclude(tags=[]).filter(payload__endpoint=endpoint.name)
