"""Everything that access reads."""

from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from holdfast.access import errors
from holdfast.access.models import ApiToken, AuditEntry, SignInLink
from holdfast.access.secret import digest

AUDIT_PAGE = 100


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Entries, newest first, and the cursor of the next page (None at the end)."""

    items: list[AuditEntry]
    next: int | None


def database_now() -> datetime:
    """The database's clock."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now


def tokens(*, live_only: bool = False) -> QuerySet[ApiToken]:
    """API tokens, newest first; with `live_only`, those that work now."""
    found = ApiToken.objects.order_by("-id")
    return found.filter(_LIVE) if live_only else found


_LIVE = Q(revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=Now()))


def token_find(reference: str) -> ApiToken:
    """The one unrevoked token with that name, prefix or id. Raises TokenNotFound and TokenAmbiguous."""
    match = Q(name=reference) | Q(prefix=reference)
    if reference.isascii() and reference.isdecimal() and len(reference) <= 18:
        match |= Q(pk=int(reference))
    found = list(ApiToken.objects.filter(match, revoked_at=None).order_by("-id")[:6])
    if not found:
        raise errors.TokenNotFound(f"No live token is called {reference!r}. `manage.py token list` shows them.")
    if len(found) > 1:
        several = ", ".join(t.prefix for t in found[:5])
        raise errors.TokenAmbiguous(f"{reference!r} fits several tokens. Write one prefix: {several}.")
    return found[0]


def signin_link_check(secret: str) -> None:
    """Raise LinkRefused, LinkUsed or LinkExpired when the link would not work. Changes nothing."""
    link = SignInLink.objects.filter(token_hash=digest(secret)).first()
    if link is None:
        raise errors.LinkRefused
    if link.used_at:
        raise errors.LinkUsed
    if link.expires_at <= database_now():
        raise errors.LinkExpired


def audit_of(object_type: str, object_id: object, limit: int = AUDIT_PAGE) -> list[AuditEntry]:
    """The history of one object, newest first."""
    return list(AuditEntry.objects.filter(object_type=object_type, object_id=str(object_id)).order_by("-id")[:limit])


def audit_page(*, before: int | None = None, limit: int = AUDIT_PAGE) -> AuditPage:
    """One page of the whole log, newest first, by keyset: `before` is the last page's `next`."""
    found = AuditEntry.objects.order_by("-id")
    rows = list((found.filter(id__lt=before) if before else found)[: limit + 1])
    return AuditPage(rows[:limit], rows[limit - 1].pk if len(rows) > limit else None)
