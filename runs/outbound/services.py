"""What people do to endpoints: one transaction each, with an audit row that never holds a secret.

Callers check the grant first (`holdfast.access.grants.require`).
"""

from __future__ import annotations

import re
import uuid
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from django.db import transaction

from holdfast.access import seen as seeing
from holdfast.access.grants import Actor
from holdfast.access.selectors import database_now
from holdfast.access.services import audit
from runs import services
from runs.errors import HoldfastError, InvalidOption, WrongState
from runs.outbound import selectors, telling
from runs.outbound.model import Endpoint
from runs.sdk.options import is_word
from runs.states import FINAL, RETRYABLE, Status
from runs.webhooks import vault

#: Seconds that the old secret signs beside a new one: a day to bring it to the receiver.
OVERLAP: Final = 86_400
EVENTS: Final = tuple(sorted(f"run.{status}" for status in FINAL))
#: What may be changed after an endpoint was made, in the words of the audit log.
EDITABLE: Final = ("url", "events", "tasks", "enabled")
MAX_URL: Final = 2_000
MAX_TASKS: Final = 100

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,99}")


class UnknownEndpoint(HoldfastError):
    """No such endpoint."""

    status, code = 404, "unknown_endpoint"


class UnknownDelivery(HoldfastError):
    """No such delivery."""

    status, code = 404, "unknown_delivery"


class EndpointExists(HoldfastError):
    """There is an endpoint of this name already."""

    status, code = 409, "endpoint_exists"


def endpoint_get(name: str, *, lock: bool = False) -> Endpoint:
    """Raises UnknownEndpoint."""
    found = Endpoint.objects.select_for_update() if lock else Endpoint.objects.all()
    row = found.filter(name=name).first() if _NAME.fullmatch(name) else None
    if row is None:
        raise UnknownEndpoint(f"There is no endpoint {name!r:.110}. `manage.py endpoints list` shows them.")
    return row


