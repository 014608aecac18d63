"""How senders sign what they send. Pure: bytes in, the delivery's id out, or a refusal.

Every scheme is HMAC-SHA256 over the raw body, compared in constant time, before anything of the body is parsed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from runs.errors import HoldfastError

STANDARD, GITHUB, STRIPE = "standard", "github", "stripe"

#: The prefix of secrets in Standard Webhooks: base64 follows, and its bytes are the key.
PREFIX: Final = "whsec_"
#: Signatures of one request that are looked at: a sender that rotates its secrets sends two.
MOST: Final = 8
MAX_ID: Final = 200

_ID: Final = re.compile(r"[\x21-\x7e]{1,200}")
_SECONDS: Final = re.compile(r"[0-9]{1,12}")


class SignatureRefused(HoldfastError):
    """The request is not signed by anybody who knows the webhook's secret, or not now."""

    status, code = 401, "signature_refused"


def standard(headers: Mapping[str, str], body: bytes, secrets: Iterable[str], now: float, window: float) -> str | None:
    """Standard Webhooks: `webhook-signature: v1,<base64>` over id.timestamp.body, from `webhook-id`, `-timestamp`."""
    remote = _delivery_id(headers, "webhook-id")
    sent = _fresh(headers.get("webhook-timestamp", ""), "webhook-timestamp", now, window)
    entries = [entry.partition(",") for entry in headers.get("webhook-signature", "").split(" ")[:MOST]]
    given = [signature for version, _, signature in entries if version == "v1"]
    signed = b".".join((remote.encode(), sent.encode(), body))
    _match(given, [base64.b64encode(_mac(_standard_key(s), signed)).decode() for s in secrets], "webhook-signature")
    return remote


def github(headers: Mapping[str, str], body: bytes, secrets: Iterable[str], now: float, window: float) -> str | None:
    """GitHub: `X-Hub-Signature-256: sha256=<hex>` over the body. There is no time in it, and the id is not signed."""
    del now, window
    scheme, _, given = headers.get("x-hub-signature-256", "").partition("=")
    _match(
        [given] if scheme == "sha256" else [], [_mac(s.encode(), body).hex() for s in secrets], "x-hub-signature-256"
    )
    return _delivery_id(headers, "x-github-delivery")


def stripe(headers: Mapping[str, str], body: bytes, secrets: Iterable[str], now: float, window: float) -> str | None:
    """Stripe: `Stripe-Signature: t=<seconds>,v1=<hex>` over t.body. The delivery's id is the event's, in the body."""
    pairs = [part.strip().partition("=") for part in headers.get("stripe-signature", "").split(",")[: MOST + 1]]
    times = [value for name, _, value in pairs if name == "t"]
    sent = _fresh(times[0] if len(times) == 1 else "", "stripe-signature", now, window)
    given = [value for name, _, value in pairs if name == "v1"]
    signed = b".".join((sent.encode(), body))
    _match(given, [_mac(s.encode(), signed).hex() for s in secrets], "stripe-signature")
    return None


Verify = Callable[[Mapping[str, str], bytes, Iterable[str], float, float], "str | None"]

#: By name: checks a request, and returns its delivery's id, or None when that stands in the body. Headers are
#: lower-cased; `now` and `window` are seconds. Raises SignatureRefused.
SCHEMES: Final[dict[str, Verify]] = {STANDARD: standard, GITHUB: github, STRIPE: stripe}


def secret_fault(scheme: str, secret: str) -> str | None:
    """Why a secret cannot be one of the scheme; None when it can."""
    if not 16 <= len(secret) <= 200 or not secret.isascii() or not secret.isprintable():
        return "must be 16 to 200 printable ASCII characters"
    if scheme == STANDARD:
        try:
            key = _standard_key(secret)
        except ValueError:
            return f"must be {PREFIX} and base64, as Standard Webhooks has it"
        if not 16 <= len(key) <= 64:
            return f"must be {PREFIX} and the base64 of 16 to 64 bytes"
    return None


def sign(secret: str, remote_id: str, sent: int, body: bytes) -> dict[str, str]:
    """The headers of a request signed by Standard Webhooks; `sent` is in seconds since 1970."""
    mac = _mac(_standard_key(secret), b".".join((remote_id.encode(), str(sent).encode(), body)))
    return {
        "webhook-id": remote_id,
        "webhook-timestamp": str(sent),
        "webhook-signature": f"v1,{base64.b64encode(mac).decode()}",
    }


def _mac(key: bytes, signed: bytes) -> bytes:
    return hmac.new(key, signed, hashlib.sha256).digest()


def _standard_key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError("no base64") from error


def _match(given: Iterable[str], expected: Iterable[str], header: str) -> None:
    """Compares every pair, so that the time tells nothing. Raises SignatureRefused."""
    wanted = [value.encode() for value in expected]
    found = [hmac.compare_digest(g.encode("utf-8", "replace"), w) for g in given for w in wanted]
    if not any(found):
        raise _refusal(header, "is missing or is no signature of this body by a secret of the webhook")


def _delivery_id(headers: Mapping[str, str], header: str) -> str:
    value = headers.get(header, "")
    if not _ID.fullmatch(value):
        raise _refusal(header, f"must be the delivery's id: 1 to {MAX_ID} printable ASCII characters")
    return value


def _fresh(text: str, header: str, now: float, window: float) -> str:
    if not _SECONDS.fullmatch(text):
        raise _refusal(header, "must hold the time of sending, in whole seconds since 1970")
    if abs(now - int(text)) > window:
        raise _refusal(header, f"has a time that is more than {window:g} s from now. Send it anew; check both clocks")
    return text


def _refusal(header: str, message: str) -> SignatureRefused:
    return SignatureRefused(f"{header} {message}.", errors=[{"field": header, "message": message}])
