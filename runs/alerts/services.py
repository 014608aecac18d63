"""What people do to alerts: one transaction each, with an audit row. Callers check the grant first
(`holdfast.access.grants.require`)."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Any, Final

from django.db import transaction

from holdfast.access import seen as seeing
from holdfast.access.grants import Actor
from holdfast.access.selectors import database_now
from holdfast.access.services import audit
from runs.alerts import evaluating, settings
from runs.alerts.choices import Ended, State
from runs.alerts.model import Alert, Channel, Firing
from runs.errors import HoldfastError, InvalidOption, WrongState

#: Seconds of the longest silence: a year would be a rule that nobody wants.
MAX_SILENCE: Final = 31 * 86_400
MAX_ALERTS: Final = 500
MAX_LABEL, MAX_REASON = 200, 500
#: Names that are addresses of something else.
RESERVED: Final = ("channels", "preview", "new")
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,79}")
NAME_WORDS: Final = "must be 1 to 80 of a-z, 0-9 and -, and begin with no dash"


class UnknownAlert(HoldfastError):
    """There is no alert of this name."""

    status, code = 404, "unknown_alert"


class InvalidAlert(HoldfastError):
    """An alert that cannot be. `data["errors"]` is a list of {field, message}."""

    status, code = 422, "invalid_alert"


class AlertExists(HoldfastError):
    """There is an alert of this name already."""

    status, code = 409, "alert_exists"


def alert_get(name: str, *, lock: bool = False) -> Alert:
    """Raises UnknownAlert with near matches."""
    found = Alert.objects.select_for_update() if lock else Alert.objects.all()
    row = found.filter(name=name).first() if is_name(name) else None
    if row is None:
        near = get_close_matches(name[:200], Alert.objects.values_list("name", flat=True)[:MAX_ALERTS], n=3, cutoff=0.5)
        hint = f" Did you mean {', '.join(near)}?" if near else " `manage.py alerts list` shows them."
        raise UnknownAlert(f"There is no alert {name!r:.110}.{hint}", near=near)
    return row


def alert_draft(**values: Any) -> Alert:
    """A rule that is not stored, to be previewed. Raises InvalidAlert."""
    return _made("preview", values)[0]


def alert_create(name: Any, *, actor: Actor, reason: str = "", **values: Any) -> Alert:
    """Makes an alert. It is looked at at once, and each minute from then on.

    Args:
        values: `kind`, `threshold`, and what else of `settings.EDITABLE` is not as usual.

    Raises:
        InvalidAlert: names every field that does not fit.
        AlertExists.
    """
    if not is_name(name):
        raise invalid([("name", NAME_WORDS)])
    if name in RESERVED:
        raise invalid([("name", f"is {name!r}, which is the address of something else; choose another")])
    row, channels = _made(name, values)
    with transaction.atomic():
        if Alert.objects.count() >= MAX_ALERTS:
            raise invalid([("name", f"would be one more than the {MAX_ALERTS} alerts that there may be; delete some")])
        Alert.objects.bulk_create([row], ignore_conflicts=True)
        stored = Alert.objects.filter(name=name, since=row.since).first()
        if stored is None:
            raise AlertExists(
                f"There is an alert {name!r} already. Choose another name.",
                errors=[{"field": "name", "message": "is in use; choose another"}],
            )
        stored.channels.set(channels)
        audit(actor, "alerts.create", "alert", name, reason, before={}, after=told(stored))
    return stored


def alert_update(
    name: str, changes: dict[str, Any], *, actor: Actor, reason: str = "", seen: str | None = None
) -> Alert:
    """Changes settings. One that measures something else from now on begins anew: what fires is over.

    Args:
        seen: the `settings_mark` of what the change was decided on; None: whatever it is now.

    Raises:
        UnknownAlert, InvalidAlert.
        ChangedMeanwhile: the settings are not those that were seen.
    """
    with transaction.atomic():
        row = alert_get(name, lock=True)
        before = told(row)
        if not changes:
            raise invalid([("alert", f"is given nothing to change; there are {', '.join(settings.EDITABLE)}")])
        faults = settings.put(row, changes)
        channels, wrong = settings.channels_of(changes["channels"]) if "channels" in changes else ([], [])
        if faults + wrong:
            raise invalid(faults + wrong)
        if any(before[field] != getattr(row, field) for field in (*settings.MEASURES, "enabled")):
            evaluating.end(row, Ended.CHANGED if row.enabled else Ended.OFF, database_now())
            _begin_anew(row)
        row.save()
        if "channels" in changes:
            row.channels.set(channels)
        seeing.changed(seen, "alerts.update", "alert", name, before, told(row), actor=actor, reason=reason)
    return row


def alert_delete(name: str, *, actor: Actor, reason: str = "") -> None:
    """The alert and its history are gone; who was told that it fires is told that it is over. Raises UnknownAlert."""
    with transaction.atomic():
        row = alert_get(name, lock=True)
        evaluating.end(row, Ended.DELETED, database_now())
        audit(actor, "alerts.delete", "alert", name, reason, before=told(row), after={})
        row.delete()


def alert_silence(name: str, seconds: Any, *, actor: Actor, reason: str = "") -> Alert:
    """Nobody is told for so many seconds. What still fires when they are over is told then.

    Args:
        seconds: 60 to 31 days.

    Raises:
        UnknownAlert, InvalidAlert.
    """
    fits = isinstance(seconds, int | float) and not isinstance(seconds, bool) and 60 <= seconds <= MAX_SILENCE
    if not fits:
        raise invalid([("seconds", f"is {seconds!r:.60}; write seconds from 60 to {MAX_SILENCE:,} (31 days)")])
    _check_reason(reason)
    with transaction.atomic():
        row = alert_get(name, lock=True)
        before = {"silenced_until": row.silenced_until}
        row.silenced_until = database_now() + timedelta(seconds=seconds)
        row.silenced_by, row.silence_reason = actor.label[:MAX_LABEL], reason.strip()
        _save_silence(row)
        after = {"silenced_until": row.silenced_until}
        audit(actor, "alerts.silence", "alert", name, reason, before=before, after=after)
    return row


def alert_unsilence(name: str, *, actor: Actor, reason: str = "") -> Alert:
    """People are told again. Raises UnknownAlert."""
    _check_reason(reason)
    with transaction.atomic():
        row = alert_get(name, lock=True)
        if row.silenced_until is not None:
            before = {"silenced_until": row.silenced_until}
            row.silenced_until, row.silenced_by, row.silence_reason = None, "", ""
            _save_silence(row)
            audit(actor, "alerts.unsilence", "alert", name, reason, before=before, after={"silenced_until": None})
    return row


def alert_acknowledge(name: str, *, actor: Actor, reason: str = "") -> Firing:
    """Somebody knows of what fires, and says so to the others.

    Raises:
        UnknownAlert.
        WrongState: it does not fire, or somebody has acknowledged it.
    """
    _check_reason(reason)
    with transaction.atomic():
        row = alert_get(name, lock=True)
        firing = row.firings.filter(until__isnull=True).first()
        if firing is None:
            raise WrongState(f"Alert {name} is {row.state}; only one that fires can be acknowledged.", status=row.state)
        if firing.acknowledged_at is not None:
            by = firing.acknowledged_by
            raise WrongState(f"Alert {name} was acknowledged already, by {by}.", status=row.state)
        firing.acknowledged_at, firing.acknowledged_by = database_now(), actor.label[:MAX_LABEL]
        firing.acknowledged_why = reason.strip()
        firing.save(update_fields=["acknowledged_at", "acknowledged_by", "acknowledged_why"])
        after = {"firing": firing.pk, "since": firing.since}
        audit(actor, "alerts.acknowledge", "alert", name, reason, before={}, after=after)
    return firing


# ── parts ────────────────────────────────────────────────────────────────────────────────────────────────────────


def is_name(name: Any) -> bool:
    """Whether an alert or a channel could have this name."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def invalid(faults: list[settings.Fault]) -> InvalidAlert:
    """An error that says all of it."""
    text = "; ".join(f"{field} {message}" for field, message in faults)
    return InvalidAlert(f"{text}.", errors=[{"field": field, "message": message} for field, message in faults])


