"""/runs: what became of them, and what a person may do with them."""

import uuid
from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Router, Status

from runs import answers, budgets, levels, loglines, selectors, services
from runs.api import body, docs
from runs.api.auth import actor_of, needs
from runs.api.problems import InvalidBody, refusal
from runs.api.schemas import (
    AttemptOut,
    LogLineOut,
    PageOut,
    ReasonIn,
    ReplayIn,
    ResolveIn,
    RunOut,
    SignalIn,
    SnapshotOut,
)
from runs.api.usage import TopUpIn
from runs.api.why import WhyOut
from runs.filters import RunFilter, parse_cursor, parse_limit, parse_number, refuse_unknown
from runs.models import STATUSES
from runs.why import NOTHING, why

router = Router(tags=["runs"])

MAX_SEQUENCE = 2**63 - 1
MAX_NUMBER = 2**31 - 1
_PAGING = ("cursor", "limit")
_STATUS_SCHEMA = {"type": "array", "items": {"enum": STATUSES}}
_TIME_SCHEMA = {"type": "string", "format": "date-time"}


@router.get(
    "/runs",
    response=PageOut[RunOut],
    auth=needs("runs.view"),
    operation_id="runs_list",
    openapi_extra=docs.query(
        docs.parameter("q", "A search: `queue:llm -task:sync status:retrying age:>10m payload.user.id:42`."),
        docs.parameter("status", "Any of these.", _STATUS_SCHEMA),
        docs.parameter("task", "The task's id."),
        docs.parameter("queue", "The queue's name."),
        docs.parameter("tag", "All of these.", {"type": "array", "items": {"type": "string"}}),
        docs.parameter("parent", "The id of the run that started them.", {"type": "string", "format": "uuid"}),
        docs.parameter("created_after", "From this time on.", _TIME_SCHEMA),
        docs.parameter("created_before", "Before this time.", _TIME_SCHEMA),
        *docs.page(),
    ),
)
def runs_list(request: HttpRequest) -> Any:
    """Runs, newest first. A page of large runs may be shorter than its limit. So may a page of a search that no index
    serves as a whole, which passes 50,000 runs at most: it may even be empty, and `next` goes on. Where `q` cannot be
    read, `errors` says at which character."""
    page = selectors.runs_page(
        RunFilter.parse(request.GET, also=_PAGING),
        cursor=parse_cursor(request.GET.get("cursor")),
        limit=parse_limit(request.GET.get("limit")),
        bodies=True,
    )
    return _page(RunOut, page)


@router.get("/runs/{run_id}", response=RunOut, auth=needs("runs.view"), operation_id="run_get")
def run_get(request: HttpRequest, run_id: str) -> Any:
    """One run."""
    return RunOut.of(selectors.run_get(body.run_id(run_id)))


@router.get("/runs/{run_id}/why", response=WhyOut, auth=needs("runs.view"), operation_id="run_why")
def run_why(request: HttpRequest, run_id: str) -> Any:
    """Why a run is not running: the gate, who holds it, its place in line, and when it will probably start."""
    found = why(body.run_id(run_id))
    return WhyOut.model_construct(**(found.as_json() if found else NOTHING.as_json()))


@router.get(
    "/runs/{run_id}/attempts",
    response=PageOut[AttemptOut],
    auth=needs("runs.view"),
    operation_id="run_attempts",
    openapi_extra=docs.query(*docs.page(selectors.MAX_ATTEMPTS)),
)
def run_attempts(request: HttpRequest, run_id: str) -> Any:
    """A run's attempts, first one first."""
    refuse_unknown(request.GET, _PAGING)
    after, limit = _after(request, "cursor", MAX_NUMBER), parse_limit(_limit(request), most=selectors.MAX_ATTEMPTS)
    return _page(AttemptOut, selectors.attempts(existing(run_id), after=after, limit=limit))


@router.get(
    "/runs/{run_id}/snapshots",
    response=PageOut[SnapshotOut],
    auth=needs("runs.view"),
    operation_id="run_snapshots",
    openapi_extra=docs.query(*docs.page(selectors.MAX_SNAPSHOTS)),
)
def run_snapshots(request: HttpRequest, run_id: str) -> Any:
    """A run's snapshots in sequence. A page of large ones may be shorter than its limit."""
    refuse_unknown(request.GET, _PAGING)
    after, limit = _after(request, "cursor", MAX_NUMBER), parse_limit(_limit(request), most=selectors.MAX_SNAPSHOTS)
    return _page(SnapshotOut, selectors.snapshots(existing(run_id), after=after, limit=limit))


@router.get(
    "/runs/{run_id}/logs",
    response=PageOut[LogLineOut],
    auth=needs("runs.view"),
    operation_id="run_logs",
    openapi_extra=docs.query(
        docs.parameter("after", "The sequence of the last line seen.", {"type": "integer", "minimum": 0}),
        docs.parameter("at", "From the first line on that is not older than this.", _TIME_SCHEMA),
        docs.parameter("level", "Lines of this level and above.", {"enum": list(levels.LEVELS)}),
        docs.parameter("step", "Lines of a step, by its key (`search#2`), or of all its calls, by its name."),
        docs.parameter("attempt", "Lines of one attempt.", {"type": "integer", "minimum": 0}),
        docs.parameter("q", "Lines that have these words in their message, step or fields (as name=value)."),
        *docs.page(selectors.MAX_LINES, selectors.MAX_LINES),
    ),
)
def run_logs(request: HttpRequest, run_id: str) -> Any:
    """A run's log lines in sequence. To follow a run, send the last line's sequence as `after` again and again. A page
    of filtered lines may be shorter than its limit, even empty: it passes 20,000 lines at most, and `next` goes on."""
    refuse_unknown(request.GET, ("after", "at", *loglines.NAMES, *_PAGING))
    after = max(_after(request, "after", MAX_SEQUENCE), _after(request, "cursor", MAX_SEQUENCE))
    params = {name: request.GET.get(name, "") for name in ("at", *loglines.NAMES)}
    wanted, place = loglines.asked({**params, "level": params["level"].lower()})
    limit = parse_limit(_limit(request), most=selectors.MAX_LINES, default=selectors.MAX_LINES)
    found = loglines.onwards(existing(run_id), wanted, after=after, at=place.at, limit=limit)
    return _page(LogLineOut, selectors.Page(found.models(), found.last if found.later else None))


