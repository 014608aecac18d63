"""Runs that this worker's code cannot execute: they are left for workers that can, and nothing of them is lost
(FAULTS 28, 29).

A run is left when its task is unknown here, when its history has facts of a kind that a later release has introduced,
or when its history did not fit this version of the task before. It comes back after a growing delay, and at once when a
worker starts whose code may be the right one.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any, Final

import psycopg

from holdfast import db
from queues import tickets
from runs import store
from runs.engine import hooks
from runs.models import WAIT_KINDS, SnapshotKind
from runs.sdk.task import Task

logger = logging.getLogger("holdfast.engine")

#: Seconds after which a run that was left is offered again, at first and at most.
FIRST_DELAY: Final = 5.0
MAX_DELAY: Final = 300.0
#: Runs that a worker wakes when it starts; the others come by themselves.
MAX_WOKEN: Final = 10_000
_FACTS: Final = frozenset(SnapshotKind.values)
_WAITS: Final = frozenset(WAIT_KINDS)


def is_refused(
    task: Task[..., Any], started: store.Started, facts: Sequence[store.Fact], waits: Sequence[store.WaitFact]
) -> bool:
    """True when a run must not be entered by this code. One that is entered for its hook alone may be: its function is
    not called."""
    if started.stopping is not None or started.ending is not None:
        return False
    return bool(started.refused and task.version in started.refused) or is_newer(facts, waits)


def is_newer(facts: Sequence[store.Fact], waits: Sequence[store.WaitFact]) -> bool:
    """True when the history has something that this release cannot read."""
    return not all(fact.kind in _FACTS for fact in facts) or not all(wait.kind in _WAITS for wait in waits)


def row(task: Task[..., Any] | None, started: store.Started, *, is_late: bool = False) -> store.FinishRow:
    """How the run is left. What it waits for stays what it was when it is left again.

    Args:
        is_late: it needs a process, and these are forked from what was imported when the worker started.
    """
    told: dict[str, Any] = json.loads(started.deferred) if started.deferred else {}
    if task is None:
        kind, what = "unknown_task", f"a worker that has the task {started.task_id}"
    elif is_late:
        kind = "unknown_task"
        what = f"a worker that has had the task {started.task_id} from its start; name its module in HOLDFAST_TASKS"
    elif started.refused and task.version in started.refused:
        kind, what = "version", "code that fits its history"
    else:
        kind, what = "newer_format", "a worker of a newer release, which wrote its history"
    if told.get("kind") != kind:
        told = {"kind": kind, "what": what, "task": started.task_id}
        if kind == "version" and task is not None:
            told |= {"ran": started.before, "version": task.version}
    times = told["deferred"] = int(told.get("deferred", 0)) + 1
    delay = min(FIRST_DELAY * 2.0 ** min(times - 1, 20), MAX_DELAY)
    logger.warning("run %s of task %s waits for %s; leaving it for %g s", started.id, started.task_id, what, delay)
    if told.get("ran") is None and started.before:
        told["ran"] = started.before  # this worker has executed nothing of it
    hooked = hooks.stoppable(task.hooks) if task is not None else ""
    waiting = json.dumps(told)
    return store.FinishRow(started.id, started.token, "waiting", None, None, None, 0, delay, waiting, hooked=hooked)


def wake(versions: str) -> None:
    """A worker starts: runs that were left for its code come back. `versions` is JSON: task id → fingerprint."""
    try:
        with db.connect("deferred") as conn, conn.transaction():
            pools = store.wake_deferred(conn, versions=versions, limit=MAX_WOKEN)
    except psycopg.Error as error:
        logger.warning("runs that were left for other code come back when they are due (%s)", str(error).split("\n")[0])
    else:
        tickets.wake(pools)
