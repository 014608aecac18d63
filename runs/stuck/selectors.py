"""What pages read of where runs are, and of those that do not get on."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db.models import F

from holdfast import db
from queues.models import Worker
from queues.workers import AliveWorker, workers_alive
from runs.models import Run
from runs.store import SQL
from runs.stuck.model import Stack
from runs.stuck.standstill import Standstill
from runs.stuck.taken import Frame, Taken, here_of, parts_of

#: Runs that the page of a worker lists.
MAX_HELD: Final = 200
#: Runs that do not get on that the page Now lists.
MAX_LONGEST: Final = 6


def stack_of(run: Run) -> Taken | None:
    """The latest stack of a run that a worker has; None when nobody has asked, or it has come to another one since."""
    if run.lease_token is None:
        return None
    row = (
        Stack.objects.select_related("worker")
        .filter(pk=run.pk, token=run.lease_token, captured_at__isnull=False)
        .first()
    )
    return Taken.of(row) if row is not None else None


@dataclass(frozen=True, slots=True)
class Longest:
    """A run that does not get on, and where it stands."""

    run_id: uuid.UUID
    task: str
    still: Standstill
    here: Frame | None


@dataclass(frozen=True, slots=True)
class Standstills:
    """How many runs do not get on, and those that have not for longest."""

    count: int = 0
    longest: Sequence[Longest] = ()


def standstills() -> Standstills:
    """What the page Now shows."""
    with db.callers() as conn:
        rows = conn.execute(SQL.stuck_longest, {"limit": MAX_LONGEST}).fetchall()
    found = []
    for run_id, task, step, since, usual, worker, lost, beat, now, stack, _ in rows:
        still = Standstill(since, now, step, usual, lost, worker or "", beat)
        found.append(Longest(run_id, task, still, here_of(parts_of(json.loads(stack or "{}")))))
    return Standstills(rows[0][-1] if rows else 0, found)


@dataclass(frozen=True, slots=True)
class Held:
    """A run in a worker's hands, and where it was when somebody asked."""

    run: Run
    since: datetime
    taken: Taken | None


@dataclass(frozen=True, slots=True)
class WorkerPage:
    """A worker, the runs that it has had for longest, and whether there are more."""

    worker: Worker
    alive: AliveWorker | None  # None: it has said goodbye, or was declared lost
    held: list[Held]
    more: bool


def worker_page(worker_id: int) -> WorkerPage | None:
    """None when there was never such a worker."""
    worker = Worker.objects.filter(pk=worker_id).first() if 0 < worker_id < 2**31 else None
    if worker is None:
        return None
    alive = next((one for one in workers_alive() if one.id == worker_id), None)
    with db.callers() as conn:
        rows = conn.execute(SQL.held_by, {"worker": worker_id, "limit": MAX_HELD + 1}).fetchall()
    since: dict[uuid.UUID, datetime] = dict(rows[:MAX_HELD])
    runs = Run.objects.select_related("queue").defer("payload", "output").in_bulk(since)
    answered = Stack.objects.select_related("worker").filter(
        pk__in=runs, captured_at__isnull=False, run__lease_token=F("token")
    )
    taken = {row.pk: Taken.of(row) for row in answered}
    held = [Held(runs[run_id], at, taken.get(run_id)) for run_id, at in since.items() if run_id in runs]
    return WorkerPage(worker, alive, held, len(rows) > MAX_HELD)
