"""A request from outside becomes a run: verified, stored and enqueued in one transaction, once for each delivery."""

from __future__ import annotations

import hashlib
import threading
import time
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from django.db import connection, transaction
from django.db.models import F

from holdfast.access.grants import Actor
from holdfast.access.selectors import database_now
from runs import jsonvalue, services
from runs.errors import HoldfastError
from runs.webhooks import mapping, schemes, vault
from runs.webhooks.model import Delivery, Webhook

#: Seconds between two writes of a webhook's count of refused requests: whoever floods it drives no writes.
TALLY_EVERY: Final = 1.0
#: What `judge` sets.
SETTLED: Final = ("outcome", "reason", "errors", "run_id")


class Tally:
    """Counts refused requests of this process, and gives them out at most once in TALLY_EVERY for each webhook."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[int, tuple[int, float]] = {}  # webhooks that exist, so it is bounded by them

    def add(self, webhook: int, now: float) -> int:
        """How many are to be written now; 0 while it is too early. `now` is in monotonic seconds."""
        with self._lock:
            count, last = self._open.get(webhook, (0, -TALLY_EVERY))
            due = now - last >= TALLY_EVERY
            self._open[webhook] = (0, now) if due else (count + 1, last)
            return count + 1 if due else 0


_tally: Final = Tally()


def receive(
    webhook: Webhook, headers: Mapping[str, str], query: Mapping[str, str], body: bytes
) -> tuple[Delivery, bool]:
    """Takes one request. Returns its delivery, and False for one that had come before and was settled then.

    Args:
        headers: lower-cased, as they came.
        body: as it came; its length was checked.

    Raises:
        SignatureRefused: nobody who knows the secret sent it, or not now. Nothing of it is stored; it is counted.
        InvalidJson, InvalidPayload: it is signed, and is no JSON that can be stored.
        SecretUnreadable.
    """
    try:
        verify = schemes.SCHEMES[webhook.scheme]
        now = database_now()
        remote = verify(headers, body, _secrets(webhook, now), now.timestamp(), webhook.window)
    except schemes.SignatureRefused as error:
        if count := _tally.add(webhook.pk, time.monotonic()):
            _count(webhook, count, str(error))
        raise
    value = jsonvalue.parse(body)
    remote = remote or _id_in(value, body)
    with transaction.atomic():
        delivery_id, now = _id_and_time()
        fresh = Delivery(
            id=delivery_id,
            webhook=webhook,
            remote_id=remote,
            received_at=now,
            headers=mapping.public(headers),
            query=mapping.public(query),
            body=value,
            outcome="refused",
        )
        # Of many at once, one inserts; the others wait here until it has committed, and then find its row.
        Delivery.objects.bulk_create([fresh], ignore_conflicts=True)
        row = Delivery.objects.select_for_update(of=("self",)).get(webhook=webhook, remote_id=remote)
        row.webhook = webhook
        if row.pk != delivery_id and row.outcome != "refused":
            return row, False
        settle(row)
    return row, True


def settle(row: Delivery) -> None:
    """Filter, mapping, run: what comes of a stored delivery, and stays in its row, in the caller's transaction."""
    judge(row)
    row.save(update_fields=SETTLED)


def judge(row: Delivery) -> None:
    """What comes of it now, with its run, told by the row that is not saved."""
    row.reason, row.errors, row.run_id = "", [], None
    seen = mapping.context(row.body, row.headers, row.query)
    try:
        with transaction.atomic():  # a refusal takes nothing of the run with it
            if mapping.passes(row.webhook.filter, seen):
                made = mapping.payload(row.webhook.mapping, seen)
                jsonvalue.check(made)
                row.run_id, _ = services.task_enqueue(row.webhook.task_id, made, {}, actor=Actor.system("webhooks"))
                row.outcome = "accepted"
            else:
                row.outcome = "filtered"
    except HoldfastError as error:
        row.outcome, row.run_id, row.reason = "refused", None, str(error)[:1_000]
        row.errors = list(error.data.get("errors") or ())


def _secrets(webhook: Webhook, now: datetime) -> list[str]:
    """The valid ones: the new, and the old while its time lasts."""
    found = [webhook.secret]
    if webhook.old_secret and vault.rotating(webhook.old_until, now):
        found.append(webhook.old_secret)
    return [vault.reveal(stored) for stored in found]


def _id_in(value: Any, body: bytes) -> str:
    """The event's id in the body, or else the body's digest: the same bytes are the same event."""
    found = value.get("id") if isinstance(value, dict) else None
    if isinstance(found, str) and 1 <= len(found) <= schemes.MAX_ID:
        return found
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def _count(webhook: Webhook, count: int, reason: str) -> None:
    now = _id_and_time()[1]
    Webhook.objects.filter(pk=webhook.pk).update(
        refused_count=F("refused_count") + count, refused_at=now, refused_reason=reason[:300]
    )


def _id_and_time() -> tuple[uuid.UUID, datetime]:
    """A new id in the order of arrival, and the database's clock."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT uuidv7(), statement_timestamp()")
        found: tuple[uuid.UUID, datetime] = cursor.fetchone()
    return found
