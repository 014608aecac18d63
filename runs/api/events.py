"""/events: one call starts a run of every task that subscribes."""

from __future__ import annotations

import uuid
from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Router, Schema, Status
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from runs import selectors, services
from runs.api import body, docs
from runs.api.auth import actor_of, needs
from runs.api.schemas import OPTIONS_SCHEMA, PAYLOAD_SCHEMA, ItemsOut

router = Router(tags=["events"])


class EventIn(BaseModel):
    """Something that has happened."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"name": "order.paid", "payload": {"order": 17}}}
    )

    name: str = Field(min_length=1, max_length=90)
    payload: Annotated[Any, WithJsonSchema(PAYLOAD_SCHEMA)] = Field(default_factory=dict)
    options: Annotated[dict[str, Any], WithJsonSchema(OPTIONS_SCHEMA)] = Field(default_factory=dict)


class EventRunOut(Schema):
    """A run that an event has started, or, under an idempotency key, had started before."""

    id: uuid.UUID
    task: str


@router.post(
    "/events",
    response={201: ItemsOut[EventRunOut]},
    auth=needs("runs.enqueue"),
    operation_id="event_emit",
    openapi_extra=docs.body(EventIn),
)
def event_emit(
    request: HttpRequest,
) -> Any:
    """Starts a run of each task that subscribes to the event, all or none: `@task(events=["order.paid"])`. Each gets
    the fields of the payload that it has parameters for. Nobody subscribes: the list is empty."""
    asked = body.read(request, EventIn)
    ids = services.event_emit(asked.name, asked.payload, asked.options, actor=actor_of(request))
    items = [EventRunOut(id=run.id, task=run.task_id) for run in selectors.runs_get(ids)]
    return Status(201, ItemsOut[EventRunOut].model_construct(items=items))
