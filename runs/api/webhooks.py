"""/webhooks: requests from outside that start runs, and what came of them."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Any, Final

from django.http import HttpRequest
from ninja import Router, Schema
from ninja import Status as Answer
from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from holdfast.access.models import REASON_LENGTH
from holdfast.redaction import redacted
from runs.api import body, docs
from runs.api.auth import actor_of, needs
from runs.api.problems import InvalidId, refusal
from runs.api.schemas import ItemsOut, PageOut, ReasonIn
from runs.api.shown import Shown
from runs.filters import parse_cursor, parse_limit, refuse_unknown
from runs.webhooks import schemes, selectors, services
from runs.webhooks.model import Delivery, Webhook

router = Router(tags=["webhooks"])

_TEXT: Final[dict[str, Any]] = {"type": "string"}


class WebhookIn(BaseModel):
    """What may be set; `services` checks it."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"filter": "action == 'opened'"}})

    task: Any = Field(None, json_schema_extra=_TEXT)
    window: Any = Field(None, json_schema_extra={"type": "integer", "minimum": 1, "maximum": services.MAX_WINDOW})
    body_limit: Any = Field(None, json_schema_extra={"type": "integer", "minimum": 1, "maximum": services.MAX_BODY})
    filter: Any = Field(None, json_schema_extra={**_TEXT, "description": "JMESPath: which requests start a run."})
    mapping: Any = Field(None, json_schema_extra={**_TEXT, "description": "JMESPath: the payload of a request."})
    enabled: Any = Field(None, json_schema_extra={"type": "boolean"})
    reason: str = Field("", max_length=REASON_LENGTH)

    @property
    def values(self) -> dict[str, Any]:
        """The settings that were sent."""
        sent = {name for name in self.model_fields_set if name in ("task", *services.EDITABLE)}
        return {"task_id" if name == "task" else name: getattr(self, name) for name in sorted(sent)}


class NewWebhookIn(WebhookIn):
    """A webhook to make. Without a secret of the sender's, one is made."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"name": "github", "task": "review", "scheme": "github"}}
    )

    name: str
    task: str
    scheme: str = Field(schemes.STANDARD, json_schema_extra={"enum": list(schemes.SCHEMES)})
    secret: str | None = None


class RotateIn(BaseModel):
    """A new secret, the sender's own or one that is made."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"overlap": 86_400}})

    secret: str | None = None
    overlap: Any = Field(
        services.OVERLAP,
        description="Seconds for which the old one stays valid.",
        json_schema_extra={"type": "integer", "minimum": 0, "maximum": services.MAX_OVERLAP},
    )
    reason: str = Field("", max_length=REASON_LENGTH)


class WebhookOut(Schema):
    """A webhook, without its secrets."""

    name: str
    task: str
    scheme: str
    window: int
    body_limit: int
    filter: str
    mapping: str
    enabled: bool
    old_until: datetime | None = Field(description="Until then the secret before the last rotation is valid as well.")
    refused_count: int = Field(description="Requests without a valid signature.")
    refused_at: datetime | None
    refused_reason: str
    created_at: datetime

    @classmethod
    def of(cls, row: Webhook) -> WebhookOut:
        names = set(WebhookOut.model_fields) - {"task"}
        return cls.model_construct(task=row.task_id, **{name: getattr(row, name) for name in names})


class WebhookSecretOut(WebhookOut):
    """A webhook and its secret, which is not shown again."""

    secret: str


class DeliveryOut(Schema):
    """A request whose signature was valid, and what came of it."""

    id: uuid.UUID
    remote_id: str
    received_at: datetime
    outcome: str = Field(description="`accepted`, `filtered` or `refused`.")
    reason: str
    errors: list[Any]
    run_id: uuid.UUID | None
    resent: int = Field(description="How often a person sent it again.")
    headers: Annotated[dict[str, str], PlainSerializer(redacted, return_type=dict[str, str])]
    body: Shown

    @classmethod
    def of(cls, row: Delivery) -> DeliveryOut:
        return cls.model_construct(**{name: getattr(row, name) for name in DeliveryOut.model_fields})


def _told(row: Webhook, secret: str) -> WebhookSecretOut:
    return WebhookSecretOut.model_construct(**WebhookOut.of(row).model_dump(), secret=secret)


