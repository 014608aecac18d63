"""What people do to webhooks: one transaction each, with an audit row that never holds a secret.

Callers check the grant first (`holdfast.access.grants.require`).
"""

from __future__ import annotations

import re
import uuid
from datetime import timedelta
from typing import Any, Final

from django.db import transaction

from holdfast.access import seen as seeing
from holdfast.access.grants import Actor
from holdfast.access.selectors import database_now
from holdfast.access.services import audit
from runs import services
from runs.errors import HoldfastError, InvalidOption, UnknownTask
from runs.webhooks import inbound, mapping, schemes, vault
from runs.webhooks.model import Delivery, Webhook

#: Seconds that the old secret stays valid when a new one comes: a day to bring it to the sender.
OVERLAP: Final = 86_400
MAX_OVERLAP: Final = 30 * 86_400
MAX_WINDOW: Final = 86_400
MAX_BODY: Final = 1_048_576

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,99}")
#: What may be changed after a webhook was made, in the words of the audit log.
EDITABLE: Final = ("task_id", "window", "body_limit", "filter", "mapping", "enabled")


class UnknownWebhook(HoldfastError):
    """No such webhook."""

    status, code = 404, "unknown_webhook"


class UnknownDelivery(HoldfastError):
    """No such delivery."""

    status, code = 404, "unknown_delivery"


class WebhookExists(HoldfastError):
    """There is a webhook of this name already."""

    status, code = 409, "webhook_exists"


def webhook_get(name: str, *, lock: bool = False) -> Webhook:
    """Raises UnknownWebhook."""
    found = Webhook.objects.select_for_update() if lock else Webhook.objects.all()
    row = found.filter(name=name).first() if _NAME.fullmatch(name) else None
    if row is None:
        raise UnknownWebhook(f"There is no webhook {name!r:.110}. `manage.py webhooks list` shows them.")
    return row


def webhook_create(
    name: str,
    task_id: str,
    *,
    scheme: str,
    secret: str | None = None,
    actor: Actor,
    reason: str = "",
    **settings: Any,
) -> tuple[Webhook, str]:
    """Makes a webhook. Returns it and its secret, which is not shown again.

    Args:
        secret: the one that the sender gave (Stripe makes its own); None has one made.
        settings: window (seconds), body_limit (bytes), filter, mapping; see EDITABLE.

    Raises:
        InvalidOption, UnknownTask, WebhookExists.
    """
    if not _NAME.fullmatch(name):
        raise _fault("name", "must be 1 to 100 of a-z, 0-9 and -, and begin with no dash")
    if scheme not in schemes.SCHEMES:
        raise _fault("scheme", f"is {scheme!r:.40}; choose one of {', '.join(schemes.SCHEMES)}")
    told = vault.fresh() if secret is None else secret
    if message := schemes.secret_fault(scheme, told):
        raise _fault("secret", message)
    row = Webhook(name=name, task_id=task_id, scheme=scheme, secret=vault.close(told))
    _put(row, {"task_id": task_id, **settings})
    with transaction.atomic():
        Webhook.objects.bulk_create([row], ignore_conflicts=True)
        if not Webhook.objects.filter(name=name, secret=row.secret).exists():
            raise WebhookExists(
                f"There is a webhook {name!r} already. Choose another name.",
                errors=[{"field": "name", "message": "is in use; choose another"}],
            )
        audit(actor, "webhooks.create", "webhook", name, reason, after={"scheme": scheme, **_settings(row)})
    return webhook_get(name), told


def webhook_update(
    name: str, changes: dict[str, Any], *, actor: Actor, reason: str = "", seen: str | None = None
) -> Webhook:
    """Changes settings, in force with the next request.

    Args:
        seen: the `settings_mark` of what the change was decided on; None: whatever it is now.

    Raises:
        UnknownWebhook, UnknownTask, InvalidOption.
        ChangedMeanwhile: the settings are not those that were seen.
    """
    with transaction.atomic():
        row = webhook_get(name, lock=True)
        before = _settings(row)
        _put(row, changes)
        row.save(update_fields=[*changes])
        seeing.changed(seen, "webhooks.update", "webhook", name, before, _settings(row), actor=actor, reason=reason)
    return row


