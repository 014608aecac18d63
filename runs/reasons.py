"""Why a run is not running: one short sentence for the list, by the same gates that admission has."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from holdfast.access.selectors import database_now
from queues.workers import Gate, gates, pools_served, workers_alive
from runs.models import Run
from runs.states import Status

WAITING = frozenset({Status.QUEUED, Status.SCHEDULED, Status.RETRYING, Status.WAITING})


@dataclass(frozen=True, slots=True)
class Reason:
    """`words` say why; `at` is when it goes on, where that is known; `stuck` when it will not by itself."""

    words: str
    at: datetime | None = None
    stuck: bool = False


def reasons(runs: Sequence[Run]) -> dict[object, Reason]:
    """Reasons by run id, for those that wait. Three queries if any does, none otherwise."""
    held = [run for run in runs if run.status in WAITING]
    if not held:
        return {}
    found = gates({run.queue_id for run in held})
    served = pools_served(workers_alive())
    now = database_now()
    return {run.id: reason(run, found.get(run.queue_id), served, now) for run in held}


def waits_words(told: Any) -> str:
    """`waits for signal 'paid' and 2 more`, from what the engine left in `waiting_for`."""
    what, count = (told.get("what"), told.get("count", 1)) if isinstance(told, dict) else (None, 1)
    if not what:
        return "waits"
    return f"waits for {what} and {count - 1} more" if count > 1 else f"waits for {what}"


def reason(run: Run, gate: Gate | None, served: Collection[str], now: datetime) -> Reason:
    """Why this run waits at `now`. `served` are the pools that have a worker."""
    if run.next_at is not None and run.next_at > now and run.status != Status.WAITING:
        return Reason("scheduled" if run.status == Status.SCHEDULED else "next attempt", at=run.next_at)
    if run.status == Status.WAITING:
        return Reason(waits_words(run.waiting_for), at=run.next_at)
    if gate is None:
        return Reason("its queue is gone", stuck=True)
    if gate.paused:
        return Reason(f"queue paused: {gate.pause_reason}" if gate.pause_reason else "queue paused")
    if gate.pool not in served:
        return Reason(f"no worker for pool {gate.pool}", stuck=True)
    if gate.full:
        return Reason(f"no slot: {gate.taken} of {gate.limit} running")
    if gate.spent and gate.rate is not None:
        return Reason(f"rate reached: {gate.rate.words}", at=gate.opens_at)
    return Reason("next in line")
