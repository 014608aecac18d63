"""/channels: where alerts arrive."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema, Status
from pydantic import BaseModel, ConfigDict, Field

from holdfast.access.models import REASON_LENGTH
from runs.alerts import channels, delivering, selectors
from runs.alerts.choices import ChannelKind
from runs.alerts.model import Channel
from runs.api import body, docs
from runs.api.auth import actor_of, needs
from runs.api.schemas import ItemsOut, PageOut, ReasonIn
from runs.filters import parse_cursor, parse_limit, refuse_unknown

router = Router(tags=["alerts"])


class ChannelIn(BaseModel):
    """What may be set of a channel; `channels` checks it."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"recipients": ["ops@example.org"]}})

    recipients: Any = Field(None, json_schema_extra={"type": "array", "items": {"type": "string", "format": "email"}})
    url: Any = Field(None, json_schema_extra={"type": "string", "format": "uri"})
    enabled: Any = Field(None, json_schema_extra={"type": "boolean"})
    reason: str = Field("", max_length=REASON_LENGTH)

    @property
    def values(self) -> dict[str, Any]:
        """The settings that were sent."""
        return {name: getattr(self, name) for name in channels.EDITABLE if name in self.model_fields_set}


class NewChannelIn(ChannelIn):
    """A channel to make."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"name": "ops", "kind": "email", "recipients": ["ops@example.org"]}},
    )

    name: str
    kind: Any = Field(json_schema_extra={"enum": list(ChannelKind.values)})


class ChannelOut(Schema):
    """A channel. The address of a webhook is told to nobody again: `to` has its host."""

    name: str
    kind: str
    to: str
    recipients: list[str]
    enabled: bool
    created_at: datetime

    @classmethod
    def of(cls, row: Channel) -> ChannelOut:
        return cls.model_construct(**selectors.describe_channel(row))


class TestOut(Schema):
    """The run that delivers."""

    run_id: uuid.UUID


class ToldOut(Schema):
    """A delivery: the run that sends it, and what came of that."""

    id: uuid.UUID
    channel: str
    type: str = Field(description="alert.firing, alert.resolved or test")
    subject: str
    status: str = Field(description="That of the run: `completed` is taken, `retrying` is tried again at `next_at`.")
    attempt: int
    max_attempts: int
    created_at: datetime
    next_at: datetime | None
    finished_at: datetime | None
    error: str | None


@router.get("/channels", response=ItemsOut[ChannelOut], auth=needs("runs.view"), operation_id="channels_list")
def channels_list(request: HttpRequest) -> Any:
    """Channels by name."""
    return ItemsOut[ChannelOut].model_construct(items=[ChannelOut.of(row) for row in Channel.objects.all()])


@router.post(
    "/channels",
    response={201: ChannelOut},
    auth=needs("alerts.edit"),
    operation_id="channel_create",
    openapi_extra=docs.body(NewChannelIn),
)
def channel_create(request: HttpRequest) -> Any:
    """Makes a channel."""
    asked = body.read(request, NewChannelIn)
    actor = actor_of(request)
    made = channels.channel_create(asked.name, asked.kind, actor=actor, reason=asked.reason, **asked.values)
    return Status(201, ChannelOut.of(made))


@router.get("/channels/{name}", response=ChannelOut, auth=needs("runs.view"), operation_id="channel_get")
def channel_get(request: HttpRequest, name: str) -> Any:
    """One channel."""
    return ChannelOut.of(channels.channel_get(name))


@router.patch(
    "/channels/{name}",
    response=ChannelOut,
    auth=needs("alerts.edit"),
    operation_id="channel_update",
    openapi_extra=docs.body(ChannelIn),
)
def channel_update(request: HttpRequest, name: str) -> Any:
    """Changes a channel, in force for what is tried from now on."""
    asked = body.read(request, ChannelIn)
    return ChannelOut.of(channels.channel_update(name, asked.values, actor=actor_of(request), reason=asked.reason))


@router.delete(
    "/channels/{name}",
    response={204: None},
    auth=needs("alerts.edit"),
    operation_id="channel_delete",
    openapi_extra=docs.body(ReasonIn, required=False),
)
def channel_delete(request: HttpRequest, name: str) -> Any:
    """Deletes a channel; what is on its way to it is given up."""
    channels.channel_delete(name, actor=actor_of(request), reason=body.reason_of(request))
    return Status(204, None)


@router.post(
    "/channels/{name}/test",
    response={201: TestOut},
    auth=needs("alerts.edit"),
    operation_id="channel_test",
    openapi_extra=docs.body(ReasonIn, required=False),
)
def channel_test(request: HttpRequest, name: str) -> Any:
    """Sends a test that says so, retried as any news."""
    found = channels.channel_test(name, actor=actor_of(request), reason=body.reason_of(request))
    return Status(201, {"run_id": found})


@router.get(
    "/channels/{name}/deliveries",
    response=PageOut[ToldOut],
    auth=needs("runs.view"),
    operation_id="channel_deliveries",
    openapi_extra=docs.query(*docs.page()),
)
def channel_deliveries(request: HttpRequest, name: str) -> Any:
    """What it was told, the latest first."""
    refuse_unknown(request.GET, ("cursor", "limit"))
    limit, cursor = parse_limit(request.GET.get("limit")), parse_cursor(request.GET.get("cursor"))
    tag = delivering.channel_tag(channels.channel_get(name).name)
    found = selectors.deliveries(tag, cursor=cursor, limit=limit)
    items = [ToldOut.model_construct(**selectors.describe_delivery(run)) for run in found.items]
    return PageOut[ToldOut].model_construct(items=items, next=str(found.next) if found.next else None)
