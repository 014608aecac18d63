"""/endpoints: outbound webhooks. Services of others are told how runs have ended."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema, Status
from pydantic import BaseModel, ConfigDict, Field

from holdfast.access.models import REASON_LENGTH
from runs.api import body, docs
from runs.api.auth import actor_of, needs
from runs.api.schemas import ItemsOut, PageOut, ReasonIn
from runs.api.shown import Shown
from runs.filters import parse_cursor, parse_limit, refuse_unknown
from runs.models import Run
from runs.outbound import selectors, services
from runs.outbound.model import Endpoint

router = Router(tags=["endpoints"])


class EndpointIn(BaseModel):
    """What may be set; `services` checks it."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"url": "https://example.org/hooks", "events": ["run.failed", "run.crashed"]}},
    )

    url: Any = Field(None, json_schema_extra={"type": "string", "format": "uri"})
    events: Any = Field(
        None, json_schema_extra={"type": "array", "items": {"enum": [*services.EVENTS, "*"]}, "minItems": 1}
    )
    tasks: Any = Field(None, json_schema_extra={"type": "array", "items": {"type": "string"}})
    enabled: Any = Field(None, json_schema_extra={"type": "boolean"})
    reason: str = Field("", max_length=REASON_LENGTH)

    @property
    def values(self) -> dict[str, Any]:
        """The settings that were sent."""
        return {name: getattr(self, name) for name in services.EDITABLE if name in self.model_fields_set}


class NewEndpointIn(EndpointIn):
    """An endpoint to make."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"name": "crm", "url": "https://example.org/hooks"}}
    )

    name: str


class EndpointOut(Schema):
    """An endpoint, without its secrets."""

    name: str
    url: str
    events: list[str]
    tasks: list[str]
    enabled: bool
    old_until: datetime | None = Field(description="Until then the secret before the last rotation signs as well.")
    created_at: datetime

    @classmethod
    def of(cls, row: Endpoint) -> EndpointOut:
        return cls.model_construct(**{name: getattr(row, name) for name in EndpointOut.model_fields})


class SecretOut(EndpointOut):
    """An endpoint and its secret, which is not shown again."""

    secret: str


class SentOut(Schema):
    """The run that delivers."""

    run_id: uuid.UUID


class SendingOut(Schema):
    """A delivery: the run that sends it, and what came of that."""

    id: uuid.UUID
    type: str
    status: str = Field(description="That of the run: `completed` is taken, `retrying` is tried again at `next_at`.")
    attempt: int
    max_attempts: int
    created_at: datetime
    next_at: datetime | None
    finished_at: datetime | None
    error: str | None
    answer: Any = Field(description="The answer's status and how many seconds it took.")
    body: Shown

    @classmethod
    def of(cls, run: Run) -> SendingOut:
        return cls.model_construct(**selectors.describe(run))


def _told(row: Endpoint, secret: str) -> SecretOut:
    return SecretOut.model_construct(**EndpointOut.of(row).model_dump(), secret=secret)


@router.get("/endpoints", response=ItemsOut[EndpointOut], auth=needs("webhooks.view"), operation_id="endpoints_list")
def endpoints_list(request: HttpRequest) -> Any:
    """Endpoints by name."""
    return ItemsOut[EndpointOut].model_construct(items=[EndpointOut.of(row) for row in Endpoint.objects.all()])


@router.post(
    "/endpoints",
    response={201: SecretOut},
    auth=needs("webhooks.edit"),
    operation_id="endpoint_create",
    openapi_extra=docs.body(NewEndpointIn),
)
def endpoint_create(request: HttpRequest) -> Any:
    """Makes an endpoint. Its secret is in the answer, and nowhere else."""
    asked = body.read(request, NewEndpointIn)
    made = services.endpoint_create(asked.name, actor=actor_of(request), reason=asked.reason, **asked.values)
    return Status(201, _told(*made))


@router.get("/endpoints/{name}", response=EndpointOut, auth=needs("webhooks.view"), operation_id="endpoint_get")
def endpoint_get(request: HttpRequest, name: str) -> Any:
    """One endpoint."""
    return EndpointOut.of(services.endpoint_get(name))


@router.patch(
    "/endpoints/{name}",
    response=EndpointOut,
    auth=needs("webhooks.edit"),
    operation_id="endpoint_update",
    openapi_extra=docs.body(EndpointIn),
)
def endpoint_update(request: HttpRequest, name: str) -> Any:
    """Changes an endpoint, in force for the runs that end from now on."""
    asked = body.read(request, EndpointIn)
    return EndpointOut.of(services.endpoint_update(name, asked.values, actor=actor_of(request), reason=asked.reason))


@router.delete(
    "/endpoints/{name}",
    response={204: None},
    auth=needs("webhooks.edit"),
    operation_id="endpoint_delete",
    openapi_extra=docs.body(ReasonIn, required=False),
)
def endpoint_delete(request: HttpRequest, name: str) -> Any:
    """Deletes an endpoint; what is on its way to it is not delivered."""
    services.endpoint_delete(name, actor=actor_of(request), reason=body.reason_of(request))
    return Status(204, None)


@router.post(
    "/endpoints/{name}/rotate",
    response=SecretOut,
    auth=needs("webhooks.edit"),
    operation_id="endpoint_rotate",
    openapi_extra=docs.body(ReasonIn, required=False),
)
def endpoint_rotate(request: HttpRequest, name: str) -> Any:
    """A new secret. For a day the old one signs as well."""
    return _told(*services.endpoint_rotate(name, actor=actor_of(request), reason=body.reason_of(request)))


@router.post(
    "/endpoints/{name}/test",
    response={201: SentOut},
    auth=needs("webhooks.edit"),
    operation_id="endpoint_test",
    openapi_extra=docs.body(ReasonIn, required=False),
)
def endpoint_test(request: HttpRequest, name: str) -> Any:
    """Sends `{"type": "test"}`, signed and retried as any delivery."""
    found = services.endpoint_test(name, actor=actor_of(request), reason=body.reason_of(request))
    return Status(201, {"run_id": found})


@router.get(
    "/endpoints/{name}/deliveries",
    response=PageOut[SendingOut],
    auth=needs("webhooks.view"),
    operation_id="endpoint_deliveries",
    openapi_extra=docs.query(*docs.page()),
)
def endpoint_deliveries(request: HttpRequest, name: str) -> Any:
    """What was sent to it, the latest first."""
    refuse_unknown(request.GET, ("cursor", "limit"))
    limit, cursor = parse_limit(request.GET.get("limit")), parse_cursor(request.GET.get("cursor"))
    found = selectors.deliveries(services.endpoint_get(name), cursor=cursor, limit=limit)
    items = [SendingOut.of(run) for run in found.items]
    return PageOut[SendingOut].model_construct(items=items, next=str(found.next) if found.next else None)


@router.post(
    "/endpoints/{name}/deliveries/{run_id}/resend",
    response={201: SentOut},
    auth=needs("webhooks.resend"),
    operation_id="endpoint_delivery_resend",
    openapi_extra=docs.body(ReasonIn, required=False),
)
def endpoint_delivery_resend(request: HttpRequest, name: str, run_id: str) -> Any:
    """Sends a delivery once more: one that has failed under its `webhook-id`, one that was taken under another."""
    asked = body.run_id(run_id)
    again = services.delivery_resend(name, asked, actor=actor_of(request), reason=body.reason_of(request))
    return Status(201, {"run_id": again})