@router.post(
    "/runs/{run_id}/retry",
    response=RunOut,
    auth=needs("runs.retry"),
    operation_id="run_retry",
    openapi_extra=docs.body(ReasonIn, required=False),
)
def run_retry(request: HttpRequest, run_id: str) -> Any:
    """The same run goes on: its next attempt, with what its finished steps returned."""
    found = body.run_id(run_id)
    services.run_retry(found, actor=actor_of(request), reason=body.reason_of(request))
    return RunOut.of(selectors.run_get(found))


@router.post(
    "/runs/{run_id}/cancel",
    response=RunOut,
    auth=needs("runs.cancel"),
    operation_id="run_cancel",
    openapi_extra=docs.body(ReasonIn, required=False),
)
def run_cancel(request: HttpRequest, run_id: str) -> Any:
    """Cancels a run, and the runs that it waits for. One that a worker holds says `cancelling` until its code has
    stopped: an `async def` at its next await, a plain function at its next step, checkpoint or wait. 409 when it has
    ended, or is being stopped already."""
    found = body.run_id(run_id)
    services.run_cancel(found, actor=actor_of(request), reason=body.reason_of(request))
    return RunOut.of(selectors.run_get(found))


@router.post(
    "/runs/{run_id}/top-up",
    response=RunOut,
    auth=needs("runs.top_up"),
    operation_id="run_top_up",
    openapi_extra=docs.body(TopUpIn),
)
def run_top_up(request: HttpRequest, run_id: str) -> Any:
    """Raises the budget that a run is parked for, or its own; the runs that were parked for it go on."""
    found, given = body.run_id(run_id), body.read(request, TopUpIn)
    budgets.run_top_up(found, budget=given.budget, actor=actor_of(request), reason=given.reason)
    return RunOut.of(selectors.run_get(found))


@router.post(
    "/runs/{run_id}/resolve",
    response=RunOut,
    auth=needs("runs.retry"),
    operation_id="run_resolve",
    openapi_extra=docs.body(ResolveIn),
)
def run_resolve(request: HttpRequest, run_id: str) -> Any:
    """Says what became of an unsafe step of a run that is unknown: it happened, it did not, or the run has failed."""
    found = body.run_id(run_id)
    sent = body.read(request, ResolveIn)
    if sent.output is not None and sent.decision != "happened":
        raise refusal(InvalidBody, ("output", f"stands beside {sent.decision!r}; only a step that happened has one"))
    services.run_resolve_unknown(
        found,
        decision=services.Decision(sent.decision),
        output=sent.output,
        actor=actor_of(request),
        reason=sent.reason,
    )
    return RunOut.of(selectors.run_get(found))


@router.post(
    "/runs/{run_id}/replay",
    response={201: RunOut},
    auth=needs("runs.enqueue"),
    operation_id="run_replay",
    openapi_extra=docs.body(ReplayIn, required=False),
)
def run_replay(request: HttpRequest, response: HttpResponse, run_id: str) -> Any:
    """Starts a new run from the beginning, with the same task, payload and options, but for those that are sent."""
    found, asked = body.run_id(run_id), body.read(request, ReplayIn, optional=True)
    new = services.run_replay(
        found, payload=asked.payload, options=asked.options, reason=asked.reason, actor=actor_of(request)
    )
    response["Location"] = f"/api/v1/runs/{new}"
    return Status(201, RunOut.of(selectors.run_get(new)))


@router.post(
    "/runs/{run_id}/signal",
    response=RunOut,
    auth=needs("runs.signal"),
    operation_id="run_signal",
    openapi_extra=docs.body(SignalIn),
)
def run_signal(request: HttpRequest, run_id: str) -> Any:
    """Sends a run a signal. It is kept until the run waits for one of this name, in the order of sending. 409 when the
    run has ended."""
    found, asked = body.run_id(run_id), body.read(request, SignalIn)
    answers.run_signal(found, asked.name, asked.payload, actor=actor_of(request))
    return RunOut.of(selectors.run_get(found))


def _page(shape: Any, page: selectors.Page[Any, Any]) -> Any:
    following = str(page.next) if isinstance(page.next, uuid.UUID) else page.next
    return PageOut[shape].model_construct(items=[shape.of(item) for item in page.items], next=following)


def existing(text: str) -> uuid.UUID:
    """The id of a run that exists: an empty list would be a lie about one that does not."""
    return selectors.run_exists(body.run_id(text))


def _limit(request: HttpRequest) -> str | None:
    return request.GET.get("limit")


def _after(request: HttpRequest, name: str, most: int) -> int:
    return parse_number(name, request.GET.get(name), least=0, most=most, default=0)
