"""From runs that have ended to runs that deliver the news: the scheduler's duty, one transaction for many."""

from __future__ import annotations

import json
import uuid
from typing import Any, Final

from django.db import transaction
from pydantic_core import to_json

from holdfast.access.selectors import database_now
from runs import enqueue
from runs.errors import HoldfastError
from runs.models import Run
from runs.outbound.model import Ending, Endpoint
from runs.sdk.options import MAX_TAG, Options

#: Endings that one transaction takes.
MOST: Final = 500
#: Characters of an error that are told: what tells of one run must not be too large for a run.
MAX_TEXT: Final = 2_000
_TOLD: Final = (
    "task_id",
    "queue__name",
    "attempt",
    "tags",
    "error",
    "created_at",
    "started_at",
    "trace_id",
    "parent_id",
)
#: The task that delivers; nobody is told of its own runs, or a service that is down would be told of that for ever.
DELIVERS: Final = "holdfast.webhook"


def tell() -> bool:
    """Enqueues a delivery for each endpoint that wants to hear of runs that have ended. True: there may be more."""
    with transaction.atomic():
        endings = list(Ending.objects.select_for_update(skip_locked=True).order_by("id")[:MOST])
        if not endings:
            return False
        runs = Run.objects.select_related("queue").only(*_TOLD).in_bulk([ending.run_id for ending in endings])
        endpoints = list(Endpoint.objects.filter(enabled=True))
        deliver(
            [
                (endpoint, _body(ending, run))
                for ending in endings
                if (run := runs.get(ending.run_id)) is not None and run.task_id != DELIVERS
                for endpoint in endpoints
                if _wants(endpoint, ending, run)
            ]
        )
        Ending.objects.filter(pk__in=[ending.pk for ending in endings]).delete()
    return len(endings) == MOST


def deliver(news: list[tuple[Endpoint, dict[str, Any]]]) -> list[uuid.UUID]:
    """Enqueues a delivery of each (endpoint, body), in the caller's transaction."""
    from runs.tasks import webhook

    if not news:
        return []
    items = [
        enqueue.Item(
            json.dumps({"endpoint": to.name, "body": body, "endpoint_id": to.pk}),
            Options(tags=[tag_of(to.name)], concurrency_key=_key_of(to.name)),
        )
        for to, body in news
    ]
    ids = []
    for found in enqueue.enqueue_items(webhook, items):
        if isinstance(found, HoldfastError):
            raise found
        ids.append(found.id)
    return ids


def tag_of(endpoint: str) -> str:
    """By which an endpoint's deliveries are found. Long names may share one, so the payload is asked as well."""
    return _key_of(endpoint)[:MAX_TAG]


def trial_body() -> dict[str, Any]:
    """What an endpoint is sent when somebody tries it."""
    return {"type": "test", "timestamp": _text(database_now()), "data": {}}


def _key_of(endpoint: str) -> str:
    """By which an endpoint's deliveries are counted. No two endpoints share one."""
    return f"endpoint:{endpoint}"


def _wants(endpoint: Endpoint, ending: Ending, run: Run) -> bool:
    heard = "*" in endpoint.events or f"run.{ending.status}" in endpoint.events
    return heard and (not endpoint.tasks or run.task_id in endpoint.tasks)


def _body(ending: Ending, run: Run) -> dict[str, Any]:
    """What Standard Webhooks has: type, timestamp, data. Payload and result stay here: whoever may see them asks."""
    error = run.error or {}
    return {
        "type": f"run.{ending.status}",
        "timestamp": _text(ending.at),
        "data": {
            "id": str(run.id),
            "task": run.task_id,
            "queue": run.queue.name,
            "status": ending.status,
            "attempt": run.attempt,
            "tags": list(run.tags),
            "error": {name: _cut(error.get(name)) for name in ("type", "message", "fingerprint")} if error else None,
            "created_at": _text(run.created_at),
            "started_at": _text(run.started_at),
            "finished_at": _text(ending.at),
            "trace_id": run.trace_id,
            "parent_id": str(run.parent_id) if run.parent_id else None,
        },
    }


def _cut(text: Any) -> Any:
    return text[:MAX_TEXT] + "…" if isinstance(text, str) and len(text) > MAX_TEXT else text


def _text(value: Any) -> str | None:
    """A time as RFC 3339."""
    return None if value is None else str(json.loads(to_json(value)))
