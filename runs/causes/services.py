"""What people say of causes: one transaction each, with an audit row. Callers check the grant `alerts.silence` first
(`holdfast.access.grants.require`): who may silence an alert may do this, too."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from holdfast.access.grants import Actor
from holdfast.access.selectors import database_now
from holdfast.access.services import audit
from runs import snoozing
from runs.causes.model import CauseNote
from runs.causes.notes import Standing, standing
from runs.causes.selectors import Said, is_key, story
from runs.errors import WrongState


def cause_acknowledge(key: str, *, actor: Actor, reason: str = "") -> Said:
    """Somebody works on it, and says so to the others. It stays in the verdict.

    Raises:
        UnknownCause: it is not there now.
        WrongState: somebody has acknowledged it already.
    """
    return _note(story().cause(key), None, "causes.acknowledge", actor, reason)


def cause_snooze(key: str, *, duration: str, actor: Actor, reason: str = "") -> Said:
    """Nobody wants a word of it for so long: the verdict leaves it out until then, or until it is worse (`notes.py`).

    Args:
        duration: `4h`, `1d12h`, at most snoozing.MAX_SNOOZE.

    Raises:
        UnknownCause, InvalidOption.
    """
    if not duration:
        raise snoozing.fault("duration", "is missing; write one like 4h or 1d")
    return _note(story().cause(key), snoozing.span(duration), "causes.snooze", actor, reason)


def cause_reopen(key: str, *, actor: Actor, reason: str = "") -> None:
    """What was said of it is taken back, whether it is there at the moment or not.

    Raises:
        WrongState: nobody has said anything of it.
    """
    with transaction.atomic():
        note = CauseNote.objects.select_for_update().filter(pk=key).first() if is_key(key) else None
        if note is None:
            raise WrongState(f"Cause {key!r:.110} is neither acknowledged nor snoozed: there is nothing to take back.")
        _end(note, actor, reason)


def end_notes(keys: dict[str, str]) -> None:
    """These notes are over, each for its reason: the scheduler has seen it."""
    for key, why in sorted(keys.items()):
        with transaction.atomic():
            note = CauseNote.objects.select_for_update().filter(pk=key).first()
            if note is not None:
                _end(note, Actor.system("scheduler"), why)


def _note(said: Said, span: timedelta | None, action: str, actor: Actor, reason: str) -> Said:
    key = said.cause.key
    with transaction.atomic():
        before = CauseNote.objects.select_for_update().filter(pk=key).first()
        now = database_now()
        if span is None and before and standing(before, said.cause.size, now) == Standing.ACKNOWLEDGED:
            raise WrongState(f"Cause {key} was acknowledged already, by {before.noted_by}.", status=said.standing)
        until = now + span if span else None
        values: dict[str, Any] = {"noted_at": now, "noted_by": actor.label[:200], "until": until}
        told = _told(CauseNote(key=key, **values))
        # First, because it refuses a reason that cannot be stored.
        audit(actor, action, "cause", key, reason, before=_told(before), after=told)
        values |= {"reason": reason.strip(), "size": said.cause.size, "seen_at": now}
        note, _ = CauseNote.objects.update_or_create(key=key, defaults=values)
    return Said(said.cause, Standing.SNOOZED if span else Standing.ACKNOWLEDGED, note)


def _end(note: CauseNote, actor: Actor, reason: str) -> None:
    audit(actor, "causes.reopen", "cause", note.key, reason, before=_told(note), after={})
    note.delete()


def _told(note: CauseNote | None) -> dict[str, datetime | str | None]:
    """For the audit log."""
    if note is None:
        return {}
    return {
        "standing": str(Standing.SNOOZED if note.until else Standing.ACKNOWLEDGED),
        "by": note.noted_by,
        "until": note.until,
    }
