"""Making and hashing the secrets of tokens and links."""

import hashlib
import secrets

TOKEN_PREFIX = "hf_"  # noqa: S105 - what every token begins with, so that secret scanners find leaked ones
SHOWN = 9


def new_secret() -> str:
    """256 random bits, 43 characters that are safe in a URL."""
    return secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """SHA-256 as hex. Fast on purpose: see `holdfast.access.models`."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
