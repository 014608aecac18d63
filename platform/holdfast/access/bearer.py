"""`Authorization: Bearer hf_…` → Actor. The API turns NotAuthenticated into a 401, GrantMissing into a 403."""

from datetime import datetime, timedelta
from typing import Final

from django.db import DatabaseError
from django.db.models import Q
from django.db.models.functions import Now

from holdfast import db
from holdfast.access import errors
from holdfast.access.grants import Actor, actor_of
from holdfast.access.models import ApiToken
from holdfast.access.secret import TOKEN_PREFIX, digest

#: Send it with every 401: RFC 9110 asks for it.
CHALLENGE: Final = 'Bearer realm="holdfast"'
#: `last_used_at` is written at most this often per token: a busy token must not cost a write per request.
LAST_USED_STEP: Final = timedelta(seconds=60)
LONGEST_HEADER: Final = 200


def authenticate(header: str | None) -> Actor:
    """The actor that the Authorization header's token is. One indexed read.

    Raises BearerMissing, BearerMalformed, BearerWrong, BearerExpired or BearerRevoked, all of them NotAuthenticated.
    """
    return actor_of(_live_token(_plaintext(header)))


def _plaintext(header: str | None) -> str:
    if not header or not header.strip():
        raise errors.BearerMissing
    scheme, _, plaintext = header.strip().partition(" ")
    plaintext = plaintext.strip()
    if scheme.lower() != "bearer" or not plaintext or len(header) > LONGEST_HEADER or not plaintext.isascii():
        raise errors.BearerMalformed
    if not plaintext.startswith(TOKEN_PREFIX):
        raise errors.BearerWrong
    return plaintext


def _live_token(plaintext: str) -> ApiToken:
    token = ApiToken.objects.filter(token_hash=digest(plaintext)).annotate(now=Now()).first()
    if token is None:
        raise errors.BearerWrong
    if token.revoked_at is not None:
        raise errors.BearerRevoked
    now: datetime = token.now  # type: ignore[attr-defined, unused-ignore]  # the annotation above
    if token.expires_at is not None and token.expires_at <= now:
        raise errors.expired_at(token.expires_at)
    _note_use(token, now)
    return token


def _note_use(token: ApiToken, now: datetime) -> None:
    if token.last_used_at is None or token.last_used_at < now - LAST_USED_STEP:
        old = Q(last_used_at=None) | Q(last_used_at__lt=now - LAST_USED_STEP)
        try:
            ApiToken.objects.filter(old, pk=token.pk).update(last_used_at=Now())
        except DatabaseError as error:
            # A database that takes no writes can be read all the same, and this note is no reason not to.
            if not db.is_passing(error):
                raise
