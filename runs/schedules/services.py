"""What people may do to schedules: one transaction each, with an audit row. Callers check the grant first."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Mapping
from datetime import datetime
from difflib import get_close_matches
from typing import Any, Final

from django.db import IntegrityError, transaction

from holdfast import redaction
from holdfast.access import seen as seeing
from holdfast.access.grants import Actor
from holdfast.access.selectors import database_now
from holdfast.access.services import audit
from queues.naming import NAME
from runs import enqueue, services
from runs.errors import HoldfastError
from runs.schedules.declare import Schedule as Declared
from runs.schedules.model import Schedule
from runs.schedules.settings import EDITABLE, SETTINGS, problem
from runs.schedules.ticks import Timing, TimingError
from runs.sdk.options import Options

logger = logging.getLogger("holdfast.schedule")

MAX_LABEL: Final = 200
MAX_REASON: Final = 500
#: One setting in two fields, of which one is given: whoever edited the one has decided about both.
_WHEN: Final = frozenset({"cron", "every"})


class UnknownSchedule(HoldfastError):
    """There is no schedule of this name."""

    status, code = 404, "unknown_schedule"


class InvalidSchedule(HoldfastError):
    """A schedule that cannot be. `data["errors"]` is a list of {field, message}."""

    status, code = 422, "invalid_schedule"


def timing_of(found: Schedule) -> Timing:
    """When its ticks are. Raises InvalidSchedule: a time zone, say, that another host knows and this one does not."""
    try:
        return Timing(found.cron, found.every, found.timezone)
    except TimingError as error:
        raise invalid([(error.field, error.message)]) from None


def schedule_create(name: Any, actor: Actor, reason: str = "", **values: Any) -> Schedule:
    """Makes a schedule that code does not declare.

    Args:
        values: `task_id`, `cron` or `every`, and what else of EDITABLE is not as usual.

    Raises:
        InvalidSchedule, UnknownTask, InvalidPayload: names every field that does not fit, the name in use included.
    """
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise invalid([("name", "has to be 1 to 100 letters, digits, dots, dashes or underscores")])
    made = Schedule(name=name, created_at=database_now())
    _apply(made, values)
    made.next_at = timing_of(made).after(made.created_at)
    with transaction.atomic():
        try:
            with transaction.atomic():
                made.save(force_insert=True)
        except IntegrityError:  # of many at once, one has the name
            raise invalid([("name", f"{name!r} is in use; choose another one, or edit that schedule")]) from None
        record(actor, "create", name, reason, before={}, after=_told(made))
    return made


def schedule_update(name: str, actor: Actor, reason: str = "", *, seen: str | None = None, **values: Any) -> Schedule:
    """Changes a schedule; a person's edit overrides what code declares. `as_declared=True` takes all edits back.

    Args:
        seen: the `settings_mark` of what the change was decided on; None: whatever it is now.

    Raises:
        UnknownSchedule, InvalidSchedule, UnknownTask, InvalidPayload.
        ChangedMeanwhile: the settings are not those that were seen.
    """
    with transaction.atomic():
        found = locked(name)
        before, settings, timing = _told(found), _settings(found), _timing(found)
        if values.pop("as_declared", False):
            if found.declared is None:
                raise invalid([("as_declared", "is for schedules that code declares; this one a person has made")])
            _apply(found, found.declared)
            found.edited = []
        elif not values:
            raise invalid([("schedule", f"is given nothing to change; known are {', '.join(EDITABLE)}")])
        else:
            _apply(found, values)
            if found.declared is not None:
                now = _settings(found)
                found.edited = sorted(name for name in EDITABLE if now[name] != found.declared.get(name))
        if _settings(found) != settings:
            seeing.check(seen, settings, "schedule", name, ("schedules.update",))
        if found.paused_at is None and _timing(found) != timing:  # otherwise a tick that is due would be lost
            found.next_at = timing_of(found).after(database_now())
        found.save()
        if (after := _told(found)) != before:
            record(actor, "update", name, reason, before=before, after=after)
    return found


def schedule_pause(name: str, actor: Actor, reason: str = "") -> Schedule:
    """No tick begins a run until it is resumed; ticks meanwhile are none. Raises UnknownSchedule."""
    with transaction.atomic():
        found = locked(name)
        if found.paused_at is None:
            before = _told(found)
            found.paused_at, found.paused_by = database_now(), actor.label[:MAX_LABEL]
            found.pause_reason, found.next_at = reason, None
            record(actor, "pause", name, reason, before=before, after=_told(found))
            found.save()
    return found


def schedule_resume(name: str, actor: Actor, reason: str = "") -> Schedule:
    """Ticks begin runs again, from the next one on. Raises UnknownSchedule."""
    with transaction.atomic():
        found = locked(name)
        if found.paused_at is not None:
            before = _told(found)
            found.paused_at, found.paused_by, found.pause_reason = None, "", ""
            found.next_at = timing_of(found).after(database_now())
            found.save()
            record(actor, "resume", name, reason, before=before, after=_told(found))
    return found


def schedule_delete(name: str, actor: Actor, reason: str = "") -> None:
    """The schedule and the record of its ticks are gone; its runs stay. One that code declares is there again when a
    process of that code starts: pause it instead. Raises UnknownSchedule."""
    with transaction.atomic():
        found = locked(name)
        record(actor, "delete", name, reason, before=_told(found), after={})
        found.delete()


def schedule_run(name: str, actor: Actor, reason: str = "") -> uuid.UUID:
    """Begins a run now, beside the ticks. Raises UnknownSchedule, UnknownTask."""
    with transaction.atomic():
        found = locked(name)
        run_id = begin(found, tags=[schedule_tag(found), "by-hand"])
        record(actor, "run", name, reason, before={}, after={"run": str(run_id)})
    return run_id


def schedule_tag(of: Schedule) -> str:
    """The tag of all its runs."""
    return f"schedule:{of.name}"[:100]


def tick_tag(due: datetime) -> str:
    """The tag of a tick's run."""
    return f"tick:{due.isoformat()}"


