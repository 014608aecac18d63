"""`manage.py replay-check`: which runs would not fit the code of this process, before it is rolled out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from holdfast import db
from runs import store
from runs.engine.clock import Clock
from runs.engine.rehearsal import TIME, Verdict, rehearse
from runs.models import Run
from runs.sdk.task import registry
from runs.states import ACTIVE, Status

#: Statuses in which a run may have a history and goes on by itself.
IN_FLIGHT = sorted(str(status) for status in ACTIVE - {Status.CANCELLING})


def candidates(task_id: str | None, sample: int) -> list[UUID]:
    """Runs in flight that have begun, and of each task the last `sample` completed ones that this code knows."""
    begun = Run.objects.filter(status__in=IN_FLIGHT, attempt__gte=1)
    if task_id is not None:
        begun = begun.filter(task_id=task_id)
    ids = list(begun.order_by("id").values_list("id", flat=True))
    if sample:
        for task in [task_id] if task_id is not None else registry.ids():
            if registry.get(task) is not None:
                done = Run.objects.filter(task_id=task, status=str(Status.COMPLETED)).order_by("-id")
                ids += done.values_list("id", flat=True)[:sample]
    return ids


def check(ids: list[UUID], *, time: float = TIME) -> Iterator[Verdict | None]:
    """Rehearses these runs one by one; None for one without a history. Call inside `rehearsal.silence`."""
    clock = Clock()
    with db.connect("replay-check") as conn:
        for run_id in ids:
            yield _check_one(conn, run_id, clock, time)


def _check_one(conn: Any, run_id: UUID, clock: Clock, time: float) -> Verdict | None:
    run = Run.objects.filter(pk=run_id).first()
    if run is None:
        return None
    facts, waits = store.history(conn, [run_id])[run_id], store.waits_of(conn, run_id)
    if not facts and not waits:
        return None
    task = registry.get(run.task_id)
    if task is None:
        return Verdict(run_id, run.task_id, "incompatible", f"this code has no task {run.task_id}")
    started = store.Started(
        id=run_id,
        task_id=run.task_id,
        queue_id=run.queue_id,
        payload=json.dumps(run.payload),
        attempt=run.attempt,
        failures=run.failures,
        max_attempts=run.max_attempts,
        tags=run.tags,
        trace_id=run.trace_id,
        token=0,
        created=run.created_at.timestamp(),
        parent=None,
        active=0.0,
        after_crash=False,
        before=run.version,
        accepted=run.accepted,
        round=run.round,
        past=run.past,
    )
    return rehearse(task, started, facts, waits, clock=clock, time=time)
