"""/runs/{id}/stack: where a run is."""

import uuid
from datetime import datetime
from typing import Any, Final

from django.http import HttpRequest
from ninja import Router, Schema
from pydantic import BaseModel, ConfigDict, Field

from runs.api import body, docs
from runs.api.auth import needs
from runs.stuck.services import PATIENCE, stack_take

router = Router(tags=["runs"])

#: Seconds that a request waits at most: it holds a thread of the web process.
MAX_TIMEOUT: Final = 30.0


class StackIn(BaseModel):
    """How long to wait for the worker's answer."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"timeout": 10}})

    timeout: float = Field(PATIENCE, ge=0, le=MAX_TIMEOUT, description="Seconds.")


class FrameOut(Schema):
    """A call. What variables hold is never told."""

    file: str
    line: int
    function: str
    source: str = Field(description="The line of code, as the worker's files have it now.")
    own: bool = Field(description="Of your own code: neither Python's, nor a package's, nor Holdfast's.")


class PartOut(Schema):
    """An asyncio task or a thread of the run."""

    kind: str = Field(description="task or thread.")
    name: str
    frames: list[FrameOut] = Field(description="The innermost is the last.")


class StackOut(Schema):
    """Where a run is."""

    run_id: uuid.UUID
    worker: str
    captured_at: datetime
    steps: list[str] = Field(description="Steps that are at work, by key.")
    waits: bool = Field(description="A branch of it waits for something that is to come.")
    parts: list[PartOut]
    more: int = Field(description="Tasks and threads that are not told.")


@router.post(
    "/runs/{run_id}/stack",
    response=StackOut,
    auth=needs("runs.view"),
    operation_id="run_stack",
    openapi_extra=docs.body(StackIn, required=False),
)
def run_stack(request: HttpRequest, run_id: str) -> Any:
    """The Python stack of a run that a worker executes, taken now: of its asyncio tasks and its threads, also in a
    process of its own, and also while it computes without yielding. Waits for four seconds, or as long as is sent. 409
    when no worker has the run; 504 when its worker does not answer."""
    found, asked = body.run_id(run_id), body.read(request, StackIn, optional=True)
    return StackOut(**stack_take(found, timeout=asked.timeout).as_json())
