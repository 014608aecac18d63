"""Functions of django-tasks, as an existing project has them. Worker processes import this module by its name."""

from __future__ import annotations

from typing import Any

from django_tasks import TaskContext, task

import runs
from tests.support.ledger import hold, note


@task
def add(a: int, b: int = 10) -> int:
    """Adds."""
    note("add", a, b)
    return a + b


@task()
async def add_async(a: int, b: int = 10) -> int:
    return a + b


@task()
def everything(*args: Any, **kwargs: Any) -> dict[str, Any]:
    return {"args": args, "kwargs": kwargs, "bytes": b"as text"}


@task(takes_context=True)
def look(context: TaskContext, word: str) -> dict[str, Any]:
    return _seen(context, word)


@task(takes_context=True)
async def look_async(context: TaskContext, word: str) -> dict[str, Any]:
    return _seen(context, word)


def _seen(context: TaskContext, word: str) -> dict[str, Any]:
    result = context.task_result
    return {
        "word": word,
        "attempt": context.attempt,
        "id": result.id,
        "status": str(result.status),
        "args": result.args,
        "workers": result.worker_ids,
        "queue": result.task.queue_name,
        "backend": result.backend,
        "errors": [e.exception_class_path for e in result.errors],
    }


class Unusual(Exception):
    """An error of the project's own."""


@task()
def fails(kind: str = "value") -> None:
    if kind == "exit":
        raise SystemExit("out of the door")
    if kind == "own":
        raise Unusual("never seen")
    raise ValueError("this went wrong")


@task()
async def fails_async() -> None:
    raise ValueError("this went wrong")


@task()
def returns_what_no_json_holds() -> Any:
    return object()


@task(takes_context=True)
def flaky(context: TaskContext, failures: int) -> list[str]:
    if context.attempt <= failures:
        raise Unusual(f"attempt {context.attempt}")
    return [e.exception_class_path for e in context.task_result.errors]


@task(priority=7, queue_name="reports")
def report() -> str:
    return "reported"


@task()
def holds(gate: str) -> str:
    note("holds", gate)
    hold(gate)
    return gate


@task()
def durable(gate: str) -> int:
    """A run like every other one: it may call steps and wait."""
    count = _count()
    runs.wait.signal(gate)
    return count


@runs.step
def _count() -> int:
    note("count")
    return 1
