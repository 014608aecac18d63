"""/workers: who works, and letting one leave."""

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema, Status
from pydantic import Field

from queues.draining import worker_drain
from queues.workers import AliveWorker, workers_alive
from runs.api import body, docs
from runs.api.auth import actor_of, needs
from runs.api.problems import InvalidId, refusal
from runs.api.schemas import ItemsOut, ReasonIn

router = Router(tags=["workers"])


class WorkerOut(Schema):
    """A worker that has neither said goodbye nor been declared lost."""

    id: int
    name: str
    pools: list[str]
    hostname: str
    pid: int
    running: int = Field(description="Runs in flight at its last heartbeat.")
    capacity: int
    memory: int = Field(description="Resident bytes at its last heartbeat.")
    started_at: datetime
    heartbeat_at: datetime
    draining_at: datetime | None = Field(description="It takes no more, finishes what it has, and leaves.")
    silent: bool = Field(description="Its heartbeat is overdue.")

    @classmethod
    def of(cls, worker: AliveWorker) -> "WorkerOut":
        return cls.model_construct(**{name: getattr(worker, name) for name in cls.model_fields})


@router.get("/workers", response=ItemsOut[WorkerOut], auth=needs("queues.view"), operation_id="workers_list")
def workers_list(request: HttpRequest) -> Any:
    """Workers that are alive, by name."""
    return ItemsOut[WorkerOut].model_construct(items=[WorkerOut.of(worker) for worker in workers_alive()])


@router.post(
    "/workers/{worker_id}/drain",
    response={202: None},
    auth=needs("queues.pause"),
    operation_id="worker_drain",
    openapi_extra=docs.body(ReasonIn, required=False),
)
def worker_leaves(request: HttpRequest, worker_id: str) -> Any:
    """Lets a worker finish what it has, and leave. It hears of it with its next heartbeat."""
    if not (worker_id.isascii() and worker_id.isdecimal() and len(worker_id) < 11):
        raise refusal(InvalidId, ("worker_id", "is no number of a worker"))
    worker_drain(int(worker_id), actor_of(request), body.reason_of(request))
    return Status(202, None)
