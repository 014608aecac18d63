"""Queues as they come in and go out over HTTP. The field names are a public contract (DESIGN §4, Shapes)."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from ninja import Schema
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from queues import selectors
from queues.editable import MAX_LIMIT
from queues.rate import MAX_AMOUNT, MAX_PERIOD, MIN_PERIOD, PERIODS
from queues.selectors import EXACT_UP_TO, QueueFlow
from queues.services import MAX_PAUSE
from queues.weights import MAX_WEIGHT, MAX_WEIGHTS
from queues.whatif import Outcome
from runs.whatif import WhatIf

LIMIT: Final = WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1, "maximum": MAX_LIMIT}, {"type": "null"}]})
RATE_SCHEMA: Final = {
    "type": "object",
    "description": "At most `amount` starts in any window of `per`: second, minute, hour, day, or seconds.",
    "required": ["amount", "per"],
    "additionalProperties": False,
    "properties": {
        "amount": {"type": "integer", "minimum": 1, "maximum": MAX_AMOUNT},
        "unit": {"type": "string", "description": "What is counted in place of starts, such as tokens."},
        "per": {"anyOf": [{"enum": list(PERIODS)}, {"type": "number", "minimum": MIN_PERIOD, "maximum": MAX_PERIOD}]},
    },
}

RATE: Final = WithJsonSchema({"anyOf": [RATE_SCHEMA, {"type": "string"}, {"type": "null"}]})
WEIGHTS_SCHEMA: Final = {
    "type": "object",
    "description": "How many runs of a concurrency key start in one turn, where that is not one.",
    "maxProperties": MAX_WEIGHTS,
    "additionalProperties": {"type": "integer", "minimum": 1, "maximum": MAX_WEIGHT},
}


class RateOut(Schema):
    """At most `amount` starts, or units, in any window of `per` seconds."""

    amount: int
    per: float
    unit: str | None = None


class QueueIn(BaseModel):
    """A change of a queue's settings. A flag (`limit_edited`, `rate_edited`, …) that is false takes the edit back: what
    the code declares counts again."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"concurrency_limit": 10, "rate": {"amount": 100, "per": "minute"}}},
    )

    concurrency_limit: Annotated[Any, LIMIT] = None
    limit_edited: Literal[False] | None = None
    key_concurrency_limit: Annotated[Any, LIMIT] = None
    key_limit_edited: Literal[False] | None = None
    rate: Annotated[Any, RATE] = None
    rate_edited: Literal[False] | None = None
    key_rate: Annotated[Any, RATE] = None
    key_rate_edited: Literal[False] | None = None
    key_weights: Annotated[Any, WithJsonSchema({"anyOf": [WEIGHTS_SCHEMA, {"type": "null"}]})] = None
    key_weights_edited: Literal[False] | None = None
    reason: str = Field(default="", max_length=500)


class PauseIn(BaseModel):
    """How a queue is paused."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"reason": "deploy", "seconds": 600}})

    reason: str = Field(default="", max_length=500)
    seconds: Annotated[Any, WithJsonSchema({"type": "number", "minimum": 1, "maximum": MAX_PAUSE})] = None
    drain: bool = Field(default=False, description="Work off what is there; what comes later waits.")


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
    declared_rate: RateOut | None
    rate_edited: bool
    key_rate: RateOut | None = Field(description="The rate of each concurrency key.")
    declared_key_rate: RateOut | None
    key_rate_edited: bool
    key_weights: dict[str, int] = Field(description="How many runs of a key start in one turn, where that is not one.")
    declared_key_weights: dict[str, int]
    key_weights_edited: bool
    paused: bool
    paused_at: datetime | None
    paused_until: datetime | None = Field(description="When the pause ends by itself.")
    drains: bool = Field(description="What came before `paused_at` is worked off.")
    paused_by: str
    pause_reason: str
    depth: int = Field(description=f"Runs that wait for a worker; {EXACT_UP_TO + 1} means more than {EXACT_UP_TO}.")
    running: int = Field(description=f"{EXACT_UP_TO + 1} means more than {EXACT_UP_TO}.")
    scheduled: int = Field(description="Runs that become ready later: delayed, retrying, waiting.")
    waiting_since: datetime | None = Field(description="Since when the oldest of the first in line waits.")
    breaker: str = Field(description="The breaker that protects its runs; empty for none.")

    @classmethod
    def of(cls, flow: QueueFlow) -> "QueueOut":
        return cls.model_validate(selectors.describe(flow))


class WaitsOut(Schema):
    """How long runs wait for their start, in seconds."""

    p50: float
    p95: float
    longest: float
    delayed: float = Field(description="The share that waits for more than a second, 0 to 1.")

    @classmethod
    def of(cls, outcome: Outcome) -> "WaitsOut":
        return cls(p50=outcome.p50, p95=outcome.p95, longest=outcome.longest, delayed=outcome.delayed)


class WhatIfOut(Schema):
    """The last day's runs of a queue that have started, replayed by simulation: each starts once, holds its slot for as
    long as it was worked on, counts from its enqueue, and finds a free worker."""

    runs: int
    more: bool = Field(description="There were more; the earlier ones are left out.")
    start: datetime = Field(description="When the first of them came.")
    end: datetime
    before: WaitsOut = Field(description="Under the limits as they are.")
    after: WaitsOut = Field(description="Under the limits as they are proposed.")

    @classmethod
    def of(cls, found: WhatIf) -> "WhatIfOut":
        before, after = WaitsOut.of(found.before), WaitsOut.of(found.after)
        return cls(runs=found.runs, more=found.more, start=found.start, end=found.end, before=before, after=after)
