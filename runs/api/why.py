"""Why a run is not running, as it goes out over HTTP."""

import uuid
from datetime import datetime

from ninja import Schema
from pydantic import Field

from queues.line import EXACT_UP_TO
from runs.reasons import GateName

_MORE = f"{EXACT_UP_TO + 1} means more than {EXACT_UP_TO}"


class HolderOut(Schema):
    """A run that has what this one waits for."""

    id: uuid.UUID
    task: str
    since: datetime


class WhyOut(Schema):
    """What holds a run. `gate` is empty for a run that waits for nothing."""

    reason: str
    gate: str = Field(description=f"One of {', '.join(GateName)}; or empty.")
    stuck: bool = Field(description="It will not go on by itself.")
    at: datetime | None = Field(description="When the gate opens, where that is known.")
    holders: list[HolderOut] = Field(description="The first few that hold the slots, the longest first.")
    held: int = Field(description=f"How many hold them; {_MORE}.")
    ahead: int | None = Field(description=f"Starts of its queue before its own; {_MORE}.")
    ahead_of_key: int | None = Field(description="Those of its own concurrency key.")
    predicted_start: datetime | None
    basis: str = Field(description="By what the prediction is made, or why there is none.")
