"""/verdict: whether things flow, why not, and what people say of the causes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema, Status
from pydantic import BaseModel, ConfigDict, Field

from holdfast.access.models import REASON_LENGTH
from runs.api import body, docs
from runs.api.auth import actor_of, needs
from runs.api.schemas import ReasonIn
from runs.causes import selectors, services
from runs.causes.model import KEY_LENGTH
from runs.causes.notes import Standing

router = Router(tags=["verdict"])


class SnoozeCauseIn(BaseModel):
    """For how long nobody wants a word of it."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"duration": "4h", "reason": "known"}})

    duration: str = Field(description="A duration like 4h or 1d; 90d at most.")
    reason: str = Field("", max_length=REASON_LENGTH)


class CauseOut(Schema):
    """One thing that keeps work from flowing, and what somebody says of it."""

    key: str = Field(description="It stays the same for as long as the cause is there, such as saturated:llm-calls.")
    kind: str = Field(description="As the verdict's.")
    mood: str = Field(description="bad or warn.")
    words: str
    size: int = Field(description="Runs that wait for it, or have failed of it.")
    page: str = Field(description="The path of the page of its runs; empty: there is none.")
    hint: str = Field(description="A command that helps; may be empty.")
    standing: str = Field(description=f"One of {', '.join(Standing)}.")
    noted_at: datetime | None
    noted_by: str
    reason: str
    snoozed_until: datetime | None


class CheckOut(Schema):
    """What was looked at."""

    name: str
    state: str = Field(
        description="good; cause: a cause is about it; held: somebody wants it so; unmade: it could not be looked at."
    )
    words: str


class VerdictOut(Schema):
    """Whether things flow."""

    kind: str = Field(description="flowing, saturated, stalled, failing, blind, or idle.")
    words: str
    well: bool = Field(description="Nobody has to look: it flows, is saturated, or has nothing to do.")
    down: bool = Field(description="Somebody has to look now.")
    hint: str
    at: datetime
    causes: list[CauseOut] = Field(description="The worst first; snoozed ones too, which the verdict leaves out.")
    ruled_out: list[CheckOut]


@router.get("/verdict", response=VerdictOut, auth=needs("runs.view"), operation_id="verdict_get")
def verdict_get(request: HttpRequest) -> Any:
    """Whether things flow, its causes, what is said of them, and what was looked at and found well."""
    found = selectors.as_json(selectors.story())
    causes = [CauseOut.model_construct(**cause) for cause in found.pop("causes")]
    checks = [CheckOut.model_construct(**check) for check in found.pop("ruled_out")]
    return VerdictOut.model_construct(**found, causes=causes, ruled_out=checks)


@router.post(
    "/verdict/causes/{key}/acknowledge",
    response=CauseOut,
    auth=needs("alerts.silence"),
    operation_id="cause_acknowledge",
    openapi_extra=docs.body(ReasonIn, required=False),
)
def cause_acknowledge(request: HttpRequest, key: str) -> Any:
    """Says that somebody works on it. The verdict goes on to tell of it."""
    reason = body.reason_of(request)
    found = services.cause_acknowledge(body.name("key", key, KEY_LENGTH), actor=actor_of(request), reason=reason)
    return CauseOut.model_construct(**selectors.said_as_json(found))


@router.post(
    "/verdict/causes/{key}/snooze",
    response=CauseOut,
    auth=needs("alerts.silence"),
    operation_id="cause_snooze",
    openapi_extra=docs.body(SnoozeCauseIn),
)
def cause_snooze(request: HttpRequest, key: str) -> Any:
    """The verdict leaves it out for a time, or until it is worse."""
    asked = body.read(request, SnoozeCauseIn)
    found = services.cause_snooze(
        body.name("key", key, KEY_LENGTH), duration=asked.duration, actor=actor_of(request), reason=asked.reason
    )
    return CauseOut.model_construct(**selectors.said_as_json(found))


@router.post(
    "/verdict/causes/{key}/reopen",
    response={204: None},
    auth=needs("alerts.silence"),
    operation_id="cause_reopen",
    openapi_extra=docs.body(ReasonIn, required=False),
)
def cause_reopen(request: HttpRequest, key: str) -> Any:
    """Takes back what was said of it."""
    reason = body.reason_of(request)
    services.cause_reopen(body.name("key", key, KEY_LENGTH), actor=actor_of(request), reason=reason)
    return Status(204, None)
