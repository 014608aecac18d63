"""Runs that came into a queue some time ago, as the database has them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from holdfast.access.selectors import database_now
from queues.models import Queue
from runs.filters import first_id
from runs.models import Attempt, Run, Task


def came(queue: Queue, ago: float, seconds: float, *, now: datetime | None = None, **more: Any) -> Run:
    """A run that came so many seconds before `now`, and was worked on for so long."""
    task, _ = Task.objects.get_or_create(id="t", defaults={"module": "m", "queue": queue, "version": "1"})
    at = (now or database_now()) - timedelta(seconds=ago)
    run_id = type(first_id(at))(int=first_id(at).int + Run.objects.count() + 1)
    times = {"created_at": at, "started_at": at, "finished_at": at + timedelta(seconds=seconds)}
    values = {"status": "completed", "trace_id": "0" * 32, "payload": {}, **times, **more}
    run = Run.objects.create(id=run_id, task=task, queue=queue, attempt=1, **values)
    if run.finished_at is not None:
        Attempt.objects.create(
            run=run, number=1, status="completed", started_at=at, finished_at=run.finished_at, active=seconds
        )
    return run
