"""Why one run is not running, as far as it can be known: the gate, who holds it, the place in line, and when it will
probably start. Page, API and command line say the same."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from holdfast import db
from holdfast.access.selectors import database_now
from queues import line
from queues.models import Queue
from queues.rate import Rate
from runs import selectors
from runs.models import Run
from runs.reasons import GateName, Reason, reasons
from runs.store import SQL
from runs.words import count

#: Minutes of starts by which the pace of a queue is judged.
LATELY: Final = 10
#: Gates at which a place in line says when it is this run's turn.
_IN_LINE: Final = (GateName.LINE, GateName.CONCURRENCY, GateName.RATE)


@dataclass(frozen=True, slots=True)
class HeldBy:
    """A run that has what this one waits for."""

    id: uuid.UUID
    task: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Why:
    """`words` name the gate. `ahead` starts of its queue come before its own, `own` of them of its concurrency key;
    10,001 means more than 10,000. `start` is a guess, and `basis` says by what, or why there is none."""

    words: str
    gate: str
    stuck: bool = False
    at: datetime | None = None
    holders: list[HeldBy] = field(default_factory=list)
    held: int = 0
    ahead: int | None = None
    own: int | None = None
    start: datetime | None = None
    basis: str = ""

    def lines(self) -> list[str]:
        """For people, one fact in a line."""
        found = [self.words[:1].upper() + self.words[1:]]
        if self.at:
            found[0] += f", until {self.at:%Y-%m-%d %H:%M:%S} UTC"
        if self.holders:
            named = ", ".join(f"{h.task} {h.id}" for h in self.holders)
            found.append(f"Held by {named}{f' and {count(self.more_held)} more' if self.more_held else ''}")
        if self.ahead is not None:
            found.append("It is the next" if not self.ahead else f"Before it: {count(self.ahead)}")
        if self.start:
            found.append(f"Probably starts at {self.start:%Y-%m-%d %H:%M:%S} UTC ({self.basis})")
        elif self.basis:
            found.append(f"When it starts cannot be told: {self.basis}")
        return found

    @property
    def more_held(self) -> int:
        """Holders that are not named."""
        return max(0, self.held - len(self.holders))

    def as_json(self) -> dict[str, Any]:
        """By the names of the API."""
        return {
            "reason": self.words,
            "gate": self.gate,
            "stuck": self.stuck,
            "at": self.at,
            "holders": [{"id": h.id, "task": h.task, "since": h.since} for h in self.holders],
            "held": self.held,
            "ahead": self.ahead,
            "ahead_of_key": self.own,
            "predicted_start": self.start,
            "basis": self.basis,
        }


#: What is to be said of a run that waits for nothing.
NOTHING: Final = Why("", "")


def why(run_id: uuid.UUID) -> Why | None:
    """Why the run waits; None when it does not. Raises UnknownRun."""
    run = selectors.run_get(run_id)
    found = reasons([run]).get(run.id)
    return None if found is None else explain(run, found)


def explain(run: Run, reason: Reason) -> Why:
    """The same of a run, read with its queue, whose reason is known already."""
    place = line.place(run.id)
    holders, held = _holders(run, reason.gate)
    start, basis = _start(run.queue, reason, place)
    return Why(
        reason.words,
        reason.gate,
        reason.stuck,
        reason.at,
        holders,
        held,
        ahead=place.ahead if place and reason.gate in _IN_LINE else None,
        own=place.own if place else None,
        start=start,
        basis=basis,
    )


def _holders(run: Run, gate: GateName) -> tuple[list[HeldBy], int]:
    if gate not in (GateName.CONCURRENCY, GateName.KEY_CONCURRENCY):
        return [], 0
    held, total = line.holders(run.queue_id, run.concurrency_key if gate == GateName.KEY_CONCURRENCY else None)
    tasks = dict(Run.objects.filter(pk__in=[h.id for h in held]).values_list("pk", "task_id"))
    return [HeldBy(h.id, tasks.get(h.id, ""), h.since) for h in held], total


def _start(queue: Queue, reason: Reason, place: line.Place | None) -> tuple[datetime | None, str]:
    """When it will probably start, and by what that is judged; or why nobody can tell."""
    match reason.gate:
        case GateName.SCHEDULE | GateName.RETRY:
            return reason.at, "its time"
        case GateName.PAUSED | GateName.DRAINING:
            return reason.at, "the end of the pause" if reason.at else "when somebody resumes the queue"
        case GateName.BREAKER:
            return reason.at, "then it asks again"
        case GateName.WAIT:
            return reason.at, "its wait ends then at the latest" if reason.at else "when what it waits for comes"
        case GateName.NO_WORKER | GateName.HOME:
            return None, "when a worker comes"
        case GateName.SUSPENDED:
            return None, "when somebody resumes the workers"
        case GateName.KEY_CONCURRENCY:
            return None, "when a run of its key ends"
        case GateName.KEY_RATE if queue.key_rate is not None and reason.at is not None and place is not None:
            then = _window(queue.key_rate, reason.at, place.own)
            return then, f"{queue.key_rate.words} for its key, and {count(place.own)} of the key before it"
        case GateName.RATE if queue.rate is not None and reason.at is not None and place is not None:
            then = _window(queue.rate, reason.at, place.ahead)
            return then, f"{queue.rate.words}, and {count(place.ahead)} before it"
        case GateName.CONCURRENCY | GateName.LINE if place is not None:
            return _by_pace(queue, place)
    return None, ""


def _window(rate: Rate, opens: datetime, before: int) -> datetime:
    """When the window opens that lets one through with so many before it; the next one, where units are counted."""
    windows = before // rate.amount if rate.unit is None else 0
    return opens + timedelta(seconds=windows * rate.period)


def _by_pace(queue: Queue, place: line.Place) -> tuple[datetime | None, str]:
    """As many starts as lately, until it is its turn."""
    with db.callers() as conn:
        row = conn.execute(SQL.starts_lately, {"queue": queue.pk, "minutes": LATELY}).fetchone()
    starts, seconds = row if row is not None else (0, 0.0)
    if not starts:
        return None, f"nothing of this queue has started in the last {LATELY} minutes"
    then = database_now() + timedelta(seconds=(place.ahead + 1) * seconds / starts)
    pace = "1 start" if starts == 1 else f"{count(starts)} starts"
    return then, f"{pace} in the last {max(1, round(seconds / 60))} min, and {count(place.ahead)} before it"