def tags_of(found: Schedule, due: datetime) -> list[str]:
    """The tags by which the run of a tick is found, when the tick's own record is long gone."""
    return [schedule_tag(found), tick_tag(due)]


def begin(found: Schedule, *, tags: list[str], delay: float = 0.0) -> uuid.UUID:
    """Stores a run of a schedule's task, in the caller's transaction."""
    task = services.task_get(found.task_id)
    options = Options(tags=tags, delay=delay or None)
    options.check()
    return enqueue.enqueue(task, task.encode_payload(found.payload, of_json=True), options).id


def declare_all() -> None:
    """At the start of a process: schedules that its code declares get their rows, or adopt what has changed. One that
    cannot be told here is left as it is, with a line in the log: it must not stand in the way of the others."""
    for declared in sorted(Declared.declared.values(), key=lambda schedule: schedule.name):
        try:
            _declare(declared)
        except InvalidSchedule as error:
            logger.error(
                "schedule %s does not adopt what its code declares: %s Edit it, or give this host what it lacks",
                declared.name,
                error,
            )


def _declare(declared: Declared) -> None:
    settings = declared.settings
    with transaction.atomic():
        found = Schedule.objects.select_for_update().filter(name=declared.name).first()
        if found is None:
            now = database_now()
            made = Schedule(name=declared.name, created_at=now, declared=settings, **settings)
            made.next_at = timing_of(made).after(now)
            # Processes start side by side: whoever comes second finds it there.
            Schedule.objects.bulk_create([made], ignore_conflicts=True)
        elif found.declared != settings:
            _adopt(found, settings)
            found.save()