def endpoint_create(name: str, *, actor: Actor, reason: str = "", **settings: Any) -> tuple[Endpoint, str]:
    """Makes an endpoint. Returns it and its secret, which is not shown again.

    Args:
        settings: url, events (see EVENTS; `*` is all), tasks (none is of all), enabled.

    Raises:
        InvalidOption, EndpointExists.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _fault("name", "must be 1 to 100 of a-z, 0-9 and -, and begin with no dash")
    if "url" not in settings:
        raise _fault("url", "is missing")
    told = vault.fresh()
    row = Endpoint(name=name, secret=vault.close(told))
    _put(row, {"events": ["*"], **settings})
    with transaction.atomic():
        Endpoint.objects.bulk_create([row], ignore_conflicts=True)
        if not Endpoint.objects.filter(name=name, secret=row.secret).exists():
            raise EndpointExists(
                f"There is an endpoint {name!r} already. Choose another name.",
                errors=[{"field": "name", "message": "is in use; choose another"}],
            )
        audit(actor, "webhooks.create_endpoint", "endpoint", name, reason, after=_settings(row))
    return endpoint_get(name), told


def endpoint_update(
    name: str, changes: dict[str, Any], *, actor: Actor, reason: str = "", seen: str | None = None
) -> Endpoint:
    """Changes settings, in force for the runs that end from now on.

    Args:
        seen: the `settings_mark` of what the change was decided on; None: whatever it is now.

    Raises:
        UnknownEndpoint, InvalidOption.
        ChangedMeanwhile: the settings are not those that were seen.
    """
    with transaction.atomic():
        row = endpoint_get(name, lock=True)
        before = _settings(row)
        _put(row, changes)
        row.save(update_fields=[*changes])
        after = _settings(row)
        seeing.changed(seen, "webhooks.update_endpoint", "endpoint", name, before, after, actor=actor, reason=reason)
    return row


def endpoint_rotate(name: str, *, actor: Actor, reason: str = "") -> tuple[Endpoint, str]:
    """A new secret; for a day the old one signs as well. Returns the new one, this once. Raises UnknownEndpoint."""
    told = vault.fresh()
    with transaction.atomic():
        row = endpoint_get(name, lock=True)
        row.old_secret, row.old_until = row.secret, database_now() + timedelta(seconds=OVERLAP)
        row.secret = vault.close(told)
        row.save(update_fields=["secret", "old_secret", "old_until"])
        after = {"old_until": row.old_until}
        audit(actor, "webhooks.rotate_endpoint", "endpoint", name, reason, before={}, after=after)
    return row, told


def endpoint_delete(name: str, *, actor: Actor, reason: str = "") -> None:
    """Deliveries that are on their way end. Raises UnknownEndpoint."""
    with transaction.atomic():
        row = endpoint_get(name, lock=True)
        audit(actor, "webhooks.delete_endpoint", "endpoint", name, reason, before=_settings(row), after={})
        row.delete()


def endpoint_test(name: str, *, actor: Actor, reason: str = "") -> uuid.UUID:
    """Sends `{"type": "test"}`, signed and retried as any. Returns the run that delivers it. Raises UnknownEndpoint."""
    with transaction.atomic():
        row = endpoint_get(name)
        audit(actor, "webhooks.test_endpoint", "endpoint", name, reason, before={}, after={})
        return telling.deliver([(row, telling.trial_body())])[0]


def delivery_resend(name: str, run_id: uuid.UUID, *, actor: Actor, reason: str = "") -> uuid.UUID:
    """Sends a delivery once more. One that has failed goes on, under its `webhook-id`; one that was taken is sent anew
    under another, or the receiver would drop it. Returns the run that delivers it.

    Raises:
        UnknownEndpoint, UnknownDelivery.
        WrongState: it is on its way, or nobody is told, for the endpoint is switched off.
    """
    with transaction.atomic():
        row = endpoint_get(name)
        run = selectors.delivery(row, run_id)
        if run is None:
            raise UnknownDelivery(f"There is no delivery {run_id} to endpoint {name}.")
        if not row.enabled:
            raise WrongState(f"Endpoint {name} is switched off. Switch it on, then send this again.")
        if not selectors.is_for(row, run):
            raise WrongState(
                f"Delivery {run_id} was for an endpoint {name} that was deleted. This one gets none of its news.",
                status=run.status,
            )
        if run.status in RETRYABLE:
            services.run_retry(run_id, actor=actor, reason=reason)
            again = run_id
        elif run.status == Status.COMPLETED:
            again = telling.deliver([(row, run.payload["body"])])[0]
        else:
            raise WrongState(f"Delivery {run_id} is {run.status}: it is on its way already.", status=run.status)
        before, after = {"run": str(run_id), "status": run.status}, {"run": str(again)}
        audit(actor, "webhooks.resend_delivery", "endpoint", name, reason, before=before, after=after)
    return again


def settings_mark(row: Endpoint) -> str:
    """Stands for the settings that a person sees when he changes them."""
    return seeing.mark(_settings(row))


def _settings(row: Endpoint) -> dict[str, Any]:
    return {field: getattr(row, field) for field in EDITABLE}


def _put(row: Endpoint, changes: dict[str, Any]) -> None:
    """Checks each setting and puts it into the row. Raises InvalidOption."""
    for field, value in changes.items():
        if field not in EDITABLE:
            raise _fault(field, f"is no setting; there are {', '.join(EDITABLE)}")
        if field == "url":
            check_url(value)
        elif field == "enabled":
            if not isinstance(value, bool):
                raise _fault(field, "must be true or false")
        elif field == "events":
            _check_events(value)
        elif not _is_list(value) or len(value) > MAX_TASKS or not all(is_word(task, 200) for task in value):
            raise _fault(field, f"must be a list of at most {MAX_TASKS} ids of tasks")
        setattr(row, field, value)


def _check_events(value: Any) -> None:
    if not _is_list(value) or not value:
        raise _fault("events", f"must be a list of {', '.join(EVENTS)}, or ['*']")
    for event in value:
        if event != "*" and event not in EVENTS:
            raise _fault("events", f"has {event!r:.60}; write some of {', '.join(EVENTS)}, or ['*']")


def check_url(value: Any) -> None:
    """Raises InvalidOption unless it is an address to POST to."""
    how = "write one such as https://example.org/hooks"
    if not isinstance(value, str) or not value.isprintable() or " " in value or len(value) > MAX_URL:
        raise _fault("url", f"is no address of at most {MAX_URL:,} characters; {how}")
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise _fault("url", f"is no address of http or https; {how}")
    if parts.username is not None or parts.fragment:
        raise _fault("url", f"has a user or a fragment, which are not sent; the signature says who sends; {how}")


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _fault(field: str, message: str) -> InvalidOption:
    return InvalidOption(f"{field} {message}.", errors=[{"field": field, "message": message}])
