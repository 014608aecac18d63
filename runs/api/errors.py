"""/errors: what fails in the same way, as one thing, and what people say of it."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema
from pydantic import BaseModel, ConfigDict, Field

from holdfast.access.models import REASON_LENGTH
from runs.api import body, docs
from runs.api.auth import actor_of, needs
from runs.api.schemas import PageOut, ReasonIn
from runs.errorgroups import selectors, services
from runs.errorgroups.selectors import DEFAULT_SPAN, SPANS, Asked
from runs.errorgroups.states import State
from runs.filters import parse_limit, refuse_choice, refuse_unknown

router = Router(tags=["errors"])

_SPAN = docs.parameter("span", "What is counted.", {"type": "string", "enum": list(SPANS), "default": DEFAULT_SPAN})
_STATES = {"type": "string", "enum": ["", selectors.ALL, *map(str, State)]}


class SnoozeIn(BaseModel):
    """Until what comes first: so much time is over, or it has failed so often again. One of them has to be there."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"duration": "1d", "reason": "known"}})

    duration: str | None = Field(None, description="A duration like 4h or 1d; 90d at most.")
    tries: Any = Field(
        None,
        description="Failed tries.",
        json_schema_extra={"type": "integer", "minimum": 1, "maximum": services.MAX_TRIES},
    )
    reason: str = Field("", max_length=REASON_LENGTH)


class ErrorGroupOut(Schema):
    """Failures of one fingerprint. What is counted is of the span that was asked for."""

    fingerprint: str
    state: str = Field(description=f"One of {', '.join(State)}.")
    type: str
    message: str = Field(description="With # for what differs from failure to failure.")
    tasks: list[str]
    steps: list[str] = Field(description="Those that met it most.")
    versions: list[str] = Field(description="Those that met it most.")
    tries: int = Field(description="Failed attempts, and failed tries of steps.")
    ended_runs: int = Field(description="Runs that ended with it.")
    open_runs: int = Field(description="Runs that are not over and whose last error it is.")
    trend: list[int] = Field(description="Failed tries by bins of the span: 24 of an hour, 28 of six, or 30 of a day.")
    first_seen: datetime
    last_seen: datetime
    resolved_at: datetime | None
    resolved_by: str
    resolved_in: list[str] = Field(description="The versions that its tasks had then.")
    snoozed_at: datetime | None
    snoozed_by: str
    snoozed_until: datetime | None
    snoozed_for: int | None = Field(description="Failed tries that end the snooze.")
    snoozed_so_far: int = Field(description="Failed tries since it was snoozed.")
    reason: str


class ErrorPartOut(Schema):
    """What one version has met of it, in one step of one task."""

    task: str
    step: str = Field(description="Empty: outside of steps.")
    version: str
    tries: int
    ended_runs: int
    first: datetime = Field(description="The hour in which it was the first time within the span.")
    last: datetime = Field(description="The hour in which it was the last time.")


class ErrorExampleOut(Schema):
    """A failure as it was stored."""

    run_id: uuid.UUID
    type: str
    message: str
    step: str
    traceback: str
    at: datetime | None


class ErrorGroupDetailOut(ErrorGroupOut):
    """A group with its parts and an example."""

    parts: list[ErrorPartOut]
    example: ErrorExampleOut | None


def _detail(fingerprint: str, span: str = DEFAULT_SPAN) -> ErrorGroupDetailOut:
    refuse_choice("span", span, SPANS)
    found = selectors.detail_as_json(selectors.group_get(fingerprint, span or DEFAULT_SPAN))
    parts = [ErrorPartOut.model_construct(**part) for part in found.pop("parts")]
    example = found.pop("example")
    shown = ErrorExampleOut.model_construct(**example) if example else None
    return ErrorGroupDetailOut.model_construct(**found, parts=parts, example=shown)


@router.get(
    "/errors",
    response=PageOut[ErrorGroupOut],
    auth=needs("runs.view"),
    operation_id="errors_list",
    openapi_extra=docs.query(
        docs.parameter("state", "All that are open without one.", _STATES),
        docs.parameter("task", "A task's id."),
        _SPAN,
        *docs.page(),
    ),
)
def errors_list(request: HttpRequest) -> Any:
    """Groups of errors, the latest first."""
    names = ("span", "state", "task", "cursor")
    refuse_unknown(request.GET, (*names, "limit"))
    asked = Asked.parse(*(request.GET.get(name, "") for name in names))
    page = selectors.page(asked, parse_limit(request.GET.get("limit")))
    items = [ErrorGroupOut.model_construct(**selectors.as_json(group)) for group in page.items]
    return PageOut[ErrorGroupOut].model_construct(items=items, next=str(page.next) if page.next else None)


@router.get(
    "/errors/{fingerprint}",
    response=ErrorGroupDetailOut,
    auth=needs("runs.view"),
    operation_id="error_get",
    openapi_extra=docs.query(_SPAN),
)
def error_get(request: HttpRequest, fingerprint: str) -> Any:
    """One group, by version and step, with an example and its traceback."""
    refuse_unknown(request.GET, ("span",))
    return _detail(fingerprint, request.GET.get("span", ""))


@router.post(
    "/errors/{fingerprint}/resolve",
    response=ErrorGroupDetailOut,
    auth=needs("errors.judge"),
    operation_id="error_resolve",
    openapi_extra=docs.body(ReasonIn, required=False),
)
def error_resolve(request: HttpRequest, fingerprint: str) -> Any:
    """It is resolved in the versions that its tasks have now. Another version that meets it makes it regressed."""
    services.error_resolve(fingerprint, actor=actor_of(request), reason=body.reason_of(request))
    return _detail(fingerprint)


@router.post(
    "/errors/{fingerprint}/reopen",
    response=ErrorGroupDetailOut,
    auth=needs("errors.judge"),
    operation_id="error_reopen",
    openapi_extra=docs.body(ReasonIn, required=False),
)
def error_reopen(request: HttpRequest, fingerprint: str) -> Any:
    """It is neither resolved nor snoozed any more."""
    services.error_reopen(fingerprint, actor=actor_of(request), reason=body.reason_of(request))
    return _detail(fingerprint)


@router.post(
    "/errors/{fingerprint}/snooze",
    response=ErrorGroupDetailOut,
    auth=needs("errors.judge"),
    operation_id="error_snooze",
    openapi_extra=docs.body(SnoozeIn),
)
def error_snooze(request: HttpRequest, fingerprint: str) -> Any:
    """It is quiet until a time, or until it has failed so often again."""
    asked = body.read(request, SnoozeIn)
    services.error_snooze(
        fingerprint, duration=asked.duration, tries=asked.tries, actor=actor_of(request), reason=asked.reason
    )
    return _detail(fingerprint)
