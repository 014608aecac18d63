"""Tokens that let whoever holds them read streams of one run for a while: for pages of people without an account here.

A token is signed with the installation's secret key and stored nowhere. It says which run, which stream (or any of the
run's), and how long it holds.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from django.core import signing

from runs.errors import InvalidOption, StreamMisuse, StreamTokenRefused
from runs.sdk.stream import NAME

#: Seconds that a token holds unless told otherwise, and at most.
DEFAULT_TTL, MAX_TTL = 3600.0, 30 * 86_400.0
LONGEST: Final = 1_000
_SALT: Final = "holdfast.stream"


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token lets its holder read. `stream` None: any of the run's."""

    run_id: uuid.UUID
    stream: str | None


def issue(run_id: uuid.UUID, stream: str | None = None, ttl: float | timedelta = DEFAULT_TTL) -> str:
    """A token for one run.

    Args:
        stream: The one stream that it lets its holder read; None is any of the run's.
        ttl: Seconds that it holds.
    """
    if stream is not None and not NAME.fullmatch(stream):
        raise StreamMisuse(f"{stream!r:.120} is no name of a stream; write the name that the task sends to.")
    seconds = ttl.total_seconds() if isinstance(ttl, timedelta) else ttl
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= MAX_TTL:
        message = f"must be more than 0 and at most {MAX_TTL:,.0f} seconds"
        raise InvalidOption(f"ttl {message}.", errors=[{"field": "ttl", "message": message}])
    return str(_signer().sign_object([run_id.hex, stream, seconds]))


def check(token: str) -> Grant:
    """What the token grants now.

    Raises:
        StreamTokenRefused: it is none of ours, was changed, or has expired. Which of them is nobody's business.
    """
    if len(token) > LONGEST:
        raise StreamTokenRefused
    signer = _signer()
    try:
        run, stream, ttl = signer.unsign_object(token)
        signer.unsign(token, max_age=ttl)
        return Grant(uuid.UUID(hex=run), stream)
    except (signing.BadSignature, ValueError, TypeError):
        raise StreamTokenRefused from None


def _signer() -> Any:
    return signing.TimestampSigner(salt=_SALT)
