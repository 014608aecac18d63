"""Telling of alerts: a run of `holdfast.alert` for each channel, with retries, and what that run does."""

from __future__ import annotations

import json
import uuid
from datetime import datetime
from typing import Any, Final

from django.conf import settings
from pydantic_core import to_json

from holdfast.access.selectors import database_now
from holdfast.words import printable
from runs import enqueue
from runs.alerts import words
from runs.alerts.choices import ChannelKind
from runs.alerts.links import page_of
from runs.alerts.mailing import mail
from runs.alerts.model import Alert, Channel, Firing
from runs.errors import HoldfastError
from runs.outbound.sending import Unwanted, asked, send
from runs.sdk.options import Options
from runs.webhooks import vault

#: The task that delivers.
DELIVERS: Final = "holdfast.alert"
FIRING, RESOLVED, TEST = "alert.firing", "alert.resolved", "test"
#: Seconds for which it is known that a firing was told.
REMEMBERED: Final = 366 * 86_400.0
#: Characters of a subject.
MAX_SUBJECT: Final = 200


def alert_tag(name: str) -> str:
    """By which an alert's deliveries are found."""
    return f"alert:{name}"


def channel_tag(name: str) -> str:
    """By which a channel's deliveries are found."""
    return f"channel:{name}"


def tell(rule: Alert, firing: Firing, event: str) -> int:
    """Enqueues the news for each channel of the rule that is on, in the caller's transaction. Returns how many."""
    news = news_of(rule, firing, event)
    channels = list(rule.channels.filter(enabled=True))
    _enqueue(
        [
            (
                channel,
                news,
                Options(
                    tags=[alert_tag(rule.name), channel_tag(channel.name)],
                    concurrency_key=channel_tag(channel.name),
                    idempotency_key=f"alert:{firing.pk}:{event}:{channel.pk}",
                    idempotency_ttl=REMEMBERED,
                ),
            )
            for channel in channels
        ]
    )
    return len(channels)


def tell_test(channel: Channel) -> uuid.UUID:
    """Enqueues a test, in the caller's transaction. Returns the run that delivers it."""
    text = f"A test of channel {channel.name}. Nothing is wrong."
    tag = channel_tag(channel.name)
    news = {"type": TEST, "timestamp": _text(database_now()), "subject": "[test] Holdfast", "text": text}
    return _enqueue([(channel, news, Options(tags=[tag], concurrency_key=tag))])[0]


def _enqueue(told: list[tuple[Channel, dict[str, Any], Options]]) -> list[uuid.UUID]:
    from runs.tasks import alert

    items = [
        enqueue.Item(json.dumps({"channel": channel.name, "channel_id": channel.pk, "news": news}), options)
        for channel, news, options in told
    ]
    ids = []
    for found in enqueue.enqueue_items(alert, items) if items else ():
        if isinstance(found, HoldfastError):
            raise found
        ids.append(found.id)
    return ids


def news_of(rule: Alert, firing: Firing, event: str) -> dict[str, Any]:
    """What is told. It is made when it happens: a try hours later says the same."""
    over = event == RESOLVED
    base = settings.HOLDFAST_PUBLIC_URL or ""
    page = base + page_of(rule.name)
    word = "resolved" if over else "firing"
    first = _line(f"{rule.name}: {words.condition(rule)}" if over else f"{rule.name}: {firing.summary}")
    lines = [first, f"since {_minute(firing.since)}" + (f" until {_minute(firing.until)}" if over else "")]
    if over:
        lines += [f"over because: {firing.get_ended_display()}", f"at its peak: {words.shown(rule, firing.peak)}"]
    lines += [f"alert: {page}", f"examples: {base}{firing.link}"]
    if not base:
        lines.append("These begin with the address of your Holdfast. Set HOLDFAST_PUBLIC_URL to have links here.")
    return {
        "type": event,
        "timestamp": _text(database_now()),
        "subject": f"[{word}] {first}"[:MAX_SUBJECT],
        "text": "\n".join(lines),
        "data": {
            "alert": rule.name,
            "firing": firing.pk,
            "kind": rule.kind,
            "condition": words.condition(rule),
            "summary": firing.summary,
            "threshold": firing.threshold,
            "value": firing.value,
            "peak": firing.peak,
            "since": _text(firing.since),
            "until": _text(firing.until),
            "ended": firing.ended,
            "url": page,
            "examples": f"{base}{firing.link}",
        },
    }


# ── what the run does ────────────────────────────────────────────────────────────────────────────────────────────────


async def deliver(channel: str, channel_id: int, news: dict[str, Any], delivery_id: str) -> dict[str, Any]:
    """Sends news to a channel.

    Raises:
        DeliveryFailed: it was not taken; it is tried again.
        Unwanted: the channel was switched off, or deleted.
        Abort: no mail server is known.
    """
    kind, recipients, url = await asked(_target, channel, channel_id)
    if kind == ChannelKind.EMAIL:
        return await mail(recipients, news, delivery_id)
    body = {"text": _plain(f"{news['subject']}\n{news['text']}")} if kind == ChannelKind.SLACK else news
    headers = {
        "content-type": "application/json",
        "user-agent": "Holdfast",
        "accept-encoding": "identity",
        "webhook-id": delivery_id,
    }
    return await send(url, to_json(body), headers)


def _target(name: str, channel_id: int) -> tuple[str, list[str], str]:
    """What a channel is. Another one that was given the name of a deleted one gets none of its news."""
    row = Channel.objects.filter(name=name, pk=channel_id).first()
    if row is None or not row.enabled:
        raise Unwanted(f"Channel {name} {'is switched off' if row else 'was deleted'}; this is not delivered.")
    return row.kind, row.recipients, vault.reveal(row.url) if row.url else ""


def _plain(text: str) -> str:
    """Text that Slack shows as it is: between < and > it would be a link, or a call of everybody in the channel."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _line(text: str) -> str:
    """As one line: a name must not write another one, nor a header."""
    return " ".join(printable(text).split())


def _minute(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC" if at else ""


def _text(at: datetime | None) -> str | None:
    """A time as RFC 3339."""
    return None if at is None else str(json.loads(to_json(at)))
