"""Addresses by which somebody without an account answers one wait: the wait's id, signed."""

from __future__ import annotations

import uuid
from typing import Final

from django.conf import settings
from django.core import signing

from runs.errors import InvalidLink

_SALT: Final = "holdfast.waits"


def sign(wait_id: uuid.UUID) -> str:
    """The id with a signature; it holds for as long as the wait is open."""
    return signing.Signer(salt=_SALT).sign(wait_id.hex)


def url(wait_id: uuid.UUID) -> str:
    """Where a program completes a token without an account (POST)."""
    return f"{settings.HOLDFAST_PUBLIC_URL or ''}/api/v1/waits/{sign(wait_id)}/complete"


def page_url(wait_id: uuid.UUID) -> str:
    """Where a person answers without an account."""
    return f"{settings.HOLDFAST_PUBLIC_URL or ''}/waits/{sign(wait_id)}/"


def read(token: str) -> tuple[uuid.UUID, bool]:
    """The wait that a token names, and whether it is signed: then whoever has it may answer.

    Raises:
        InvalidLink: it is neither an id nor a signed one.
    """
    if ":" in token:
        try:
            return uuid.UUID(signing.Signer(salt=_SALT).unsign(token)), True
        except (signing.BadSignature, ValueError):
            raise InvalidLink from None
    try:
        return uuid.UUID(token), False
    except ValueError:
        raise InvalidLink from None
