"""What pages, API and command line read of schedules."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from holdfast.access.selectors import database_now
from holdfast.redaction import redacted
from queues.naming import NAME
from runs.schedules.model import Schedule, Tick
from runs.schedules.services import InvalidSchedule, timing_of, unknown
from runs.schedules.ticks import prose

#: Schedules that are listed, and ticks that are told of one.
MAX_SCHEDULES: Final = 1_000
TICKS: Final = 10
_AS_IT_IS: Final = (
    "name",
    "cron",
    "every",
    "timezone",
    "catch_up",
    "overlap",
    "jitter",
    "edited",
    "paused_by",
    "pause_reason",
    "next_at",
    "last_run",
)


def schedules() -> list[Schedule]:
    """All of them, by name."""
    return list(Schedule.objects.order_by("name")[:MAX_SCHEDULES])


def schedule_get(name: str) -> Schedule:
    """Raises UnknownSchedule with near matches."""
    found = Schedule.objects.filter(name=name).first() if NAME.fullmatch(name) else None
    if found is None:
        raise unknown(name)
    return found


def upcoming(found: Schedule, count: int = TICKS, *, after: datetime | None = None) -> list[datetime]:
    """Its next ticks, in UTC, were it not paused; jitter not counted. None when this host cannot tell them."""
    try:
        ticks = timing_of(found).ticks(after or database_now())
    except InvalidSchedule:
        return []
    return [next(ticks) for _ in range(count)]


def last_ticks(found: Schedule, count: int = TICKS) -> list[Tick]:
    """What became of its last ticks, the latest first."""
    return list(found.ticks.all()[:count])


def describe(found: Schedule, *, whole: bool = True) -> dict[str, Any]:
    """A schedule by the names of the API, what is shown to nobody masked; `whole` with its next ticks and its last
    ones."""
    ticks = last_ticks(found) if whole else []
    return {
        **{name: getattr(found, name) for name in _AS_IT_IS},
        "task": found.task_id,
        "payload": redacted(found.payload),
        "declared": redacted(found.declared),
        "in_words": prose(found.cron) if found.cron else "",
        "paused": found.paused_at is not None,
        "upcoming": upcoming(found) if whole else [],
        "ticks": [
            {name: getattr(tick, name) for name in ("due_at", "fired_at", "outcome", "run_id", "why")} for tick in ticks
        ],
    }
