"""What pages and API read of webhooks: lists by keyset, and counts of what came lately that are bounded."""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db.models import OuterRef, Subquery

from holdfast.access.selectors import database_now
from runs.filters import DEFAULT_LIMIT
from runs.selectors import Page, page_of
from runs.webhooks import vault
from runs.webhooks.model import Delivery, Webhook

MAX_WEBHOOKS: Final = 1_000
#: What the list calls lately, and how many deliveries of all webhooks it looks at for that.
LATELY: Final = timedelta(hours=24)
MAX_LATELY: Final = 5_000


@dataclass(frozen=True, slots=True)
class Row:
    """A webhook in the list."""

    webhook: Webhook
    came: int  # lately
    refused: int  # of these, no run came of them
    last_at: datetime | None
    rotating: bool  # the secret before is valid as well


def webhooks() -> tuple[list[Row], bool]:
    """Webhooks by name; True when more came lately than is counted."""
    last = Delivery.objects.filter(webhook=OuterRef("pk")).order_by("-id").values("received_at")[:1]
    rows = Webhook.objects.annotate(last_at=Subquery(last)).order_by("name")[:MAX_WEBHOOKS]
    now = database_now()
    lately = Delivery.objects.filter(received_at__gte=now - LATELY).order_by("-received_at")
    pairs = list(lately.values_list("webhook_id", "outcome")[: MAX_LATELY + 1])
    came, refused = Counter(w for w, _ in pairs), Counter(w for w, outcome in pairs if outcome == "refused")
    found = [Row(row, came[row.pk], refused[row.pk], row.last_at, vault.rotating(row.old_until, now)) for row in rows]
    return found, len(pairs) > MAX_LATELY


def deliveries(
    webhook: Webhook, *, cursor: uuid.UUID | None = None, limit: int = DEFAULT_LIMIT, bodies: bool = True
) -> Page[Delivery, uuid.UUID]:
    """What came to it, the latest first; `cursor` is the last page's `next`. Without bodies, they are not read."""
    found = Delivery.objects.filter(webhook=webhook).order_by("-id")
    found = found if bodies else found.defer("body", "headers", "query")
    found = found.filter(id__lt=cursor) if cursor else found
    return page_of(found, limit)
