"""/tasks: what can be run, and the runs that are started of it."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Router, Status

from runs import selectors, services
from runs.api import batches, body, docs
from runs.api.auth import actor_of, needs
from runs.api.problems import InvalidHeader, refusal
from runs.api.schemas import BatchIn, EnqueueIn, ItemsOut, PageOut, RunOut, TaskOut
from runs.errors import InvalidOption
from runs.filters import parse_limit, refuse_unknown

router = Router(tags=["tasks"])

_KEY_HEADER = docs.parameter(
    "Idempotency-Key",
    "The same key with the same payload answers 200 with the run that was started first; with another payload, 409.",
    {"type": "string", "minLength": 1, "maxLength": body.MAX_KEY},
    place="header",
)


def _batch_docs() -> dict[str, Any]:
    lines = {"type": "string", "description": "A line of JSON for each thousand runs; the last one has `done`."}
    told = docs.answer(200, "Of application/x-ndjson: how far it is.", application_x_ndjson=lines)
    found = {**docs.body(BatchIn), **docs.query(_KEY_HEADER), **told}
    found["requestBody"]["content"][body.NDJSON] = batches.OPENAPI
    return found


@router.get(
    "/tasks",
    response=PageOut[TaskOut],
    auth=needs("runs.view"),
    operation_id="tasks_list",
    openapi_extra=docs.query(*docs.page()),
)
def tasks_list(request: HttpRequest) -> Any:
    """Tasks in order of id."""
    refuse_unknown(request.GET, ("cursor", "limit"))
    after = body.name("cursor", request.GET.get("cursor", ""))
    page = selectors.tasks(after=after, limit=parse_limit(request.GET.get("limit")))
    return PageOut[TaskOut].model_construct(items=[TaskOut.of(task) for task in page.items], next=page.next)


@router.get("/tasks/{task_id}", response=TaskOut, auth=needs("runs.view"), operation_id="task_get")
def task_get(request: HttpRequest, task_id: str) -> Any:
    """One task with the JSON Schemas of its payload and its result."""
    return TaskOut.of(selectors.task_get(task_id))


@router.post(
    "/tasks/{task_id}/runs",
    response={201: RunOut, 200: RunOut},
    auth=needs("runs.enqueue"),
    operation_id="task_enqueue",
    openapi_extra={**docs.body(EnqueueIn), **docs.query(_KEY_HEADER)},
)
def task_enqueue(request: HttpRequest, response: HttpResponse, task_id: str) -> Any:
    """Starts a run. 200 instead of 201: the idempotency key was used before, and this is the run it started."""
    asked = body.read(request, EnqueueIn)
    options = _with_key(asked.options, body.idempotency_key(request))
    run_id, created = services.task_enqueue(task_id, asked.payload, options, actor=actor_of(request))
    response["Location"] = f"/api/v1/runs/{run_id}"
    return Status(201 if created else 200, RunOut.of(selectors.run_get(run_id)))


@router.post(
    "/tasks/{task_id}/batch",
    response={201: ItemsOut[RunOut]},
    auth=needs("runs.enqueue"),
    operation_id="task_enqueue_batch",
    openapi_extra=_batch_docs(),
)
def task_enqueue_batch(request: HttpRequest, task_id: str) -> Any:
    """Starts many runs, all or none. An item may have an idempotency key of its own in its options.

    With `Content-Type: application/x-ndjson`, up to 100,000 lines with a run each are stored a thousand at a time. The
    response, 200, has a line for each thousand: how far it is, the runs' ids, and the lines that were refused, which
    hold up no other. The last line has `done`. With an `Idempotency-Key` the batch may be sent again after a cut: what
    is stored is not stored twice."""
    if body.media_type(request.headers.get("Content-Type", "")) == body.NDJSON:
        return batches.response(request, task_id, body.idempotency_key(request))
    asked = body.read(request, BatchIn)
    if body.idempotency_key(request):
        raise refusal(
            InvalidHeader,
            (
                "Idempotency-Key",
                "cannot name many runs; give items their own, or send application/x-ndjson",
            ),
        )
    items = [{"payload": item.payload, "options": item.options} for item in asked.items]
    ids = services.task_enqueue_many(task_id, items, actor=actor_of(request))
    runs = [RunOut.of(run) for run in selectors.runs_get(ids)]
    return Status(201, ItemsOut[RunOut].model_construct(items=runs))


def _with_key(options: dict[str, Any], key: str | None) -> dict[str, Any]:
    if key is None:
        return options
    if options.get("idempotency_key", key) != key:
        raise refusal(InvalidOption, ("options.idempotency_key", "differs from the header Idempotency-Key; send one"))
    return {**options, "idempotency_key": key}
