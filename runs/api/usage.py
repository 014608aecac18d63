"""The shapes of usage, budgets, progress and heartbeats; as `schemas.py`."""

import uuid
from datetime import datetime
from typing import Annotated, Any, Final

from ninja import Schema
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from runs.api.shown import Shown
from runs.models import Budget, Heartbeat, Progress
from runs.sdk.usage import MAX_UNITS, plain

AMOUNTS: Final = "Amounts are numbers, exact to 15 digits."
BUDGET_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "minProperties": 1,
    "maxProperties": MAX_UNITS,
    "additionalProperties": {
        "anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?$"}]
    },
    "description": "By unit; text keeps an amount exact.",
    "example": {"cost": "1.50"},
}


class TopUpIn(BaseModel):
    """How much more a run and the runs that it waits for may use, by unit."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"budget": {"cost": "1.50"}}})

    budget: Annotated[Any, WithJsonSchema(BUDGET_SCHEMA)]
    reason: str = Field(default="", max_length=500)


class BudgetOut(Schema):
    """How much of a unit a run and the runs that it waits for may use, and have used together."""

    unit: str
    budget: Any = Field(description=AMOUNTS)
    spent: Any = Field(description=AMOUNTS)
    run: uuid.UUID = Field(description="Whose budget it is: a top-up goes there.")

    @classmethod
    def of(cls, budget: Budget) -> "BudgetOut":
        return cls(unit=budget.unit, budget=plain(budget.amount), spent=plain(budget.spent), run=budget.run_id)


class ProgressOut(Schema):
    """How far a run says that it is: 0 to 1, and in words."""

    value: float
    words: str
    at: datetime

    @classmethod
    def of(cls, progress: Progress) -> "ProgressOut | None":
        if progress.value is None:
            return None
        return cls(value=progress.value, words=progress.words, at=progress.at)


class HeartbeatOut(Schema):
    """The latest heartbeat of a step that has not finished."""

    step: str
    attempt: int
    at: datetime
    details: Shown

    @classmethod
    def of(cls, beat: Heartbeat) -> "HeartbeatOut":
        return cls(step=beat.key, attempt=beat.attempt, at=beat.at, details=beat.details)
