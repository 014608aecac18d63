"""Queues as they come in and go out over HTTP. The field names are a public contract (DESIGN §4, Shapes)."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from ninja import Schema
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from queues import selectors
from queues.declare import MAX_LIMIT
from queues.rate import MAX_AMOUNT, MAX_PERIOD, MIN_PERIOD, PERIODS
from queues.selectors import EXACT_UP_TO, QueueFlow

LIMIT: Final = WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1, "maximum": MAX_LIMIT}, {"type": "null"}]})
RATE_SCHEMA: Final = {
    "type": "object",
    "description": "At most `amount` starts in any window of `per`: second, minute, hour, day, or seconds.",
    "required": ["amount"],
    "additionalProperties": False,
    "properties": {
        "amount": {"type": "integer", "minimum": 1, "maximum": MAX_AMOUNT},
        "per": {"anyOf": [{"enum": list(PERIODS)}, {"type": "number", "minimum": MIN_PERIOD, "maximum": MAX_PERIOD}]},
    },
}


class RateOut(Schema):
    """At most `amount` starts in any window of `per` seconds."""

    amount: int
    per: float


class QueueIn(BaseModel):
    """A change of a queue's limits. `limit_edited: false`, `key_limit_edited: false` and `rate_edited: false` take an
    edit back: what the code declares counts again."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"concurrency_limit": 10, "rate": {"amount": 100, "per": "minute"}}},
    )

    concurrency_limit: Annotated[Any, LIMIT] = None
    limit_edited: Literal[False] | None = None
    key_concurrency_limit: Annotated[Any, LIMIT] = None
    key_limit_edited: Literal[False] | None = None
    rate: Annotated[Any, WithJsonSchema({"anyOf": [RATE_SCHEMA, {"type": "string"}, {"type": "null"}]})] = None
    rate_edited: Literal[False] | None = None
    reason: str = Field(default="", max_length=500)


class QueueOut(Schema):
    """A queue, its limits, and what is in it now."""

    name: str
    pool: str
    concurrency_limit: int | None
    declared_concurrency_limit: int | None = Field(description="The limit that the code declares.")
    limit_edited: bool = Field(description="True when a person's edit overrides the code.")
    key_concurrency_limit: int | None = Field(description="At most so many at once of each concurrency key.")
    declared_key_concurrency_limit: int | None
    key_limit_edited: bool
    rate: RateOut | None
    declared_rate: RateOut | None = Field(description="The rate that the code declares.")
    rate_edited: bool = Field(description="True when a person's edit overrides the code.")
    paused: bool
    paused_at: datetime | None
    paused_by: str
    pause_reason: str
    depth: int = Field(description=f"Runs that wait for a worker; {EXACT_UP_TO + 1} means more than {EXACT_UP_TO}.")
    running: int = Field(description=f"{EXACT_UP_TO + 1} means more than {EXACT_UP_TO}.")
    scheduled: int = Field(description="Runs that become ready later: delayed, retrying, waiting.")
    waiting_since: datetime | None = Field(description="Since when the oldest ready run waits.")

    @classmethod
    def of(cls, flow: QueueFlow) -> "QueueOut":
        return cls.model_validate(selectors.describe(flow))
