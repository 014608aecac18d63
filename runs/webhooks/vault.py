"""Secrets of webhooks at rest. An HMAC needs the secret itself, so it cannot be hashed as a token is: it is encrypted.

Fernet (of `cryptography`) is authenticated encryption with a format that is versioned and stable. Its key is derived
from Django's SECRET_KEY, which lies outside of the database: a stolen dump tells no secret. Keys in
SECRET_KEY_FALLBACKS still open what was closed with them.
"""

from __future__ import annotations

import base64
import secrets as random_source
from datetime import datetime

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.utils.encoding import force_bytes

from runs.errors import HoldfastError
from runs.webhooks.schemes import PREFIX


class SecretUnreadable(HoldfastError):
    """The webhook's secret was stored under another SECRET_KEY. Rotate it, or set the old key as a fallback."""

    status, code = 503, "secret_unreadable"


def rotating(old_until: datetime | None, now: datetime) -> bool:
    """Whether the secret before is valid as well."""
    return old_until is not None and old_until > now


def fresh() -> str:
    """A new secret of 32 random bytes, fit for every scheme."""
    return PREFIX + base64.b64encode(random_source.token_bytes(32)).decode()


def close(secret: str) -> str:
    """The secret as it is stored."""
    return _fernet().encrypt(secret.encode()).decode()


def reveal(stored: str) -> str:
    """The secret behind what is stored. Raises SecretUnreadable."""
    try:
        return _fernet().decrypt(stored).decode()
    except InvalidToken:
        raise SecretUnreadable from None


def _fernet() -> MultiFernet:
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return MultiFernet([Fernet(base64.urlsafe_b64encode(_derive(key))) for key in keys])


def _derive(key: str | bytes) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=b"holdfast.webhooks.secrets").derive(force_bytes(key))
