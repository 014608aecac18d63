"""/alerts: rules that are looked at each minute, when they fired, and what they would have done."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema, Status
from pydantic import BaseModel, ConfigDict, Field

from holdfast.access.models import REASON_LENGTH
from runs.alerts import selectors, services, settings
from runs.alerts.choices import Kind
from runs.alerts.model import Alert, Firing
from runs.api import body, docs
from runs.api.auth import actor_of, needs
from runs.api.schemas import ItemsOut, PageOut, ReasonIn
from runs.filters import parse_limit, parse_number, refuse_unknown

router = Router(tags=["alerts"])
_EXAMPLE: dict[str, Any] = {
    "kind": "failure_rate",
    "task": "sync-customer",
    "threshold": 10,
    "window": 3600,
    "hold": 300,
}


class RuleIn(BaseModel):
    """A rule; `services` checks it. Which settings a kind has beside its threshold: platform/docs/alerts.md."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": _EXAMPLE})

    kind: Any = Field(None, json_schema_extra={"enum": list(Kind.values)})
    task: Any = Field(None, json_schema_extra={"type": "string"})
    queue: Any = Field(None, json_schema_extra={"type": "string"})
    schedule: Any = Field(None, json_schema_extra={"type": "string"})
    threshold: Any = Field(None, json_schema_extra={"type": "number"}, description="It fires above.")
    window: Any = Field(None, json_schema_extra={"type": "integer"}, description="Seconds that are looked at.")
    hold: Any = Field(None, json_schema_extra={"type": "integer"}, description="Seconds above until it fires.")
    min_runs: Any = Field(None, json_schema_extra={"type": "integer"})
    percentile: Any = Field(None, json_schema_extra={"type": "number"})
    unit: Any = Field(None, json_schema_extra={"type": "string"})

    @property
    def values(self) -> dict[str, Any]:
        """The settings that were sent."""
        return {name: getattr(self, name) for name in settings.EDITABLE if name in self.model_fields_set}


class AlertIn(RuleIn):
    """What may be set of an alert."""

    channels: Any = Field(None, json_schema_extra={"type": "array", "items": {"type": "string"}})
    enabled: Any = Field(None, json_schema_extra={"type": "boolean"})
    reason: str = Field("", max_length=REASON_LENGTH)


class NewAlertIn(AlertIn):
    """An alert to make."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"name": "sync-fails", **_EXAMPLE}})

    name: str


class SilenceIn(BaseModel):
    """For how long nobody is told."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"seconds": 3600, "reason": "a release goes out"}}
    )

    seconds: Any = Field(json_schema_extra={"type": "number", "minimum": 60, "maximum": services.MAX_SILENCE})
    reason: str = Field("", max_length=REASON_LENGTH)


class FiringOut(Schema):
    """A time during which an alert fired."""

    id: int
    since: datetime
    until: datetime | None
    ended: str = Field(description="Why it is over; empty while it goes on.")
    threshold: float
    value: float
    peak: float
    peak_at: datetime
    summary: str
    examples: str = Field(description="Where examples are, on this server.")
    told_at: datetime | None
    acknowledged_at: datetime | None
    acknowledged_by: str
    acknowledged_why: str

    @classmethod
    def of(cls, found: Firing) -> FiringOut:
        return cls.model_construct(**selectors.describe_firing(found))


class AlertOut(Schema):
    """An alert and what it says now."""

    name: str
    kind: str
    task: str
    queue: str
    schedule: str
    threshold: float
    window: int
    hold: int
    min_runs: int
    percentile: float
    unit: str
    channels: list[str]
    enabled: bool
    condition: str = Field(description="The rule in words.")
    state: str = Field(description="unmeasured, ok, pending or firing. Unmeasured is not ok.")
    since: datetime
    value: float | None
    note: str = Field(description="What was measured, or why nothing was.")
    evaluated_at: datetime | None
    silenced_until: datetime | None
    silenced_by: str
    silence_reason: str
    firing: FiringOut | None

    @classmethod
    def of(cls, row: selectors.Row) -> AlertOut:
        found = selectors.describe(row)
        return cls.model_construct(**{**found, "firing": FiringOut.of(row.firing) if row.firing else None})


class SpanOut(Schema):
    """When it would have fired."""

    since: datetime
    until: datetime | None
    peak: float


class ValueOut(Schema):
    """The highest value of a quarter of an hour; null is unmeasured."""

    at: datetime
    value: float | None


class AlertPreviewOut(Schema):
    """What a rule would have done over the last seven days."""

    condition: str
    start: datetime
    end: datetime
    times: int
    firings: list[SpanOut]
    measured: float = Field(description="The part of the minutes that had a value.")
    highest: float | None
    points: list[ValueOut]


def _alert(found: Alert) -> AlertOut:
    return AlertOut.of(selectors.row(found))


