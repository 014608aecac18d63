"""What people say of error groups: one transaction each, with an audit row.

Callers check the grant first (`holdfast.access.grants.require`).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from django.db import transaction
from django.db.models import Max, Sum

from holdfast.access.grants import Actor
from holdfast.access.selectors import database_now
from holdfast.access.services import audit
from runs import snoozing
from runs.errorgroups.model import ErrorCount, ErrorGroup
from runs.errorgroups.selectors import UnknownErrorGroup, is_print
from runs.errors import WrongState
from runs.models import Task
from runs.snoozing import fault

#: How many failed tries a snooze may last.
MAX_TRIES: Final = 1_000_000_000
#: Versions of a group that a resolution remembers, the latest.
MAX_VERSIONS: Final = 200

_SAID: Final = ("resolved_at", "resolved_in", "snoozed_at", "snoozed_until", "snoozed_for")


def error_resolve(fingerprint: str, *, actor: Actor, reason: str = "") -> ErrorGroup:
    """It is resolved in the versions that its tasks have now. Versions in which it was seen until now may go on with
    it; any other that meets it makes it regressed. Raises UnknownErrorGroup."""
    with transaction.atomic():
        row = _locked(fingerprint)
        before = _said(row)
        versions = Task.objects.filter(id__in=row.tasks).exclude(version="").values_list("version", flat=True)
        seen = ErrorCount.objects.filter(fingerprint=row.pk).values("version").annotate(last=Max("hour"))
        _clear(row)
        row.resolved_at, row.resolved_by = database_now(), actor.label[:200]
        row.resolved_in = sorted(set(versions))
        row.resolved_seen = [found["version"] for found in seen.order_by("-last")[:MAX_VERSIONS]]
        return _saved(row, "errors.resolve", actor, reason, before)


def error_reopen(fingerprint: str, *, actor: Actor, reason: str = "") -> ErrorGroup:
    """It is neither resolved nor snoozed any more. Raises UnknownErrorGroup, WrongState."""
    with transaction.atomic():
        row = _locked(fingerprint)
        if row.resolved_at is None and row.snoozed_at is None:
            raise WrongState(f"Error {fingerprint} is neither resolved nor snoozed: there is nothing to reopen.")
        before = _said(row)
        _clear(row)
        return _saved(row, "errors.reopen", actor, reason, before)


def error_snooze(
    fingerprint: str, *, duration: str | None = None, tries: Any = None, actor: Actor, reason: str = ""
) -> ErrorGroup:
    """It is quiet until what comes first: so much time is over, or it has failed so often again.

    Args:
        duration: `4h`, `1d12h`, at most snoozing.MAX_SNOOZE.
        tries: how many failed tries, 1 to MAX_TRIES.

    Raises:
        UnknownErrorGroup, InvalidOption.
    """
    span, most = snoozing.span(duration) if duration else None, _tries(tries)
    if span is None and most is None:
        raise fault("duration", "is missing, and so is tries; write one of them, such as 1d or 100")
    with transaction.atomic():
        row = _locked(fingerprint)
        before, now = _said(row), database_now()
        _clear(row)
        row.snoozed_at, row.snoozed_by = now, actor.label[:200]
        row.snoozed_until, row.snoozed_for = now + span if span else None, most
        row.snoozed_base = _tries_since(row.pk, now.replace(minute=0, second=0, microsecond=0))
        return _saved(row, "errors.snooze", actor, reason, before)


def _locked(fingerprint: str) -> ErrorGroup:
    row = ErrorGroup.objects.select_for_update().filter(pk=fingerprint).first() if is_print(fingerprint) else None
    if row is None:
        raise UnknownErrorGroup(f"There is no error {fingerprint!r:.80}. `manage.py errors list` shows them.")
    return row


def _clear(row: ErrorGroup) -> None:
    row.resolved_at, row.resolved_by, row.resolved_in, row.resolved_seen = None, "", [], []
    row.snoozed_at, row.snoozed_by, row.snoozed_until, row.snoozed_for, row.snoozed_base = None, "", None, None, 0


def _saved(row: ErrorGroup, action: str, actor: Actor, reason: str, before: dict[str, Any]) -> ErrorGroup:
    row.reason = reason
    row.save(update_fields=[*_SAID, "resolved_by", "resolved_seen", "snoozed_by", "snoozed_base", "reason"])
    audit(actor, action, "error", row.pk, reason, before=before, after=_said(row))
    return row


def _said(row: ErrorGroup) -> dict[str, Any]:
    return {name: getattr(row, name) for name in _SAID}


def _tries_since(fingerprint: str, hour: datetime) -> int:
    found = ErrorCount.objects.filter(fingerprint=fingerprint, hour__gte=hour).aggregate(n=Sum("count"))
    return found["n"] or 0


def _tries(number: Any) -> int | None:
    if number is None or number == "":
        return None
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= MAX_TRIES:
        raise fault("tries", f"is {number!r:.60}; write a whole number from 1 to {MAX_TRIES:,}")
    return number