def webhook_rotate(
    name: str, *, secret: str | None = None, overlap: int = OVERLAP, actor: Actor, reason: str = ""
) -> tuple[Webhook, str]:
    """A new secret, valid at once; the old one stays valid for `overlap` seconds. Returns the new one, this once."""
    if isinstance(overlap, bool) or not isinstance(overlap, int) or not 0 <= overlap <= MAX_OVERLAP:
        raise _fault("overlap", f"must be 0 to {MAX_OVERLAP:,} whole seconds; 0 ends the old secret at once")
    told = vault.fresh() if secret is None else secret
    with transaction.atomic():
        row = webhook_get(name, lock=True)
        if message := schemes.secret_fault(row.scheme, told):
            raise _fault("secret", message)
        row.old_secret = row.secret if overlap else ""
        row.old_until = database_now() + timedelta(seconds=overlap) if overlap else None
        row.secret = vault.close(told)
        row.save(update_fields=["secret", "old_secret", "old_until"])
        audit(actor, "webhooks.rotate", "webhook", name, reason, before={}, after={"old_until": row.old_until})
    return row, told


def webhook_delete(name: str, *, actor: Actor, reason: str = "") -> None:
    """The address is gone, and what came to it; the runs that it started stay. Raises UnknownWebhook."""
    with transaction.atomic():
        row = webhook_get(name, lock=True)
        before = {"scheme": row.scheme, **_settings(row)}
        audit(actor, "webhooks.delete", "webhook", name, reason, before=before, after={})
        row.delete()


def delivery_resend(delivery_id: uuid.UUID, *, actor: Actor, reason: str = "") -> Delivery:
    """Puts a stored delivery through filter and mapping once more, as they are now. One that was accepted starts a
    second run: a person asked for it. If none comes of it this time, it stays accepted, with the run that it started.

    Returns the delivery with what came of it this time. Raises UnknownDelivery.
    """
    with transaction.atomic():
        row = Delivery.objects.select_for_update(of=("self",)).select_related("webhook").filter(pk=delivery_id).first()
        if row is None:
            raise UnknownDelivery(f"There is no delivery {delivery_id}; old ones are dropped.")
        before = {"outcome": row.outcome, "run_id": row.run_id}
        row.resent += 1
        inbound.judge(row)
        stays = before["outcome"] == "accepted" and row.outcome != "accepted"
        row.save(update_fields=["resent"] if stays else ["resent", *inbound.SETTLED])
        after = {"outcome": row.outcome, "run_id": row.run_id, "delivery": str(row.pk)}
        audit(actor, "webhooks.resend", "webhook", row.webhook.name, reason, before=before, after=after)
    return row


def settings_mark(row: Webhook) -> str:
    """Stands for the settings that a person sees when he changes them."""
    return seeing.mark(_settings(row))


def _settings(row: Webhook) -> dict[str, Any]:
    return {field: getattr(row, field) for field in EDITABLE}


def _put(row: Webhook, changes: dict[str, Any]) -> None:
    """Checks each setting and puts it into the row. Raises InvalidOption, UnknownTask."""
    for field, value in changes.items():
        if field not in EDITABLE:
            raise _fault(field, f"is no setting; there are {', '.join(EDITABLE)}")
        if field == "task_id":
            _check_task(value)
        elif field in ("window", "body_limit"):
            most = MAX_WINDOW if field == "window" else MAX_BODY
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
                raise _fault(field, f"must be a whole number from 1 to {most:,}")
        elif field == "enabled":
            if not isinstance(value, bool):
                raise _fault(field, "must be true or false")
        elif not isinstance(value, str):
            raise _fault(field, "must be text")
        else:
            mapping.check(field, value)
        setattr(row, field, value)


def _check_task(task_id: Any) -> None:
    if not isinstance(task_id, str):
        raise _fault("task", "must be the id of a task, as text")
    try:
        services.task_get(task_id)
    except UnknownTask as error:
        raise UnknownTask(str(error), **error.data, errors=[{"field": "task_id", "message": "names no task"}]) from None


def _fault(field: str, message: str) -> InvalidOption:
    return InvalidOption(f"{field} {message}.", errors=[{"field": field, "message": message}])