def _adopt(found: Schedule, settings: dict[str, Any]) -> None:
    """What code declares now, but for what a person has edited. Raises InvalidSchedule."""
    before, edited = _timing(found), {*found.edited}
    if edited & _WHEN:
        edited |= {name for name in _WHEN if getattr(found, name) != settings[name]}
    for name in settings.keys() - edited:
        setattr(found, name, settings[name])
    found.declared, found.edited = settings, sorted(edited)
    if _timing(found) != before and found.paused_at is None:
        found.next_at = timing_of(found).after(database_now())


# ── parts ────────────────────────────────────────────────────────────────────────────────────────────────────────


def locked(name: str) -> Schedule:
    """Its row, for a change. Raises UnknownSchedule."""
    found = Schedule.objects.select_for_update().filter(name=name).first() if NAME.fullmatch(name) else None
    if found is None:
        raise unknown(name)
    return found


def unknown(name: str) -> UnknownSchedule:
    """The error for a schedule that is not there, with the names nearest to it."""
    names = list(Schedule.objects.values_list("name", flat=True)[:1_000])
    near = get_close_matches(name[:200], names, n=3, cutoff=0.5)
    hint = f" Did you mean {', '.join(near)}?" if near else ""
    return UnknownSchedule(f"There is no schedule {name!r:.220}.{hint}", near=near)


def _apply(to: Schedule, values: Mapping[str, Any]) -> None:
    """Sets what was given, and only if all of it fits."""
    faults = [(name, f"is no field; known are {', '.join(EDITABLE)}") for name in sorted(set(values) - set(EDITABLE))]
    faults += [(name, said) for name in SETTINGS if name in values and (said := problem(name, values[name]))]
    if "payload" in values and to.payload is not None:
        try:
            values = {**values, "payload": redaction.restored(values["payload"], to.payload)}
        except redaction.LostValue as error:
            faults.append(("payload", f"has {error.path}, which {error.message}"))
    for name in set(values) & set(EDITABLE):
        setattr(to, name, values[name])
    if "cron" in values and values["cron"] is not None and "every" not in values:
        to.every = None
    if "every" in values and values["every"] is not None and "cron" not in values:
        to.cron = None
    try:
        Timing(to.cron, to.every, to.timezone)
    except TimingError as error:
        faults.append((error.field, error.message))
    if not isinstance(to.payload, dict):
        faults.append(("payload", "has to be an object with the task's parameters"))
    if faults:
        raise invalid(faults)
    task = services.task_get(str(to.task_id))
    text = task.encode_payload(to.payload, of_json=True)
    enqueue.check_size(text)
    to.payload = json.loads(text)


def record(actor: Actor, what: str, name: str, reason: str, *, before: dict[str, Any], after: dict[str, Any]) -> None:
    """Writes who did what to a schedule, and why. Raises InvalidSchedule for a reason that is too long."""
    if len(reason) > MAX_REASON:
        raise invalid([("reason", f"has {len(reason):,} characters; write at most {MAX_REASON}")])
    audit(actor, f"schedules.{what}", "schedule", name, reason, before=before, after=after)


def invalid(faults: list[tuple[str, str]]) -> InvalidSchedule:
    """The error of (field, what is wrong) pairs."""
    return InvalidSchedule(
        "; ".join(f"{field} {message}" for field, message in faults) + ".",
        errors=[{"field": field, "message": message} for field, message in faults],
    )


def settings_mark(of: Schedule) -> str:
    """Stands for the settings that a person sees when he changes them."""
    return seeing.mark(_settings(of))


def _timing(of: Schedule) -> tuple[str | None, float | None, str]:
    return of.cron, of.every, of.timezone


def _settings(of: Schedule) -> dict[str, Any]:
    return {name: getattr(of, name) for name in EDITABLE}


def _told(of: Schedule) -> dict[str, Any]:
    """For the audit log."""
    at = of.paused_at.isoformat() if of.paused_at else None
    return {**_settings(of), "edited": of.edited, "paused_at": at}
