"""Children: runs that a run enqueues and waits for. The parent leaves its worker meanwhile."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from runs.errors import InvalidOption, NotInRun, RunFailed
from runs.sdk.context import current
from runs.sdk.wait import WaitKind, WaitSpec

if TYPE_CHECKING:
    from runs.sdk.options import Options
    from runs.sdk.task import Task

#: Children of one call.
MAX_CHILDREN: Final = 100_000


def children_spec(
    task: Task[..., Any], texts: list[str], options: Options, decode: Callable[[list[Any]], Any]
) -> WaitSpec:
    """The wait for runs of `task` with these payloads (JSON texts), which are enqueued with it.

    Args:
        decode: makes the value of the list of results; a child that did not complete is a RunFailed in it.
    """
    from runs import enqueue

    if current.get() is None:
        raise NotInRun(
            f"A child of task {task.id} was to be enqueued outside a run. Call it inside a task that a worker "
            "executes, or write: handle = task.enqueue(…); handle.result()."
        )
    if options.idempotency_key is not None:
        raise InvalidOption(
            "options.idempotency_key: a child belongs to the one run that waits for it, and is never enqueued twice.",
            errors=[{"field": "options.idempotency_key", "message": "cannot be given to a child"}],
        )
    if options.debounce is not None:
        raise InvalidOption(
            "options.debounce: a child belongs to the one run that waits for it. Enqueue it without waiting.",
            errors=[{"field": "options.debounce", "message": "cannot be given to a child"}],
        )
    if len(texts) > MAX_CHILDREN:
        raise InvalidOption(
            f"{len(texts):,} children in one call; the limit is {MAX_CHILDREN:,}. Wait for them in parts.",
            errors=[{"field": "payloads", "message": f"are more than {MAX_CHILDREN:,}"}],
        )
    for place, text in enumerate(texts):
        enqueue.check_size(text, f"payloads[{place}]")

    def results(ended: Any) -> Any:
        return decode([_result(task, child) for child in ended or ()])

    spawn = enqueue.new_runs(task, texts, options)
    return WaitSpec(WaitKind.CHILDREN, task.id, detail={"count": len(texts)}, decode=results, spawn=spawn)


def only(results: list[Any]) -> Any:
    """The result of the one child. Raises its RunFailed."""
    return every(results)[0]


def every(results: list[Any]) -> list[Any]:
    """All results. Raises the RunFailed of the first child that has one."""
    for result in results:
        if isinstance(result, RunFailed):
            raise result
    return results


def _result(task: Task[..., Any], child: dict[str, Any]) -> Any:
    if child["status"] == "completed":
        return task.output.validate_json(json.dumps(child["output"])) if child["output"] is not None else None
    error = child["error"] or {}
    said = f"{error.get('type', '')} {error.get('message', '')}".strip()
    return RunFailed(
        f"Child {child['id']} of task {task.id} is {child['status']}" + (f": {said}" if said else "."),
        run_id=child["id"],
        status=child["status"],
        error=error,
    )
