"""/runs/{id}/updates: what a run is asked for, and what it replies."""

import uuid
from datetime import datetime
from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from ninja import Router, Schema, Status
from pydantic import BaseModel, ConfigDict, Field

from runs import selectors, updates
from runs.api import body, docs
from runs.api.auth import actor_of, needs
from runs.api.problems import InvalidId, refusal
from runs.api.schemas import PageOut
from runs.api.shown import Shown
from runs.errors import UpdateTimeout
from runs.filters import parse_cursor, parse_limit, refuse_unknown
from runs.models import Update
from runs.sdk.wait import MAX_NAME

router = Router(tags=["updates"])

#: Seconds that a request waits for a reply at most: it holds a thread of the web process.
MAX_TIMEOUT: Final = 30.0


class UpdateIn(BaseModel):
    """A request to a run."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"name": "set-price", "payload": {"price": 5}, "key": "order-17", "timeout": 10}},
    )

    name: str = Field(min_length=1, max_length=MAX_NAME)
    payload: Any = None
    key: str | None = Field(None, min_length=1, max_length=MAX_NAME)
    timeout: float = Field(10.0, ge=0, le=MAX_TIMEOUT, description="Seconds to wait for the reply.")


class UpdateOut(Schema):
    """What a run was asked for, and what came of it."""

    id: uuid.UUID
    run_id: uuid.UUID
    name: str
    payload: Shown
    key: str | None
    sent_at: datetime
    sent_by: str
    outcome: str | None = Field(
        description="`replied`, `refused`, or `abandoned` by a run that ended; null while it is open."
    )
    reply: Shown
    reason: str = Field(description="Why it was refused.")
    answered_at: datetime | None

    @classmethod
    def of(cls, found: Update) -> "UpdateOut":
        return cls.model_construct(**{name: getattr(found, name) for name in cls.model_fields})


@router.post(
    "/runs/{run_id}/updates",
    response={200: UpdateOut, 202: UpdateOut},
    auth=needs("runs.signal"),
    operation_id="run_update",
    openapi_extra=docs.body(UpdateIn),
)
def run_update(request: HttpRequest, response: HttpResponse, run_id: str) -> Any:
    """Asks a run for something and waits for its reply. 202 when there is none in time: `Location` is where it will be,
    and sending it again under its key waits for the same one. 409 when the run refuses, or has ended or ends without
    an answer; 422 when the payload does not fit what the run waits for."""
    found, asked = body.run_id(run_id), body.read(request, UpdateIn)
    sent = updates.update_send(found, asked.name, asked.payload, key=asked.key, actor=actor_of(request))
    try:
        updates.wait_for_reply(found, sent, asked.timeout)
    except UpdateTimeout:
        response["Location"] = f"/api/v1/runs/{found}/updates/{sent}"
        return Status(202, UpdateOut.of(updates.update_get(found, sent)))
    return Status(200, UpdateOut.of(updates.update_get(found, sent)))


@router.get(
    "/runs/{run_id}/updates",
    response=PageOut[UpdateOut],
    auth=needs("runs.view"),
    operation_id="run_updates",
    openapi_extra=docs.query(*docs.page()),
)
def run_updates(request: HttpRequest, run_id: str) -> Any:
    """What a run was asked for, in the order of sending."""
    refuse_unknown(request.GET, ("cursor", "limit"))
    found = selectors.run_exists(body.run_id(run_id))
    after = parse_cursor(request.GET.get("cursor"))
    page = updates.run_updates(found, after=after, limit=parse_limit(request.GET.get("limit")))
    return PageOut[UpdateOut].model_construct(items=[UpdateOut.of(row) for row in page.items], next=page.next)


@router.get(
    "/runs/{run_id}/updates/{update_id}",
    response=UpdateOut,
    auth=needs("runs.view"),
    operation_id="run_update_get",
)
def run_update_get(request: HttpRequest, run_id: str, update_id: str) -> Any:
    """One update: what was asked, and the reply or the refusal once there is one."""
    try:
        found = uuid.UUID(update_id)
    except ValueError:
        raise refusal(InvalidId, ("update_id", "is no id of an update; write a UUID")) from None
    return UpdateOut.of(updates.update_get(body.run_id(run_id), found))
