"""Why a run is not running: one short sentence for the list, by the same gates that admission has."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from holdfast.access.selectors import database_now
from queues.workers import Gate, gates, homes, key_slots, pools_served, workers_alive
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
    """Reasons by run id, for those that wait. Three queries if any does, none otherwise; and one more when there are
    limits per key, and where some are at home on one host."""
    held = [run for run in runs if run.status in WAITING]
    if not held:
        return {}
    found = gates({run.queue_id for run in held})
    served = pools_served(workers_alive())
    now = database_now()
    at_home = _homes(held, found)
    limits = {number: gate.key_limit for number, gate in found.items() if gate.key_limit is not None}
    keys = {(run.queue_id, run.concurrency_key) for run in held if run.concurrency_key and run.queue_id in limits}
    taken = key_slots(keys, most=max(limits.values(), default=0))
    return {
        run.id: reason(
            run,
            found.get(run.queue_id),
            served,
            now,
            key_taken=taken.get((run.queue_id, run.concurrency_key or ""), 0),
            home=at_home.get(run.id),
        )
        for run in held
    }


def _homes(held: Sequence[Run], found: Mapping[int, Gate]) -> dict[UUID, str]:
    asked = [run.id for run in held if (gate := found.get(run.queue_id)) is not None and gate.has_homes]
    return homes(asked) if asked else {}


def waits_words(told: Any) -> str:
    """`waits for signal 'paid' and 2 more`, from what the engine left in `waiting_for`."""
    what, count = (told.get("what"), told.get("count", 1)) if isinstance(told, dict) else (None, 1)
    if not what:
        return "waits"
    return f"waits for {what} and {count - 1} more" if count > 1 else f"waits for {what}"


def reason(
    run: Run,
    gate: Gate | None,
    served: Collection[str],
    now: datetime,
    *,
    key_taken: int = 0,
    home: str | None = None,
) -> Reason:
    """Why this run waits at `now`.

    Args:
        served: the pools that have a worker.
        key_taken: slots that the run's concurrency key has taken.
        home: the host for whose workers it was put aside.
    """
    if run.next_at is not None and run.next_at > now and run.status != Status.WAITING:
        return Reason("scheduled" if run.status == Status.SCHEDULED else "next attempt", at=run.next_at)
    if home is not None:
        return Reason(f"waits for a worker on {home}, where its local steps' results are")
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
    if run.concurrency_key and gate.key_limit is not None and key_taken >= gate.key_limit:
        return Reason(f"no slot for key {run.concurrency_key}: {key_taken} of {gate.key_limit} running")
    if gate.spent and gate.rate is not None:
        return Reason(f"rate reached: {gate.rate.words}", at=gate.opens_at)
    return Reason("next in line")
