"""Why a run is not running, or does not get on: one short sentence for the list, by the gates that admission has."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from holdfast.access.selectors import database_now
from queues import tickets
from queues.workers import Gate, KeyGate, gates, holds_back, homes, key_gates, pools_served, workers_alive
from runs.models import Run
from runs.states import Status
from runs.stuck.standstill import Standstill, stuck_of

WAITING = frozenset({Status.QUEUED, Status.SCHEDULED, Status.RETRYING, Status.WAITING})
WORKING = frozenset({Status.RUNNING, Status.CANCELLING})


class GateName(StrEnum):
    """What holds a run. The names are part of the API."""

    SCHEDULE = "schedule"  # it is not due yet
    RETRY = "retry"  # its next attempt is not due yet
    WAIT = "wait"  # it waits for what it has asked for: a time, a signal, a person, a child, a budget, a version
    HOME = "home"  # its local steps lie on one host
    QUEUE_GONE = "queue_gone"
    PAUSED = "paused"
    DRAINING = "draining"
    NO_WORKER = "no_worker"
    SUSPENDED = "suspended"  # `rq suspend` holds all workers back
    CONCURRENCY = "concurrency_limit"
    KEY_CONCURRENCY = "key_concurrency_limit"
    RATE = "rate"
    KEY_RATE = "key_rate"
    BREAKER = "breaker"  # what its step calls fails too often
    LINE = "line"  # nothing but those before it
    STUCK = "stuck"  # a worker has it, and nothing new comes of it
    LOST_HEARTBEAT = "lost_heartbeat"  # its worker has fallen silent


@dataclass(frozen=True, slots=True)
class Reason:
    """`words` say why; `at` is when it goes on, where that is known; `stuck` when it will not by itself."""

    words: str
    gate: GateName
    at: datetime | None = None
    stuck: bool = False


def reasons(runs: Sequence[Run]) -> dict[object, Reason]:
    """Reasons by run id, for those that wait and those that do not get on. Three queries if any waits, and one more
    when something is counted of each key, and where some are at home on one host; one if any is in a worker's hands."""
    working = [run.id for run in runs if run.status in WORKING]
    still: dict[object, Reason] = {run_id: _still(found) for run_id, found in stuck_of(working).items()}
    held = [run for run in runs if run.status in WAITING]
    if not held:
        return still
    found = gates({run.queue_id for run in held})
    served = pools_served(workers_alive())
    suspended = tickets.suspended()
    now = database_now()
    at_home = _homes(held, found)
    by_key = {number for number, gate in found.items() if gate.by_key}
    keys = key_gates(
        {(run.queue_id, run.concurrency_key) for run in held if run.concurrency_key and run.queue_id in by_key}
    )
    return still | {
        run.id: reason(
            run,
            found.get(run.queue_id),
            served,
            now,
            key=keys.get((run.queue_id, run.concurrency_key or ""), KeyGate()),
            home=at_home.get(run.id),
            suspended=suspended,
        )
        for run in held
    }


def _homes(held: Sequence[Run], found: Mapping[int, Gate]) -> dict[UUID, str]:
    asked = [run.id for run in held if (gate := found.get(run.queue_id)) is not None and gate.has_homes]
    return homes(asked) if asked else {}


def _still(found: Standstill) -> Reason:
    return Reason(found.words, GateName.LOST_HEARTBEAT if found.lost else GateName.STUCK, stuck=True)


def waits_words(told: Any) -> str:
    """`waits for signal 'paid' and 2 more`, from what the engine left in `waiting_for`."""
    what, count = (told.get("what"), told.get("count", 1)) if isinstance(told, dict) else (None, 1)
    if not what:
        return "waits"
    return f"waits for {what} and {count - 1} more" if count > 1 else f"waits for {what}"


def _kind(told: Any) -> str:
    return str(told.get("kind", "")) if isinstance(told, dict) else ""


def reason(
    run: Run,
    gate: Gate | None,
    served: Collection[str],
    now: datetime,
    *,
    key: KeyGate = KeyGate(),  # noqa: B008 - it is frozen
    home: str | None = None,
    suspended: bool = False,
) -> Reason:
    """Why this run waits at `now`.

    Args:
        served: the pools that have a worker.
        key: what the run's concurrency key has taken.
        home: the host for whose workers it was put aside.
        suspended: whether `rq suspend` holds all workers back.
    """
    if run.next_at is not None and run.next_at > now and run.status != Status.WAITING:
        if run.status == Status.SCHEDULED:
            return Reason("scheduled", GateName.SCHEDULE, at=run.next_at)
        return Reason("next attempt", GateName.RETRY, at=run.next_at)
    if home is not None:
        return Reason(f"waits for a worker on {home}, where its local steps' results are", GateName.HOME)
    if run.status == Status.WAITING:
        gate_name = GateName.BREAKER if _kind(run.waiting_for) == "breaker" else GateName.WAIT
        return Reason(waits_words(run.waiting_for), gate_name, at=run.next_at)
    if gate is None:
        return Reason("its queue is gone", GateName.QUEUE_GONE, stuck=True)
    return _of_queue(run, gate) or _of_workers(gate, served, suspended) or _of_limits(run, gate, key)


def _of_queue(run: Run, gate: Gate) -> Reason | None:
    because = f": {gate.pause_reason}" if gate.pause_reason else ""
    if gate.paused:
        return Reason(f"queue paused{because}", GateName.PAUSED, at=gate.paused_until)
    if gate.drained_from is not None and run.created_at >= gate.drained_from:
        return Reason(f"queue drains{because}", GateName.DRAINING, at=gate.paused_until)
    return None


def _of_workers(gate: Gate, served: Collection[str], suspended: bool) -> Reason | None:
    if gate.pool not in served:
        return Reason(f"no worker for pool {gate.pool}", GateName.NO_WORKER, stuck=True)
    if suspended:
        return Reason("workers are suspended (`manage.py rqresume` lets them go on)", GateName.SUSPENDED, stuck=True)
    return None


def _of_limits(run: Run, gate: Gate, key: KeyGate) -> Reason:
    name = run.concurrency_key
    if gate.full:
        return Reason(f"no slot: {gate.taken} of {gate.limit} running", GateName.CONCURRENCY)
    if name and gate.key_limit is not None and key.taken >= gate.key_limit:
        words = f"no slot for key {name}: {key.taken} of {gate.key_limit} running"
        return Reason(words, GateName.KEY_CONCURRENCY)
    if gate.rate is not None and holds_back(gate.rate, gate.started, run.units):
        return Reason(f"rate reached: {gate.rate.words}", GateName.RATE, at=gate.opens_at)
    if name and gate.key_rate is not None and holds_back(gate.key_rate, key.started, run.units):
        return Reason(f"rate of key {name} reached: {gate.key_rate.words}", GateName.KEY_RATE, at=key.opens_at)
    return Reason("next in line", GateName.LINE)
