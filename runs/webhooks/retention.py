"""Old deliveries are dropped by the scheduler."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from holdfast.access.selectors import database_now
from runs.webhooks.model import Delivery

#: Rows that one statement drops, so that none holds its locks for long; the next round takes more.
CHUNK: Final = 5_000


def forget(seconds: float) -> int:
    """Drops at most CHUNK deliveries that came more than so many seconds ago. Returns how many."""
    before = database_now() - timedelta(seconds=seconds)
    old = Delivery.objects.filter(received_at__lt=before).order_by("received_at").values("pk")[:CHUNK]
    dropped, _ = Delivery.objects.filter(pk__in=old).delete()
    return dropped
