"""/find: what a few letters may mean."""

from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema
from pydantic import Field

from runs import filters, finding
from runs.api import docs
from runs.api.auth import actor_of, needs

router = Router(tags=["find"])


class HitOut(Schema):
    """Something that was found."""

    kind: str = Field(
        description="page, task, queue, worker, view, schedule, webhook, endpoint, run, approval, key, tag, search"
    )
    text: str
    note: str
    url: str = Field(description="Its page, below this server's address.")


class FoundOut(Schema):
    """The likeliest first."""

    items: list[HitOut]


@router.get(
    "/find",
    response=FoundOut,
    auth=needs("runs.view"),
    operation_id="find",
    openapi_extra=docs.query(docs.parameter("q", "A part of a name; a tag or key; a run's id, or how it begins.")),
)
def find(request: HttpRequest) -> Any:
    """Finds pages, tasks, queues, workers, schedules, webhooks, and runs by id, idempotency key, key or tag."""
    filters.refuse_unknown(request.GET, ("q",))
    hits = finding.find(request.GET.get("q", ""), actor_of(request))
    return FoundOut.model_construct(items=[HitOut.model_validate(hit.as_json()) for hit in hits])
