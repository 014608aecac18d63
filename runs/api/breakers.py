"""/breakers: what steps call, and whether they may now."""

from datetime import datetime
from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Router, Schema
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from queues import breakers
from queues.models import BreakerState
from runs.api import body, docs
from runs.api.auth import actor_of, needs
from runs.api.schemas import ReasonIn

router = Router(tags=["breakers"])


class ForceIn(BaseModel):
    """How a breaker is to be held until it is let go."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"state": "open", "reason": "bill unpaid"}})

    state: Annotated[Any, WithJsonSchema({"enum": [str(state) for state in breakers.FORCED]})]
    reason: str = Field(default="", max_length=500)


class BreakerOut(Schema):
    """A breaker, what the calls of its window came to, and its numbers as code declares them."""

    name: str
    state: str = Field(description=f"One of {', '.join(BreakerState.values)}.")
    since: datetime
    changes_at: datetime | None = Field(description="When an open one is half open.")
    forced: bool = Field(description="A person holds it so.")
    forced_by: str
    forced_reason: str
    calls: int
    failures: int
    slow_calls: int
    retries: int
    failure_rate: float
    min_calls: int
    window: float = Field(description="Seconds.")
    slow: float | None = Field(description="Seconds from which a call is slow.")
    slow_rate: float
    cooldown: float = Field(description="Seconds.")
    probes: int
    retry_budget: float | None


class BreakersOut(Schema):
    """All of them, by name."""

    items: list[BreakerOut]


@router.get("/breakers", response=BreakersOut, auth=needs("queues.view"), operation_id="breakers_list")
def breakers_list(request: HttpRequest) -> Any:
    """The breakers that steps have used."""
    items = [BreakerOut.model_validate(found.as_json()) for found in breakers.standings()]
    return BreakersOut.model_construct(items=items)


@router.get("/breakers/{name}", response=BreakerOut, auth=needs("queues.view"), operation_id="breaker_get")
def breaker_get(request: HttpRequest, name: str) -> Any:
    """One breaker."""
    return BreakerOut.model_validate(breakers.breaker_get(body.name("name", name)).as_json())


@router.post(
    "/breakers/{name}/force",
    response=BreakerOut,
    auth=needs("queues.pause"),
    operation_id="breaker_force",
    openapi_extra=docs.body(ForceIn),
)
def breaker_force(request: HttpRequest, name: str) -> Any:
    """Holds it open or closed, whatever calls come to."""
    asked = body.read(request, ForceIn)
    found = breakers.breaker_force(body.name("name", name), asked.state, actor_of(request), asked.reason)
    return BreakerOut.model_validate(found.as_json())


@router.post(
    "/breakers/{name}/release",
    response=BreakerOut,
    auth=needs("queues.pause"),
    operation_id="breaker_release",
    openapi_extra=docs.body(ReasonIn, required=False),
)
def breaker_release(request: HttpRequest, name: str) -> Any:
    """Lets calls decide again."""
    reason = body.reason_of(request)
    return BreakerOut.model_validate(
        breakers.breaker_release(body.name("name", name), actor_of(request), reason).as_json()
    )
