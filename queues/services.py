"""What people may do to queues: one transaction each, under the queue's lock, with an audit row.

Callers check the grant first (`holdfast.access.grants.require`); these functions do the deed. A change is in force
from the next lease on, that is within moments: workers are woken when it commits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction
from django.db.models import QuerySet

from holdfast import db
from holdfast.access import seen as seeing
from holdfast.access.grants import Actor
from holdfast.access.models import AuditEntry
from holdfast.access.selectors import database_now
from holdfast.access.services import audit
from queues import store, tickets
from queues.editable import FLAGS, LIMIT_WORDS, SETTINGS
from queues.errors import InvalidChange, invalid, not_found
from queues.models import Queue
from queues.naming import NAME
from queues.rate import shown
from queues.selectors import queue_names

#: What a change may hold: settings, and the flags that take edits of them back.
EDITABLE: Final = (*SETTINGS, *FLAGS)
MAX_REASON: Final = 500
MAX_LABEL: Final = 200
#: Longest pause that ends by itself, in seconds.
MAX_PAUSE: Final = 31 * 86_400
#: What says of a queue that it is paused.
PAUSE: Final = ("paused_at", "paused_until", "drains", "paused_by", "pause_reason")
#: What may have come between a pause and what was seen of it.
PAUSES: Final = ("queues.pause", "queues.resume", "queues.undo")


def queue_update(name: str, actor: Actor, *, reason: str = "", seen: str | None = None, **changes: Any) -> Queue:
    """Changes a queue's settings; a person's edit overrides what the code declares, until it is taken back.

    What is as asked already is no edit.

    Args:
        seen: the `settings_mark` of what the change was decided on; None: whatever it is now.
        changes: settings by name (`queues.editable.SETTINGS`), in Python's values or in JSON's: None is no limit. A
            flag of a setting (`limit_edited`, `rate_edited`, …) may only be False, which takes the edit back: what is
            declared in code counts again. The window of a new rate counts what starts from now on.

    Raises:
        QueueNotFound, InvalidChange: the latter lists every field that does not fit.
        ChangedMeanwhile: the settings are not those that were seen.
    """
    reason = clean_reason(reason)
    changes = _checked(changes)
    with transaction.atomic():
        queue = _locked(name)
        before = _settings(queue)
        _put(queue, changes)
        if (after := _settings(queue)) != before:
            seeing.check(seen, before, "queue", name, ("queues.update", "queues.undo"))
            _save_settings(queue)
            audit(actor, "queues.update", "queue", name, reason, before=before, after=after)
    return queue


def queue_proposed(name: str, changes: dict[str, Any]) -> tuple[Queue, Queue]:
    """A queue, and one that is not stored as it would be with these changes. Raises as `queue_update`."""
    changes = _checked(changes)
    found = _found(Queue.objects.all(), name)
    proposed = copy(found)
    _put(proposed, changes)
    return found, proposed


def _put(queue: Queue, changes: dict[str, Any]) -> None:
    """Changes that were checked, into a row that is not saved yet."""
    for setting in SETTINGS.values():
        if setting.name in changes and changes[setting.name] != getattr(queue, setting.name):
            setattr(queue, setting.name, changes[setting.name])
            queue.edited = sorted({*queue.edited, setting.name})
        elif setting.flag in changes:
            setattr(queue, setting.name, queue.declares(setting.name))
            queue.edited = sorted({*queue.edited} - {setting.name})


def changes(name: str) -> QuerySet[AuditEntry]:
    """What was ever changed of a queue, the latest first."""
    if not NAME.fullmatch(name):
        return AuditEntry.objects.none()
    return AuditEntry.objects.filter(object_type="queue", object_id=name, before__isnull=False)


def queue_as_declared(name: str, actor: Actor, reason: str = "", *, seen: str | None = None) -> Queue:
    """Takes all edits of a queue's settings back. Raises as `queue_update`."""
    return queue_update(name, actor, reason=reason, seen=seen, **dict.fromkeys(FLAGS, False))


