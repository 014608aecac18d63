"""The scheduler's part: due ticks begin runs. Any number of schedulers may stand by; one at a time leads.

The leader holds an advisory lock for as long as a transaction, in which it locks a schedule's row, records its ticks,
stores their runs and sets its next tick: whoever dies in the middle has done nothing and leads no longer, and whoever
comes second finds nothing due.
"""

from __future__ import annotations

import logging
import uuid
from datetime import datetime
from typing import Final

from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from holdfast import db
from holdfast.access.grants import Actor
from holdfast.access.selectors import database_now
from holdfast.telemetry import emit
from runs import services, store
from runs.errors import HoldfastError, WrongState
from runs.models import Run
from runs.schedules.choices import CatchUp, Overlap, TickOutcome
from runs.schedules.model import Schedule, Tick
from runs.schedules.services import InvalidSchedule, begin, tags_of, timing_of
from runs.schedules.ticks import jitter
from runs.states import FINAL

logger = logging.getLogger("holdfast.schedule")

#: Seconds after which a tick is late, and says so; and after which it was missed, and `catch_up` decides.
LATE, MISSED = 5.0, 60.0
#: Ticks that are caught up with at most, and schedules that one look fires.
MOST_TICKS, MOST_SCHEDULES = 100, 200
#: Ticks of a schedule that wait for the run before at most; those that come then are skipped.
MOST_QUEUED: Final = 100
#: Ticks that a schedule remembers.
REMEMBERED: Final = 1_000
_ACTOR: Final = Actor.system("scheduler")


def fire_due() -> int:
    """Fires what is due, a schedule at a time. Returns how many ticks that were."""
    fired, unreadable = 0, set[int]()
    for _ in range(MOST_SCHEDULES):
        ticks = _fire_one(unreadable)
        if ticks is None:
            break
        fired += ticks
    return fired


def _fire_one(unreadable: set[int]) -> int | None:
    """The first one that is due. One whose ticks cannot be told here is added to those that are left out: it must not
    stand in the way of the others."""
    with transaction.atomic():
        if not _leads():
            return None
        now = database_now()
        due_now = Schedule.objects.filter(next_at__lte=now).exclude(pk__in=unreadable).order_by("next_at", "id")
        found = due_now.select_for_update(skip_locked=True).first()
        if found is None:
            return None
        assert found.next_at is not None
        try:
            timing = timing_of(found)
        except InvalidSchedule as error:
            logger.error(
                "schedule %s does not tick here: %s Edit it, or give this host what it lacks", found.name, error
            )
            unreadable.add(found.pk)
            return 0
        before = found.next_at
        due = [before, *timing.between(before, now, MOST_TICKS)]
        to_begin = _to_begin(found, due, now)
        queued = found.ticks.filter(outcome=TickOutcome.QUEUED).count()
        ticks = []
        for tick in due:
            ticks.append(_fire(found, tick, now, begins=tick in to_begin, queued=queued))
            queued += ticks[-1].outcome == TickOutcome.QUEUED
        Tick.objects.bulk_create(ticks)
        found.next_at = timing.after(now)
        found.save(update_fields=["next_at", "last_run"])
        _forget(found)
    emit("schedule.fired", schedule=found.name, ticks=len(due), late=round((now - due[-1]).total_seconds(), 3))
    return len(due)


def _leads() -> bool:
    with db.callers() as conn:
        return store.lead_schedules(conn)


def _to_begin(found: Schedule, due: list[datetime], now: datetime) -> list[datetime]:
    """Which of these ticks begin a run: those that are in time, and of the missed ones what `catch_up` says."""
    in_time = [tick for tick in due if (now - tick).total_seconds() <= MISSED]
    match found.catch_up:
        case CatchUp.ALL:
            return due[-MOST_TICKS:]
        case CatchUp.LATEST:
            return in_time or due[-1:]
    return in_time


def begin_queued() -> int:
    """Of each schedule the earliest tick that waited for the run before begins its own, when that one has ended, or
    the schedule's ticks wait for none any more. Returns how many ticks that were."""
    going_on = Run.objects.filter(pk=OuterRef("last_run")).exclude(status__in=FINAL)
    queued = Tick.objects.filter(outcome=TickOutcome.QUEUED).values("schedule")
    free = Q(overlap=Overlap.ALLOW) | ~Exists(going_on)
    ready = Schedule.objects.filter(free, pk__in=queued, paused_at=None)
    return sum(_begin_queued(pk) for pk in ready.order_by("pk").values_list("pk", flat=True)[:MOST_SCHEDULES])


def _begin_queued(pk: int) -> bool:
    with transaction.atomic():
        if not _leads():
            return False
        found = Schedule.objects.select_for_update(skip_locked=True).filter(pk=pk, paused_at=None).first()
        if found is None or (found.overlap != Overlap.ALLOW and _going_on(found)):
            return False  # another scheduler was faster
        tick = found.ticks.filter(outcome=TickOutcome.QUEUED).order_by("due_at").first()
        if tick is None:
            return False
        before, waited = found.last_run, (database_now() - tick.fired_at).total_seconds()
        _begin(found, tick)
        if tick.outcome == TickOutcome.STARTED:
            tick.why = f"waited {waited:.0f} s for run {before}" + (" to end" if found.overlap != Overlap.ALLOW else "")
        tick.save(update_fields=["outcome", "why", "run_id"])
        found.save(update_fields=["last_run"])
    emit("schedule.begun", schedule=found.name, waited=round(waited, 3))
    return True


def _fire(found: Schedule, due: datetime, now: datetime, *, begins: bool, queued: int) -> Tick:
    tick = Tick(schedule=found, due_at=due, fired_at=now, outcome=TickOutcome.MISSED)
    if not begins:
        tick.why = "no scheduler was there, and it is not caught up with"
        return tick
    going = _going_on(found)
    match found.overlap:
        case Overlap.QUEUE if queued >= MOST_QUEUED:
            tick.outcome, tick.why = TickOutcome.SKIPPED, f"{queued} ticks waited for the run before already"
        case Overlap.QUEUE if going or queued:  # behind those that wait, though the run before may just have ended
            before = f"run {going} was going on" if going else f"ticks waited before it: {queued}"
            tick.outcome, tick.why = TickOutcome.QUEUED, before
        case Overlap.SKIP if going:
            tick.outcome, tick.why = TickOutcome.SKIPPED, f"run {going} was going on"
        case overlap:
            if going and overlap == Overlap.CANCEL_OLD:
                _cancel(going, found)
            _begin(found, tick)
    return tick


def _begin(found: Schedule, tick: Tick) -> None:
    """The tick begins its run, which is the schedule's last one now; or it says why not."""
    tags = [*tags_of(found, tick.due_at), *(["late"] if tick.late > LATE else [])]
    try:
        with transaction.atomic():
            tick.run_id = begin(found, tags=tags, delay=jitter(found.name, tick.due_at, found.jitter))
    except HoldfastError as error:
        logger.warning("schedule %s could not begin a run: %s", found.name, error)
        tick.outcome, tick.why = TickOutcome.FAILED, str(error)[:500]
        return
    tick.outcome, found.last_run = TickOutcome.STARTED, tick.run_id
    if tick.late > LATE:
        tick.why = f"{tick.late:.0f} s late"


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
    """Ticks of long ago, but those that still wait."""
    last = found.ticks.order_by("-due_at").values_list("due_at", flat=True)[REMEMBERED : REMEMBERED + 1].first()
    if last is not None:
        found.ticks.filter(due_at__lte=last).exclude(outcome=TickOutcome.QUEUED).delete()
