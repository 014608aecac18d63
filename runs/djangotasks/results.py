"""Runs as `TaskResult`s."""

from __future__ import annotations

import builtins
import copy
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.utils import timezone
from django_tasks.base import Task, TaskError, TaskResult, TaskResultStatus
from django_tasks.exceptions import TaskResultDoesNotExist

from runs.djangotasks import carried
from runs.djangotasks.backend import BACKEND_TAG
from runs.models import Attempt, Run
from runs.states import FINAL, Status

#: What errors that are no exception of the function's are called: cancelled, expired, the worker died.
_OURS: Final = "runs.errors.RunFailed"


def fetch(result_id: str) -> TaskResult[Any]:
    """The result with an id. Two queries, one for a run that has not begun.

    Raises:
        TaskResultDoesNotExist: no run has this id, it is not of a function of django-tasks, or that cannot be imported
            here.
    """
    try:
        run_id = UUID(str(result_id))
    except ValueError:
        raise TaskResultDoesNotExist(result_id) from None
    run = Run.objects.select_related("queue").filter(pk=run_id).first()
    if run is None:
        raise TaskResultDoesNotExist(result_id)
    found = carried.find(run.task_id)
    if found is None:
        raise TaskResultDoesNotExist(f"{result_id} is a run of {run.task_id}, which is no task of django-tasks here")
    return _result(run, found.declared, list(run.attempts.select_related("worker")) if run.attempt else [])


def task_as_enqueued(
    declared: Task[..., Any], *, queue_name: str, priority: int, run_after: datetime | None, tags: list[str]
) -> Task[..., Any]:
    """The task with the options of a run. They are not validated again: what was enqueued is a fact, whatever QUEUES
    allows today."""
    aliases = [tag.removeprefix(BACKEND_TAG) for tag in tags if tag.startswith(BACKEND_TAG)]
    task = copy.copy(declared)
    changes = {
        "queue_name": queue_name,
        "priority": priority,
        "run_after": run_after,
        "backend": aliases[0] if aliases else declared.backend,
    }
    for name, value in changes.items():
        object.__setattr__(task, name, value)  # as the package itself does with its frozen classes
    return task


def status_of(status: Status, begun: bool) -> TaskResultStatus:
    """READY is what no worker has in hand and no wait holds; every end without a result is FAILED."""
    if status in FINAL:
        return TaskResultStatus.SUCCESSFUL if status == Status.COMPLETED else TaskResultStatus.FAILED
    if status in (Status.RUNNING, Status.CANCELLING) or (status == Status.WAITING and begun):
        return TaskResultStatus.RUNNING
    return TaskResultStatus.READY


def _result(run: Run, declared: Task[..., Any], attempts: list[Attempt]) -> TaskResult[Any]:
    due = run.next_at if run.status == Status.SCHEDULED else None
    task = task_as_enqueued(
        declared, queue_name=run.queue.name, priority=run.priority, run_after=due, tags=list(run.tags)
    )
    put_off = "deferred" in (run.waiting_for or ())  # no worker has its code: whether an attempt is open tells nothing
    begun = bool(attempts) and attempts[-1].finished_at is None and not put_off
    status = status_of(Status(run.status), begun=begun)
    result: TaskResult[Any] = TaskResult(
        task=task,
        id=str(run.id),
        status=status,
        enqueued_at=run.created_at,
        started_at=run.started_at,
        finished_at=run.finished_at,
        last_attempted_at=attempts[-1].started_at if attempts else None,
        args=run.payload.get("args", []),
        kwargs=run.payload.get("kwargs", {}),
        backend=task.backend,
        errors=_errors(run, status, attempts),
        worker_ids=[a.worker.name if a.worker is not None else "" for a in attempts],
    )
    object.__setattr__(result, "_return_value", run.output)
    return result


def _errors(run: Run, status: TaskResultStatus, attempts: list[Attempt]) -> list[TaskError]:
    """One for each attempt that failed, in their order; and why the run is over, where that was none of them."""
    described = [a.error for a in attempts if a.error]
    if status == TaskResultStatus.FAILED:
        if run.error and run.error not in described:
            described.append(run.error)
        if not described:
            described.append({"type": "", "message": f"the run is {run.status}"})
    return [_error(description) for description in described]


def _error(description: Mapping[str, Any]) -> TaskError:
    kind = str(description.get("type", ""))
    path = kind
    if "." not in kind:
        path = f"builtins.{kind}" if hasattr(builtins, kind) else _OURS
    text = description.get("traceback") or f"{kind or 'RunFailed'}: {description.get('message', '')}\n"
    return TaskError(exception_class_path=path, traceback=str(text))


def in_hand(run: Any, declared: Task[..., Any]) -> TaskResult[Any]:
    """Of a run that this worker executes, made of what it knows without asking the database: its queue and priority are
    those that the function declares, and who attempted it before is left out."""
    payload = json.loads(run.started.payload)
    now = timezone.now()
    task = task_as_enqueued(
        declared,
        queue_name=declared.queue_name,
        priority=declared.priority,
        run_after=None,
        tags=list(run.started.tags),
    )
    return TaskResult(
        task=task,
        id=str(run.id),
        status=TaskResultStatus.RUNNING,
        enqueued_at=datetime.fromtimestamp(run.started.created, tz=timezone.get_default_timezone()),
        started_at=now,
        finished_at=None,
        last_attempted_at=now,
        args=payload.get("args", []),
        kwargs=payload.get("kwargs", {}),
        backend=task.backend,
        errors=[],
        worker_ids=[],
    )