def queue_pause(
    name: str, actor: Actor, reason: str = "", *, seconds: Any = None, drain: bool = False, seen: str | None = None
) -> Queue:
    """Stops the queue from starting runs; those that run go on. A queue that is paused the same way, until
    somebody resumes it, stays as it is.

    Args:
        seconds: after which the pause ends by itself, 1 to 31 days; None: when somebody resumes it.
        drain: works off the runs that are there, retries and what they still wait for included; later ones wait.
        seen: the `pause_mark` of what it was decided on; None: whatever it is now.

    Raises:
        QueueNotFound, InvalidChange: the reason or the seconds do not fit.
        ChangedMeanwhile: it was paused or resumed since it was seen.
    """
    reason = clean_reason(reason)
    span = _clean_seconds(seconds)
    with transaction.atomic():
        queue = _locked(name)
        seeing.check(seen, _pause(queue), "queue", name, PAUSES)
        until = queue.paused_until
        if not queue.paused or span is not None or until is not None or drain != queue.drains:
            before, now = _pause(queue), database_now()
            goes_on = queue.paused and (until is None or until > now)  # one that is over may not be ended yet
            queue.paused_at = queue.paused_at if goes_on and drain == queue.drains else now
            queue.paused_until = now + span if span is not None else None
            queue.paused_by, queue.pause_reason, queue.drains = actor.label[:MAX_LABEL], reason, drain
            _save_pause(queue)
            audit(actor, "queues.pause", "queue", name, reason, before=before, after=_pause(queue))
    return queue


def queue_resume(name: str, actor: Actor, reason: str = "", *, seen: str | None = None) -> Queue:
    """Lets a paused queue start runs again. A queue that is not paused stays as it is.

    Args:
        seen: the `pause_mark` of what it was decided on; None: whatever it is now.

    Raises:
        QueueNotFound, InvalidChange: the reason is too long.
        ChangedMeanwhile: it was paused otherwise, or resumed, since it was seen.
    """
    reason = clean_reason(reason)
    with transaction.atomic():
        queue = _locked(name)
        seeing.check(seen, _pause(queue), "queue", name, PAUSES)
        if queue.paused:
            before = _pause(queue)
            _set_pause(queue, {})
            _save_pause(queue)
            audit(actor, "queues.resume", "queue", name, reason, before=before, after=_pause(queue))
    return queue


def end_pauses(names: Iterable[str]) -> None:
    """Resumes those of these queues whose pause has ended by itself. What waits in them may have started already."""
    for name in names:
        with transaction.atomic():
            queue = Queue.objects.select_for_update(no_key=True).filter(name=name).first()
            if queue is not None and queue.paused_until is not None and queue.paused_until <= database_now():
                queue_resume(name, Actor.system("scheduler"), "the pause was for a time, and that is over")


def queue_undo(name: str, actor: Actor, reason: str = "", *, change: int | None = None) -> Queue:
    """Takes the last change of a queue back: settings or pause are as they were before it. Undone again, it stands.
    A setting that was not edited then becomes what the code declares now.

    Args:
        change: the id, in the audit log, of the change that is meant; None: of the last one, whatever it is.

    Raises:
        QueueNotFound, InvalidChange: nothing was ever changed, or the reason is too long.
        ChangedMeanwhile: the last change is another one.
    """
    reason = clean_reason(reason)
    with transaction.atomic():
        queue = _locked(name)
        last = changes(name).first()
        if last is None:
            raise invalid("queue", "was never changed by anybody; there is nothing to undo")
        if change is not None and last.pk != change:
            raise seeing.refusal("queue", name, last)
        to = last.before or {}
        if "paused_at" in to:
            before = _pause(queue)
            _set_pause(queue, to)
            _save_pause(queue)
            after = _pause(queue)
        else:
            before = _settings(queue)
            for setting in SETTINGS.values():  # what nobody had edited is as code declares it now, not as it did then
                edited = to.get(setting.flag)
                value = setting.check(to.get(setting.name)) if edited else queue.declares(setting.name)
                setattr(queue, setting.name, value)
            queue.edited = sorted(name for flag, name in FLAGS.items() if to.get(flag))
            _save_settings(queue)
            after = _settings(queue)
        audit(actor, "queues.undo", "queue", name, reason or f"undoes {last.action}", before=before, after=after)
    return queue