def settings_mark(row: Alert) -> str:
    """Stands for the settings that a person sees when he changes them."""
    return seeing.mark(told(row))


def told(row: Alert) -> dict[str, Any]:
    """Its settings, as the audit log has them."""
    names = sorted(channel.name for channel in row.channels.all()) if row.pk else []
    return {**{field: getattr(row, field) for field in settings.MEASURES}, "channels": names, "enabled": row.enabled}


def _made(name: str, values: dict[str, Any]) -> tuple[Alert, list[Channel]]:
    now = database_now()
    row = Alert(name=name, state=State.UNMEASURED, since=now, due_at=now, note="not looked at yet")
    if "kind" not in values:
        raise invalid([("kind", "is missing")])
    channels, wrong = settings.channels_of(values.get("channels", []))
    if faults := settings.put(row, values) + wrong:
        raise invalid(faults)
    return row, channels


def _begin_anew(row: Alert) -> None:
    now: datetime = database_now()
    row.state, row.since, row.due_at = State.UNMEASURED, now, now
    row.calm_since = row.blind_since = row.value = None
    row.note = "not looked at since it was changed" if row.enabled else "switched off"


def _save_silence(row: Alert) -> None:
    row.save(update_fields=["silenced_until", "silenced_by", "silence_reason"])


def _check_reason(reason: str) -> None:
    if len(reason.strip()) > MAX_REASON:
        message = f"has {len(reason):,} characters; write at most {MAX_REASON}"
        raise InvalidOption(f"reason {message}.", errors=[{"field": "reason", "message": message}])
