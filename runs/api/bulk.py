"""/bulk: something is done to many runs, in the background."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Any

from django.http import HttpRequest, HttpResponse
from ninja import Router, Schema, Status
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from runs.api import body, docs
from runs.api.auth import actor_of, needs
from runs.api.problems import InvalidId, refusal
from runs.api.schemas import PageOut, ReasonIn
from runs.bulk import scope, selectors, services
from runs.bulk.choices import Action, Outcome, Pace
from runs.bulk.model import BulkItem
from runs.filters import parse_cursor, parse_limit, parse_number, refuse_choice, refuse_unknown
from runs.retries.services import MIN_DELAY
from runs.sdk.options import MAX_DELAY

router = Router(tags=["bulk"])

_OUTCOMES = [*Outcome.values, "none"]
_ACTION = WithJsonSchema({"enum": Action.values})
_TEXT = WithJsonSchema({"type": "string", "description": "A search as in the list of runs, or `ids`."})
_IDS = WithJsonSchema(
    {"type": "array", "items": {"type": "string", "format": "uuid"}, "minItems": 1, "maxItems": scope.MAX_IDS}
)
_PACE = WithJsonSchema({"enum": Pace.values, "description": "canary: 1, then 10, then the rest; for a retry."})


_DELAY = WithJsonSchema(
    {"type": "number", "minimum": MIN_DELAY, "maximum": MAX_DELAY, "description": "Of postpone: seconds from now."}
)


class BulkIn(BaseModel):
    """What is to be done to which runs: `q` or `ids`; `services` checks it."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"action": "retry", "q": "task:sync error:5e1fb00d", "pace": "canary"}},
    )

    action: Annotated[Any, _ACTION]
    q: Annotated[str | None, _TEXT] = None
    ids: Annotated[Any, _IDS] = None
    pace: Annotated[Any, _PACE] = str(Pace.ALL)
    delay: Annotated[Any, _DELAY] = None
    newest: uuid.UUID | None = Field(default=None, description="Of `q`: runs that came after this one are not meant.")
    reason: str = Field(default="", max_length=services.MAX_REASON)


class ReasonsOut(Schema):
    """So many runs came out so, for one reason."""

    outcome: str = Field(description="done, skipped, failed; none: nothing yet.")
    why: str
    runs: int


class BulkOut(Schema):
    """A bulk job. Its id is that of the run that does it."""

    id: uuid.UUID
    action: str
    pace: str
    delay: float | None = Field(description="Seconds by which next attempts are put off.")
    search: str = Field(description="What was searched for; empty for a selection.")
    reason: str
    by: str
    status: str = Field(description="Of its run.")
    stopped: str = Field(description="Why a canary went no further.")
    words: str = Field(description="What it says of itself.")
    total: int
    done: int
    skipped: int
    failed: int
    left: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    outcomes: list[ReasonsOut] = Field(description="What became of its runs, by reason; empty in lists.")

    @classmethod
    def of(cls, found: selectors.Look, *, whole: bool = True) -> BulkOut:
        told = selectors.describe(found, whole=whole)
        outcomes = [ReasonsOut.model_construct(**reasons) for reasons in told.pop("outcomes")]
        return cls.model_construct(**told, outcomes=outcomes)


class BulkItemOut(Schema):
    """One run of a job."""

    position: int
    run_id: uuid.UUID
    outcome: str = Field(description="done, skipped, failed; none: nothing yet.")
    why: str
    became: uuid.UUID | None = Field(description="The run that a replay started.")

    @classmethod
    def of(cls, item: BulkItem) -> BulkItemOut:
        return cls.model_construct(**selectors.describe_item(item))


class BulkPreviewOut(Schema):
    """What a bulk action would be about."""

    action: str
    q: str = Field(description="The search that would be meant, a status included.")
    runs: int = Field(description="Counted up to 10,000; 10,001 means more.")
    exact: bool = Field(description="False: there are at least so many.")
    newest: uuid.UUID | None = Field(description="Send it back, so that runs that come meanwhile are not meant.")