@router.get("/webhooks", response=ItemsOut[WebhookOut], auth=needs("webhooks.view"), operation_id="webhooks_list")
def webhooks_list(request: HttpRequest) -> Any:
    """Webhooks by name."""
    return ItemsOut[WebhookOut].model_construct(items=[WebhookOut.of(row) for row in Webhook.objects.all()])


@router.post(
    "/webhooks",
    response={201: WebhookSecretOut},
    auth=needs("webhooks.edit"),
    operation_id="webhook_create",
    openapi_extra=docs.body(NewWebhookIn),
)
def webhook_create(request: HttpRequest) -> Any:
    """Makes a webhook, which takes requests at `/hooks/{name}`. Its secret is in the answer, and nowhere else."""
    asked = body.read(request, NewWebhookIn)
    settings = {name: value for name, value in asked.values.items() if name != "task_id"}
    made = services.webhook_create(
        asked.name,
        asked.task,
        scheme=asked.scheme,
        secret=asked.secret,
        actor=actor_of(request),
        reason=asked.reason,
        **settings,
    )
    return Answer(201, _told(*made))


@router.get("/webhooks/{name}", response=WebhookOut, auth=needs("webhooks.view"), operation_id="webhook_get")
def webhook_get(request: HttpRequest, name: str) -> Any:
    """One webhook."""
    return WebhookOut.of(services.webhook_get(name))


@router.patch(
    "/webhooks/{name}",
    response=WebhookOut,
    auth=needs("webhooks.edit"),
    operation_id="webhook_update",
    openapi_extra=docs.body(WebhookIn),
)
def webhook_update(request: HttpRequest, name: str) -> Any:
    """Changes a webhook, in force with the next request."""
    asked = body.read(request, WebhookIn)
    return WebhookOut.of(services.webhook_update(name, asked.values, actor=actor_of(request), reason=asked.reason))


@router.delete(
    "/webhooks/{name}",
    response={204: None},
    auth=needs("webhooks.edit"),
    operation_id="webhook_delete",
    openapi_extra=docs.body(ReasonIn, required=False),
)
def webhook_delete(request: HttpRequest, name: str) -> Any:
    """Deletes a webhook and its deliveries; the runs that it started stay."""
    services.webhook_delete(name, actor=actor_of(request), reason=body.reason_of(request))
    return Answer(204, None)


@router.post(
    "/webhooks/{name}/rotate",
    response=WebhookSecretOut,
    auth=needs("webhooks.edit"),
    operation_id="webhook_rotate",
    openapi_extra=docs.body(RotateIn, required=False),
)
def webhook_rotate(request: HttpRequest, name: str) -> Any:
    """A new secret, valid at once; the old one stays valid for a while."""
    asked = body.read(request, RotateIn, optional=True)
    return _told(
        *services.webhook_rotate(
            name, secret=asked.secret, overlap=asked.overlap, actor=actor_of(request), reason=asked.reason
        )
    )


@router.get(
    "/webhooks/{name}/deliveries",
    response=PageOut[DeliveryOut],
    auth=needs("webhooks.view"),
    operation_id="webhook_deliveries",
    openapi_extra=docs.query(*docs.page()),
)
def webhook_deliveries(request: HttpRequest, name: str) -> Any:
    """What came to it, the latest first."""
    refuse_unknown(request.GET, ("cursor", "limit"))
    limit, cursor = parse_limit(request.GET.get("limit")), parse_cursor(request.GET.get("cursor"))
    found = selectors.deliveries(services.webhook_get(name), cursor=cursor, limit=limit)
    items = [DeliveryOut.of(row) for row in found.items]
    return PageOut[DeliveryOut].model_construct(items=items, next=str(found.next) if found.next else None)


@router.post(
    "/webhooks/deliveries/{delivery_id}/resend",
    response=DeliveryOut,
    auth=needs("webhooks.resend"),
    operation_id="delivery_resend",
    openapi_extra=docs.body(ReasonIn, required=False),
)
def delivery_resend(request: HttpRequest, delivery_id: str) -> Any:
    """Puts a stored delivery through filter and mapping once more, as they are now, and tells what came of it this
    time. One that was accepted starts a second run; if it is filtered or refused now, it stays accepted."""
    try:
        found = uuid.UUID(delivery_id)
    except ValueError:
        raise refusal(InvalidId, ("delivery_id", "is no id; write a UUID")) from None
    return DeliveryOut.of(services.delivery_resend(found, actor=actor_of(request), reason=body.reason_of(request)))
