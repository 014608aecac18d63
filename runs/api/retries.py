"""/retries: runs that failed and go on, and the time of their next attempt."""

import uuid
from datetime import datetime
from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Router, Schema
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from runs import selectors
from runs.api import body, docs
from runs.api.auth import actor_of, needs
from runs.api.schemas import ReasonIn, RunOut
from runs.api.usage import AMOUNTS
from runs.filters import parse_cursor, parse_limit
from runs.retries import selectors as retries
from runs.retries.services import MIN_DELAY, run_hurry, run_postpone
from runs.retries.verdict import Verdict
from runs.sdk.options import MAX_DELAY

router = Router(tags=["retries"])

_PAGING = ("cursor", "limit")


class PostponeIn(BaseModel):
    """When the next attempt begins: seconds from now."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"delay": 1800, "reason": "they are down"}})

    delay: Annotated[Any, WithJsonSchema({"type": "number", "minimum": MIN_DELAY, "maximum": MAX_DELAY})]
    reason: str = Field(default="", max_length=500)


class TriedOut(Schema):
    """One attempt, and the new things that it has finished."""

    number: int
    new_steps: int


class RetryOut(Schema):
    """A run that failed and goes on. Counts of attempts stop at 10."""

    id: uuid.UUID
    task: str
    queue: str
    status: str
    verdict: str = Field(description="progress, burning, or early: too early to say.")
    attempt: int
    max_attempts: int
    attempts: list[TriedOut] = Field(description="The latest ones, first one first.")
    attempts_per_new_step: float | None = Field(description="Null while retries have finished nothing new.")
    attempts_without_progress: int = Field(description="The latest attempts that finished nothing new.")
    same_error_streak: int = Field(description="The latest attempts that met one error.")
    fingerprint: str | None
    last_progress_at: datetime | None
    last_progress: str | None = Field(description="The step or wait that was finished last; empty for a checkpoint.")
    spent_since: Any = Field(description=f"What was used since, by unit. {AMOUNTS}")
    next_at: datetime | None
    error_type: str | None
    error_message: str | None


class RetryGroupOut(Schema):
    """Runs that burn on one error."""

    fingerprint: str
    type: str
    message: str
    runs: int
    tasks: list[str]
    attempts_without_progress: int
    spent_since: Any
    latest: uuid.UUID


class RetriesSummaryOut(Schema):
    """All that were looked at, by verdict."""

    progress: int
    burning: int
    early: int
    looked_at: int
    more: bool = Field(description="There are others, which were not looked at.")
    groups: list[RetryGroupOut]


class RetriesOut(Schema):
    """Runs that failed and go on, newest first."""

    items: list[RetryOut]
    next: uuid.UUID | None
    summary: RetriesSummaryOut | None = Field(description="On the first page.")


@router.get(
    "/retries",
    response=RetriesOut,
    auth=needs("runs.view"),
    operation_id="retries_list",
    openapi_extra=docs.query(
        docs.parameter("task", "The task's id."),
        docs.parameter("queue", "The queue's name."),
        docs.parameter("verdict", "Those of one verdict.", {"enum": [*map(str, Verdict)]}),
        *docs.page(),
    ),
)
def retries_list(request: HttpRequest) -> Any:
    """Runs that have failed at least once and are not over: do their attempts make progress, or burn money? A page of
    one verdict looks at 300 runs at most: it may be shorter than its limit, even empty, and `next` goes on."""
    page = retries.page(
        retries.Asked.parse(request.GET, also=_PAGING),
        cursor=parse_cursor(request.GET.get("cursor")),
        limit=parse_limit(request.GET.get("limit")),
    )
    return RetriesOut.model_validate(retries.page_json(page))


@router.post(
    "/runs/{run_id}/postpone",
    response=RunOut,
    auth=needs("runs.retry"),
    operation_id="run_postpone",
    openapi_extra=docs.body(PostponeIn),
)
def postpone(request: HttpRequest, run_id: str) -> Any:
    """The next attempt of a run that is retrying begins later. 409 when it waits for no attempt."""
    found, asked = body.run_id(run_id), body.read(request, PostponeIn)
    run_postpone(found, delay=asked.delay, actor=actor_of(request), reason=asked.reason)
    return RunOut.of(selectors.run_get(found))


@router.post(
    "/runs/{run_id}/hurry",
    response=RunOut,
    auth=needs("runs.retry"),
    operation_id="run_hurry",
    openapi_extra=docs.body(ReasonIn, required=False),
)
def hurry(request: HttpRequest, run_id: str) -> Any:
    """The next attempt of a run that is retrying begins now. 409 when it waits for none, or it is due already."""
    found = body.run_id(run_id)
    run_hurry(found, actor=actor_of(request), reason=body.reason_of(request))
    return RunOut.of(selectors.run_get(found))
