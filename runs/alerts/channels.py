"""What people do to channels, at which alerts arrive: one transaction each, with an audit row that holds no address of
a webhook. Callers check the grant first (`holdfast.access.grants.require`)."""

from __future__ import annotations

import uuid
from typing import Any, Final
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction

from holdfast.access import seen as seeing
from holdfast.access.grants import Actor
from holdfast.access.services import audit
from runs.alerts import delivering
from runs.alerts.choices import ChannelKind
from runs.alerts.model import Channel
from runs.alerts.services import NAME_WORDS, invalid, is_name
from runs.alerts.settings import Fault
from runs.errors import HoldfastError, InvalidOption
from runs.outbound.services import check_url
from runs.sdk.options import is_word
from runs.webhooks import vault

EDITABLE: Final = ("recipients", "url", "enabled")
MAX_RECIPIENTS: Final = 50
MAX_CHANNELS: Final = 200


class UnknownChannel(HoldfastError):
    """There is no channel of this name."""

    status, code = 404, "unknown_channel"


class ChannelExists(HoldfastError):
    """There is a channel of this name already."""

    status, code = 409, "channel_exists"


def channel_get(name: str, *, lock: bool = False) -> Channel:
    """Raises UnknownChannel."""
    found = Channel.objects.select_for_update() if lock else Channel.objects.all()
    row = found.filter(name=name).first() if is_name(name) else None
    if row is None:
        raise UnknownChannel(f"There is no channel {name!r:.110}. `manage.py channels list` shows them.")
    return row


def channel_create(name: Any, kind: Any, *, actor: Actor, reason: str = "", **settings: Any) -> Channel:
    """Makes a channel.

    Args:
        kind: email, slack or json.
        settings: recipients (of e-mail) or url (of the others), enabled.

    Raises:
        InvalidAlert: names every field that does not fit.
        ChannelExists.
    """
    faults = [] if is_name(name) else [("name", NAME_WORDS)]
    if kind not in ChannelKind.values:
        faults.append(("kind", f"is {kind!r:.60}; write one of {', '.join(ChannelKind.values)}"))
    needed = "recipients" if kind == ChannelKind.EMAIL else "url"
    if not settings.get(needed) and kind in ChannelKind.values:
        faults.append((needed, "is missing"))
    row = Channel(name=name, kind=kind)
    if faults := faults or _put(row, settings):
        raise invalid(faults)
    with transaction.atomic():
        if Channel.objects.count() >= MAX_CHANNELS:
            raise invalid([("name", f"would be one more than the {MAX_CHANNELS} channels that there may be")])
        if Channel.objects.filter(name=name).exists() or not _insert(row):
            raise ChannelExists(
                f"There is a channel {name!r} already. Choose another name.",
                errors=[{"field": "name", "message": "is in use; choose another"}],
            )
        audit(actor, "alerts.create_channel", "channel", name, reason, before={}, after=told(row))
    return row


def channel_update(
    name: str, changes: dict[str, Any], *, actor: Actor, reason: str = "", seen: str | None = None
) -> Channel:
    """Changes a channel, in force for what is told from now on and for what is tried again.

    Args:
        seen: the `settings_mark` of what the change was decided on; None: whatever it is now.

    Raises:
        UnknownChannel, InvalidAlert.
        ChangedMeanwhile: the settings are not those that were seen.
    """
    with transaction.atomic():
        row = channel_get(name, lock=True)
        before, old = told(row), row.url
        shown = _shown(row)
        if faults := _put(row, changes):
            raise invalid(faults)
        row.save()
        after = told(row)
        moved = "url" in changes and vault.reveal(row.url) != (vault.reveal(old) if old else "")
        if before != after or moved:
            seeing.check(seen, shown, "channel", name, ("alerts.update_channel",))
            audit(actor, "alerts.update_channel", "channel", name, reason, before=before, after=after)
    return row


def channel_delete(name: str, *, actor: Actor, reason: str = "") -> None:
    """What is on its way to it is given up; alerts that it stood in tell the others. Raises UnknownChannel."""
    with transaction.atomic():
        row = channel_get(name, lock=True)
        audit(actor, "alerts.delete_channel", "channel", name, reason, before=told(row), after={})
        row.delete()


def channel_test(name: str, *, actor: Actor, reason: str = "") -> uuid.UUID:
    """Sends a test that says so, retried as any. Returns the run that delivers it. Raises UnknownChannel."""
    with transaction.atomic():
        row = channel_get(name)
        audit(actor, "alerts.test_channel", "channel", name, reason, before={}, after={})
        return delivering.tell_test(row)


def place(row: Channel) -> str:
    """Where it leads, fit for everybody: whoever knows the whole address of a webhook may write there."""
    if row.kind == ChannelKind.EMAIL:
        return ", ".join(row.recipients)
    try:
        parts = urlsplit(vault.reveal(row.url))
    except vault.SecretUnreadable:
        return "unreadable: it was stored under another secret key"
    return f"{parts.scheme}://{parts.netloc}/…"


def told(row: Channel) -> dict[str, Any]:
    """Its settings, as the audit log has them."""
    return {"kind": row.kind, "to": place(row), "enabled": row.enabled}


def settings_mark(row: Channel) -> str:
    """Stands for the settings that a person sees when he changes them."""
    return seeing.mark(_shown(row))


def _shown(row: Channel) -> dict[str, Any]:
    return {**told(row), "url": row.url}


def _insert(row: Channel) -> bool:
    """False: somebody has made one of this name in the same moment."""
    Channel.objects.bulk_create([row], ignore_conflicts=True)
    stored = Channel.objects.filter(name=row.name, url=row.url, recipients=row.recipients, kind=row.kind).first()
    if stored is not None:
        row.pk, row.created_at = stored.pk, stored.created_at
    return stored is not None


def _put(row: Channel, changes: dict[str, Any]) -> list[Fault]:
    """Puts settings into the row. Returns what does not fit: (field, message)."""
    faults: list[Fault] = []
    for field, value in changes.items():
        if field not in EDITABLE:
            faults.append((field, f"is no setting; there are {', '.join(EDITABLE)}"))
        elif field == "enabled":
            if isinstance(value, bool):
                row.enabled = value
            else:
                faults.append((field, "must be true or false"))
        elif (field == "recipients") != (row.kind == ChannelKind.EMAIL):
            if value:
                faults.append((field, f"is nothing that a channel of kind {row.kind} has"))
        elif field == "recipients":
            faults += _put_recipients(row, value)
        else:
            faults += _put_url(row, value)
    return faults


def _put_recipients(row: Channel, value: Any) -> list[Fault]:
    how = f"must be a list of 1 to {MAX_RECIPIENTS} addresses such as ops@example.org"
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_RECIPIENTS:
        return [("recipients", how)]
    for address in value:
        try:
            if not is_word(address, 254) or not address.isprintable():
                raise ValidationError("")
            validate_email(address)
        except ValidationError:
            return [("recipients", f"has {address!r:.60}, which is no address; {how}")]
    row.recipients = list(dict.fromkeys(value))
    return []


def _put_url(row: Channel, value: Any) -> list[Fault]:
    try:
        check_url(value)
    except InvalidOption as error:
        return [(fault["field"], fault["message"]) for fault in error.data["errors"]]
    row.url = vault.close(value)
    return []
