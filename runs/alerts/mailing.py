"""News as e-mail: one message to all recipients, and each of them has it once, also where the server takes it for some
and not for others."""

from __future__ import annotations

import smtplib
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.core.mail.backends.smtp import EmailBackend
from django.core.mail.message import sanitize_address

from runs.outbound.sending import DeliveryFailed
from runs.sdk.retry import Abort
from runs.sdk.step import step

#: Characters of a server's answer that are kept.
MAX_SAID: Final = 500


async def mail(recipients: list[str], news: dict[str, Any], delivery_id: str) -> dict[str, Any]:
    """Sends news to all. Who has it is a step, so what is tried again goes to the others alone.

    Raises:
        DeliveryFailed: the server is away, or refuses somebody; it is tried again.
        Abort: no mail server is known.
    """
    if not settings.HOLDFAST_MAILS:
        raise Abort("No mail server is known. Set HOLDFAST_EMAIL_URL for the workers, then send this again.")
    left = recipients
    while left:
        left = await _hand_over(left, recipients, news, delivery_id)
    return {"recipients": len(recipients)}


@step(name="mail")
async def _hand_over(left: list[str], recipients: list[str], news: dict[str, Any], delivery_id: str) -> list[str]:
    """Returns who was refused while others were not. Raises DeliveryFailed: nobody has it."""
    return await sync_to_async(_send, thread_sensitive=False)(left, recipients, news, delivery_id)


def _send(left: list[str], recipients: list[str], news: dict[str, Any], delivery_id: str) -> list[str]:
    """Every try has the same Message-ID: a mailbox that was given the message twice can tell."""
    domain = settings.DEFAULT_FROM_EMAIL.rpartition("@")[2].rstrip(">") or "holdfast"
    headers = {"Message-ID": f"<{delivery_id}@{domain}>", "To": ", ".join(recipients)}
    message = EmailMessage(news["subject"], news["text"], to=left, headers=headers)
    try:
        return list(_refused(message))
    except (OSError, smtplib.SMTPException) as error:
        raise DeliveryFailed(f"the mail server did not take it: {_said(error)}") from None


def _refused(message: EmailMessage) -> list[str]:
    """Sends a message. Returns its recipients that the server refused while it took others: Django's own way of sending
    does not say."""
    with get_connection() as connection:
        if not isinstance(connection, EmailBackend) or connection.connection is None:
            connection.send_messages([message])  # to the console
            return []
        encoding = settings.DEFAULT_CHARSET
        addresses = {sanitize_address(address, encoding): address for address in message.to}
        content = message.message().as_bytes(linesep="\r\n")  # type: ignore[call-arg]  # Django's own; its stubs lag
        sender = sanitize_address(message.from_email, encoding)
        refused = connection.connection.sendmail(sender, list(addresses), content)
    return [addresses[address] for address in refused]


def _said(error: Exception) -> str:
    """What the server said, in its own words, and to whom."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        text = "; ".join(f"{address} is refused: {_answer(*answer)}" for address, answer in error.recipients.items())
    elif isinstance(error, smtplib.SMTPResponseException):
        text = f"{type(error).__name__} {_answer(error.smtp_code, error.smtp_error)}"
    else:
        text = f"{type(error).__name__} {error}"
    return " ".join(text.split())[:MAX_SAID]


def _answer(code: int, text: bytes | str) -> str:
    return f"{code} {text.decode(errors='replace') if isinstance(text, bytes) else text}"
