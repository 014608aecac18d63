"""/queues: how much waits and runs, and how fast it may go."""

from typing import Any

from django.http import HttpRequest
from ninja import Router

from queues import selectors, services
from runs import whatif
from runs.api import body, docs
from runs.api.auth import actor_of, needs
from runs.api.queueschemas import PauseIn, QueueIn, QueueOut, WhatIfOut
from runs.api.schemas import PageOut, ReasonIn
from runs.filters import parse_limit, refuse_unknown

router = Router(tags=["queues"])


@router.get(
    "/queues",
    response=PageOut[QueueOut],
    auth=needs("queues.view"),
    operation_id="queues_list",
    openapi_extra=docs.query(docs.parameter("search", "A part of the name."), *docs.page()),
)
def queues_list(request: HttpRequest) -> Any:
    """Queues in order of name."""
    refuse_unknown(request.GET, ("cursor", "limit", "search"))
    page = selectors.queues_page(
        after=body.name("cursor", request.GET.get("cursor", "")),
        search=body.name("search", request.GET.get("search", "")),
        limit=parse_limit(request.GET.get("limit")),
    )
    return PageOut[QueueOut].model_construct(items=[QueueOut.of(flow) for flow in page.items], next=page.next)


@router.get("/queues/{name}", response=QueueOut, auth=needs("queues.view"), operation_id="queue_get")
def queue_get(request: HttpRequest, name: str) -> Any:
    """One queue."""
    return QueueOut.of(selectors.queue_get(name))


@router.patch(
    "/queues/{name}",
    response=QueueOut,
    auth=needs("queues.edit"),
    operation_id="queue_update",
    openapi_extra=docs.body(QueueIn),
)
def queue_update(request: HttpRequest, name: str) -> Any:
    """Changes a queue's limits, in force for the next run that starts."""
    asked = body.read(request, QueueIn)
    changes = asked.model_dump(include=asked.model_fields_set - {"reason"})
    services.queue_update(name, actor_of(request), reason=asked.reason, **changes)
    return QueueOut.of(selectors.queue_get(name))


@router.post(
    "/queues/{name}/what-if",
    response=WhatIfOut,
    auth=needs("queues.edit"),
    operation_id="queue_what_if",
    openapi_extra=docs.body(QueueIn),
)
def queue_what_if(request: HttpRequest, name: str) -> Any:
    """What such a change would have done: the last day's runs, replayed by simulation. Changes nothing."""
    asked = body.read(request, QueueIn)
    changes = asked.model_dump(include=asked.model_fields_set - {"reason"})
    return WhatIfOut.of(whatif.what_if(name, changes))


@router.post(
    "/queues/{name}/pause",
    response=QueueOut,
    auth=needs("queues.pause"),
    operation_id="queue_pause",
    openapi_extra=docs.body(PauseIn, required=False),
)
def queue_pause(request: HttpRequest, name: str) -> Any:
    """Stops the queue from starting runs; those that run go on. With `drain`, those that are there are worked off."""
    asked = body.read(request, PauseIn, optional=True)
    services.queue_pause(name, actor_of(request), asked.reason, seconds=asked.seconds, drain=asked.drain)
    return QueueOut.of(selectors.queue_get(name))


@router.post(
    "/queues/{name}/resume",
    response=QueueOut,
    auth=needs("queues.pause"),
    operation_id="queue_resume",
    openapi_extra=docs.body(ReasonIn, required=False),
)
def queue_resume(request: HttpRequest, name: str) -> Any:
    """Lets a paused queue start runs again."""
    services.queue_resume(name, actor_of(request), body.reason_of(request))
    return QueueOut.of(selectors.queue_get(name))


@router.post(
    "/queues/{name}/undo",
    response=QueueOut,
    auth=needs("queues.edit"),
    operation_id="queue_undo",
    openapi_extra=docs.body(ReasonIn, required=False),
)
def queue_undo(request: HttpRequest, name: str) -> Any:
    """Takes the last change of the queue's settings, or of its pause, back."""
    services.queue_undo(name, actor_of(request), body.reason_of(request))
    return QueueOut.of(selectors.queue_get(name))