@router.post(
    "/alerts/preview",
    response=AlertPreviewOut,
    auth=needs("runs.view"),
    operation_id="alert_preview_new",
    openapi_extra=docs.body(RuleIn),
)
def alert_preview_new(request: HttpRequest) -> Any:
    """What a rule that is not stored would have done. Changes nothing."""
    draft = services.alert_draft(**body.read(request, RuleIn).values)
    return selectors.describe_preview(selectors.preview(draft))


@router.get("/alerts", response=ItemsOut[AlertOut], auth=needs("runs.view"), operation_id="alerts_list")
def alerts_list(request: HttpRequest) -> Any:
    """All alerts: those that fire first, then by name."""
    return ItemsOut[AlertOut].model_construct(items=[AlertOut.of(row) for row in selectors.rows()])


@router.post(
    "/alerts",
    response={201: AlertOut},
    auth=needs("alerts.edit"),
    operation_id="alert_create",
    openapi_extra=docs.body(NewAlertIn),
)
def alert_create(request: HttpRequest) -> Any:
    """Makes an alert. It is looked at at once, and each minute from then on."""
    asked = body.read(request, NewAlertIn)
    made = services.alert_create(asked.name, actor=actor_of(request), reason=asked.reason, **asked.values)
    return Status(201, _alert(made))


@router.get("/alerts/{name}", response=AlertOut, auth=needs("runs.view"), operation_id="alert_get")
def alert_get(request: HttpRequest, name: str) -> Any:
    """One alert."""
    return _alert(services.alert_get(name))


@router.patch(
    "/alerts/{name}",
    response=AlertOut,
    auth=needs("alerts.edit"),
    operation_id="alert_update",
    openapi_extra=docs.body(AlertIn),
)
def alert_update(request: HttpRequest, name: str) -> Any:
    """Changes an alert. One that measures something else from now on begins anew: what fires is over."""
    asked = body.read(request, AlertIn)
    return _alert(services.alert_update(name, asked.values, actor=actor_of(request), reason=asked.reason))


@router.delete(
    "/alerts/{name}",
    response={204: None},
    auth=needs("alerts.edit"),
    operation_id="alert_delete",
    openapi_extra=docs.body(ReasonIn, required=False),
)
def alert_delete(request: HttpRequest, name: str) -> Any:
    """Deletes an alert and its history."""
    services.alert_delete(name, actor=actor_of(request), reason=body.reason_of(request))
    return Status(204, None)


@router.post(
    "/alerts/{name}/silence",
    response=AlertOut,
    auth=needs("alerts.silence"),
    operation_id="alert_silence",
    openapi_extra=docs.body(SilenceIn),
)
def alert_silence(request: HttpRequest, name: str) -> Any:
    """Nobody is told for so long. What still fires then is told then."""
    asked = body.read(request, SilenceIn)
    return _alert(services.alert_silence(name, asked.seconds, actor=actor_of(request), reason=asked.reason))


@router.post(
    "/alerts/{name}/unsilence",
    response=AlertOut,
    auth=needs("alerts.silence"),
    operation_id="alert_unsilence",
    openapi_extra=docs.body(ReasonIn, required=False),
)
def alert_unsilence(request: HttpRequest, name: str) -> Any:
    """People are told again."""
    return _alert(services.alert_unsilence(name, actor=actor_of(request), reason=body.reason_of(request)))


@router.post(
    "/alerts/{name}/acknowledge",
    response=FiringOut,
    auth=needs("alerts.silence"),
    operation_id="alert_acknowledge",
    openapi_extra=docs.body(ReasonIn, required=False),
)
def alert_acknowledge(request: HttpRequest, name: str) -> Any:
    """Says that somebody knows of what fires."""
    return FiringOut.of(services.alert_acknowledge(name, actor=actor_of(request), reason=body.reason_of(request)))


@router.get("/alerts/{name}/preview", response=AlertPreviewOut, auth=needs("runs.view"), operation_id="alert_preview")
def alert_preview(request: HttpRequest, name: str) -> Any:
    """What an alert would have done over the last seven days, by its settings of now."""
    return selectors.describe_preview(selectors.preview(services.alert_get(name)))


@router.get(
    "/alerts/{name}/firings",
    response=PageOut[FiringOut],
    auth=needs("runs.view"),
    operation_id="alert_firings",
    openapi_extra=docs.query(*docs.page()),
)
def alert_firings(request: HttpRequest, name: str) -> Any:
    """When it fired, the latest first."""
    refuse_unknown(request.GET, ("cursor", "limit"))
    limit = parse_limit(request.GET.get("limit"))
    cursor = parse_number("cursor", request.GET.get("cursor", ""), least=1, most=2**63 - 1, default=0)
    found = selectors.firings(services.alert_get(name), cursor=cursor or None, limit=limit)
    items = [FiringOut.of(firing) for firing in found.items]
    return PageOut[FiringOut].model_construct(items=items, next=str(found.next) if found.next else None)
