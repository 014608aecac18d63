"""The scheduler's part: due ticks begin runs. Any number of schedulers may do this side by side.

A schedule's row is locked, its ticks are recorded, their runs stored and its next tick set in one transaction: whoever
dies in the middle has done nothing, and whoever comes second finds nothing due.
"""

from __future__ import annotations

import logging
import uuid
from datetime import datetime
from typing import Final

from django.db import transaction

from holdfast.access.grants import Actor
from holdfast.access.selectors import database_now
from holdfast.telemetry import emit
from runs import services
from runs.errors import HoldfastError, WrongState
from runs.models import Run
from runs.schedules.choices import CatchUp, Overlap, TickOutcome
from runs.schedules.model import Schedule, Tick
from runs.schedules.services import begin, tags_of, timing_of
from runs.schedules.ticks import jitter
from runs.states import FINAL

logger = logging.getLogger("holdfast.schedule")

#: Seconds after which a tick is late, and says so; and after which it was missed, and `catch_up` decides.
LATE, MISSED = 5.0, 60.0
#: Ticks that are caught up with at most, and schedules that one look fires.
MOST_TICKS, MOST_SCHEDULES = 100, 200
#: Ticks that a schedule remembers.
REMEMBERED: Final = 1_000
_ACTOR: Final = Actor.system("scheduler")


def fire_due() -> int:
    """Fires what is due, a schedule at a time. Returns how many ticks that were."""
    fired = 0
    for _ in range(MOST_SCHEDULES):
        ticks = _fire_one()
        if ticks is None:
            break
        fired += ticks
    return fired


def _fire_one() -> int | None:
    with transaction.atomic():
        now = database_now()
        due_now = Schedule.objects.filter(next_at__lte=now).order_by("next_at", "id")
        found = due_now.select_for_update(skip_locked=True).first()
        if found is None:
            return None
        assert found.next_at is not None
        timing = timing_of(found)
        before = found.next_at
        due = [before, *timing.between(before, now, MOST_TICKS)]
        to_begin = _to_begin(found, due, now)
        ticks = [_fire(found, tick, now, begins=tick in to_begin) for tick in due]
        Tick.objects.bulk_create(ticks)
        found.next_at = timing.after(now)
        found.save(update_fields=["next_at", "last_run"])
        _forget(found)
    emit("schedule.fired", schedule=found.name, ticks=len(due), late=round((now - due[-1]).total_seconds(), 3))
    return len(due)


def _to_begin(found: Schedule, due: list[datetime], now: datetime) -> list[datetime]:
    """Which of these ticks begin a run: those that are in time, and of the missed ones what `catch_up` says."""
    in_time = [tick for tick in due if (now - tick).total_seconds() <= MISSED]
    match found.catch_up:
        case CatchUp.ALL:
            return due[-MOST_TICKS:]
        case CatchUp.LATEST:
            return in_time or due[-1:]
    return in_time


def _fire(found: Schedule, due: datetime, now: datetime, *, begins: bool) -> Tick:
    tick = Tick(schedule=found, due_at=due, fired_at=now, outcome=TickOutcome.MISSED)
    if not begins:
        tick.why = "no scheduler was there, and it is not caught up with"
        return tick
    if (going := _going_on(found)) is not None and found.overlap != Overlap.ALLOW:
        if found.overlap == Overlap.SKIP:
            tick.outcome, tick.why = TickOutcome.SKIPPED, f"run {going} was going on"
            return tick
        _cancel(going, found)
    late = (now - due).total_seconds()
    tags = [*tags_of(found, due), *(["late"] if late > LATE else [])]
    try:
        with transaction.atomic():
            tick.run_id = begin(found, tags=tags, delay=jitter(found.name, due, found.jitter))
    except HoldfastError as error:
        logger.warning("schedule %s could not begin a run: %s", found.name, error)
        tick.outcome, tick.why = TickOutcome.FAILED, str(error)[:500]
        return tick
    tick.outcome, found.last_run = TickOutcome.STARTED, tick.run_id
    if late > LATE:
        tick.why = f"{late:.0f} s late"
    return tick


def _going_on(found: Schedule) -> uuid.UUID | None:
    if found.last_run is None:
        return None
    status = Run.objects.filter(pk=found.last_run).values_list("status", flat=True).first()
    return found.last_run if status is not None and status not in FINAL else None


def _cancel(run_id: uuid.UUID, found: Schedule) -> None:
    try:
        services.run_cancel(run_id, actor=_ACTOR, reason=f"the next tick of schedule {found.name} begins another run")
    except WrongState:
        logger.debug("run %s has ended meanwhile", run_id)


def _forget(found: Schedule) -> None:
    """Ticks of long ago."""
    last = found.ticks.order_by("-due_at").values_list("due_at", flat=True)[REMEMBERED : REMEMBERED + 1].first()
    if last is not None:
        found.ticks.filter(due_at__lte=last).delete()