def settings_mark(queue: Queue) -> str:
    """Stands for the settings that a person sees when he changes them."""
    return seeing.mark(_settings(queue))


def pause_mark(queue: Queue) -> str:
    """Stands for the pause, or that there is none."""
    return seeing.mark(_pause(queue))


def _locked(name: str) -> Queue:
    # No key update: an admission that counts this queue's leases waits, a foreign key to the queue does not.
    return _found(Queue.objects.select_for_update(no_key=True), name)


def _found(queues: QuerySet[Queue], name: str) -> Queue:
    found = queues.filter(name=name).first() if NAME.fullmatch(name) else None
    if found is None:
        raise not_found(name, queue_names())
    return found


def _save_settings(queue: Queue) -> None:
    _save(queue, "edited", *(column for setting in SETTINGS.values() for column in setting.columns))


def _save_pause(queue: Queue) -> None:
    _save(queue, *PAUSE)


def _save(queue: Queue, *names: str) -> None:
    queue.updated_at = database_now()
    queue.save(update_fields=[*names, "updated_at"])
    with db.callers() as conn:
        store.note_all_keys(conn, queue.pk)
    pool = queue.pool
    transaction.on_commit(lambda: tickets.wake((pool,)))


def _checked(changes: dict[str, Any]) -> dict[str, Any]:
    """The changes, as their settings have them. Raises InvalidChange with all that is wrong."""
    faults: list[tuple[str, str]] = []
    found: dict[str, Any] = {}
    for field, value in sorted(changes.items()):
        if field in SETTINGS:
            try:
                found[field] = SETTINGS[field].check(value)
            except ValueError as error:
                faults.append((field, str(error)))
        elif field in FLAGS:
            found[field] = value
            if value is not False:
                faults.append((field, "can only be set to false, which takes the edit back"))
            elif FLAGS[field] in changes:
                faults.append((field, f"stands beside {FLAGS[field]}; give one of the two"))
        elif hasattr(Queue, field):
            faults.append((field, "cannot be changed here"))
        else:
            faults.append((field, f"is no field; known are {', '.join(EDITABLE)}"))
    if not changes:
        faults.append(("concurrency_limit", f"is missing; {LIMIT_WORDS}, or give another setting"))
    if faults:
        raise InvalidChange(
            "; ".join(f"{field} {message}" for field, message in faults) + ".",
            errors=[{"field": field, "message": message} for field, message in faults],
        )
    return found


def clean_reason(given: Any) -> str:
    """Why something is done, as the audit log keeps it. Raises InvalidChange."""
    if not isinstance(given, str):
        raise invalid("reason", f"is {shown(given)}; write text")
    reason = given.strip()
    if len(reason) > MAX_REASON:
        raise invalid("reason", f"has {len(reason):,} characters; write at most {MAX_REASON}")
    if any(not c.isprintable() and c not in "\n\r\t" for c in reason):
        raise invalid("reason", "holds a control character; write plain text")
    return reason


def _settings(queue: Queue) -> dict[str, Any]:
    """For the audit log."""
    values = {name: setting.json(getattr(queue, name)) for name, setting in SETTINGS.items()}
    return {**values, **{flag: name in queue.edited for flag, name in FLAGS.items()}}


def _pause(queue: Queue) -> dict[str, Any]:
    """For the audit log."""
    values = {name: getattr(queue, name) for name in PAUSE}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}


def _set_pause(queue: Queue, to: Mapping[str, Any]) -> None:
    """As it was when `_pause` told; {} is no pause."""
    for name in ("paused_at", "paused_until"):
        setattr(queue, name, datetime.fromisoformat(to[name]) if to.get(name) else None)
    queue.drains = bool(to.get("drains"))
    queue.paused_by, queue.pause_reason = to.get("paused_by", ""), to.get("pause_reason", "")


def _clean_seconds(given: Any) -> timedelta | None:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float) or not 1 <= given <= MAX_PAUSE:
        raise invalid("seconds", f"is {shown(given)}; write seconds from 1 to {MAX_PAUSE:,} (31 days), or nothing")
    return timedelta(seconds=given)