@router.get(
    "/bulk",
    response=PageOut[BulkOut],
    auth=needs("runs.view"),
    operation_id="bulk_list",
    openapi_extra=docs.query(*docs.page()),
)
def bulk_list(request: HttpRequest) -> Any:
    """Bulk jobs, the latest first."""
    refuse_unknown(request.GET, ("cursor", "limit"))
    limit, cursor = parse_limit(request.GET.get("limit")), parse_cursor(request.GET.get("cursor"))
    page = selectors.jobs(cursor=cursor, limit=limit)
    items = [BulkOut.of(found, whole=False) for found in page.items]
    return PageOut[BulkOut].model_construct(items=items, next=str(page.next) if page.next else None)


@router.post(
    "/bulk",
    response={201: BulkOut},
    auth=needs("runs.cancel"),
    operation_id="bulk_create",
    openapi_extra=docs.body(BulkIn),
)
def bulk_create(request: HttpRequest, response: HttpResponse) -> Any:
    """Begins a bulk job over the runs that fit now. A replay needs the grant runs.enqueue."""
    asked = body.read(request, BulkIn)
    job = services.bulk_create(
        action=asked.action,
        search=asked.q,
        ids=asked.ids,
        pace=asked.pace,
        delay=asked.delay,
        newest=asked.newest,
        reason=asked.reason,
        actor=actor_of(request),
    )
    response["Location"] = f"/api/v1/bulk/{job.id}"
    return Status(201, BulkOut.of(selectors.look(job.id)))


@router.get(
    "/bulk/preview",
    response=BulkPreviewOut,
    auth=needs("runs.view"),
    operation_id="bulk_preview",
    openapi_extra=docs.query(
        docs.parameter("action", "What would be done.", {"enum": Action.values}),
        docs.parameter("q", "A search as in the list of runs."),
    ),
)
def bulk_preview(request: HttpRequest) -> Any:
    """Which runs a bulk action would be about, and how many. Nothing is done."""
    refuse_unknown(request.GET, ("action", "q"))
    action = services.check(request.GET.get("action", ""))[0]
    found = scope.preview_search(action, request.GET.get("q", ""))
    return BulkPreviewOut.model_construct(
        action=str(action), q=found.text, runs=found.runs, exact=found.exact, newest=found.newest
    )


@router.get("/bulk/{job_id}", response=BulkOut, auth=needs("runs.view"), operation_id="bulk_get")
def bulk_get(request: HttpRequest, job_id: str) -> Any:
    """One bulk job, with what became of its runs by reason."""
    return BulkOut.of(selectors.look(_id(job_id)))


@router.get(
    "/bulk/{job_id}/items",
    response=PageOut[BulkItemOut],
    auth=needs("runs.view"),
    operation_id="bulk_items",
    openapi_extra=docs.query(docs.parameter("outcome", "Only those.", {"enum": _OUTCOMES}), *docs.page()),
)
def bulk_items(request: HttpRequest, job_id: str) -> Any:
    """The runs of a bulk job in the order in which they are worked, the oldest first."""
    refuse_unknown(request.GET, ("outcome", "cursor", "limit"))
    outcome = request.GET.get("outcome", "")
    refuse_choice("outcome", outcome, _OUTCOMES)
    page = selectors.items(
        selectors.job_get(_id(job_id)).id,
        outcome={"": None, "none": ""}.get(outcome, outcome),
        after=parse_number("cursor", request.GET.get("cursor"), least=0, most=scope.MAX_RUNS, default=-1),
        limit=parse_limit(request.GET.get("limit")),
    )
    return PageOut[BulkItemOut].model_construct(items=[BulkItemOut.of(item) for item in page.items], next=page.next)


@router.post(
    "/bulk/{job_id}/abort",
    response=BulkOut,
    auth=needs("runs.cancel"),
    operation_id="bulk_abort",
    openapi_extra=docs.body(ReasonIn, required=False),
)
def bulk_abort(request: HttpRequest, job_id: str) -> Any:
    """No further run is acted upon; what was done stays done. 409 when the job is over."""
    found = _id(job_id)
    services.bulk_abort(found, actor=actor_of(request), reason=body.reason_of(request))
    return BulkOut.of(selectors.look(found))


def _id(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise refusal(InvalidId, ("job_id", "is no id of a bulk job; write a UUID")) from None
