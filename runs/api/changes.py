"""/changes: what people and deploys have changed."""

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema
from pydantic import Field

from runs import changes, filters
from runs.api.auth import actor_of, needs

router = Router(tags=["changes"])


class ChangeOut(Schema):
    """One entry of the audit log."""

    id: int
    at: datetime
    kind: str = Field(description="deploys, queues, runs, errors, schedules, webhooks, access or other.")
    action: str
    object_type: str
    object_id: str
    by: str
    reason: str
    before: Any
    after: Any


class ChangesOut(Schema):
    """Changes, the latest first."""

    items: list[ChangeOut]
    next: int | None = Field(description="`before` of the next page; null at the end.")


@router.get("/changes", response=ChangesOut, auth=needs("runs.view"), operation_id="changes_list")
def changes_list(request: HttpRequest, span: str = "", kind: str = "", before: str = "") -> Any:
    """What changed in the last `span` (24h, 7d or 21d), of one `kind` or of all that the token may see."""
    filters.refuse_unknown(request.GET, ("span", "kind", "before"))
    page = changes.page(changes.Asked.parse(span, kind, before), actor_of(request))
    return ChangesOut.model_construct(
        items=[ChangeOut.model_construct(**changes.as_json(c)) for c in page.items], next=page.next
    )
