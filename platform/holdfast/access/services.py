"""Everything that access writes. Each change and its audit entry share one transaction."""

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models.functions import Now
from django.urls import reverse

from holdfast.access import errors, throttle
from holdfast.access.grants import Actor, Subject, actor_of, require
from holdfast.access.models import NAME_LENGTH, REASON_LENGTH, ApiToken, AuditEntry, Membership, SignInLink
from holdfast.access.roles import Role, parse_role
from holdfast.access.secret import SHOWN, TOKEN_PREFIX, digest, new_secret
from holdfast.access.selectors import database_now

logger = logging.getLogger("holdfast.access")

BUILT_IN_ADMIN: Final = "admin"
LINK_LIFETIME: Final = timedelta(hours=1)


class Audited(NamedTuple):
    """One object of several that are changed in the same way."""

    object_id: object
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None


def audit(
    actor: Subject,
    action: str,
    object_type: str,
    object_id: object,
    reason: str = "",
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> AuditEntry:
    """Record one change, in the transaction that makes it.

    `before` and `after` hold the changed fields as JSON-able values (dates and UUIDs are converted).
    Raises AuditOutsideTransaction without a surrounding `transaction.atomic()`, and InvalidInput for a reason that
    is too long or has control characters.
    """
    return audit_many(actor, action, object_type, [Audited(object_id, before, after)], reason)[0]


def audit_many(
    actor: Subject, action: str, object_type: str, changes: Iterable[Audited], reason: str = ""
) -> list[AuditEntry]:
    """Record the same change of several objects, an entry for each, in one statement. Raises what `audit` raises."""
    if not connection.in_atomic_block:
        raise errors.AuditOutsideTransaction
    who = actor_of(actor)
    clean = _clean_text("reason", reason, REASON_LENGTH, newlines=True)
    entries = [
        AuditEntry(
            actor_kind=who.kind,
            actor_id=who.id,
            actor_label=who.label[:200],
            action=action,
            object_type=object_type,
            object_id=str(change.object_id),
            reason=clean,
            before=change.before,
            after=change.after,
        )
        for change in changes
    ]
    return AuditEntry.objects.bulk_create(entries)


def token_create(*, name: str, role: str, actor: Subject, expires_at: datetime | None = None) -> tuple[ApiToken, str]:
    """Make an API token and return it with its plaintext, which exists nowhere else from then on.

    Raises InvalidInput (name, role or expires_at) and GrantMissing (access.manage).
    """
    who = require(actor, "access.manage")
    name = _clean_text("name", name, NAME_LENGTH)
    if not name:
        raise errors.InvalidInput("name", "is empty. Write what will use the token, such as 'ci'.")
    try:
        parsed_role = parse_role(role)
    except ValueError as error:
        raise errors.InvalidInput("role", str(error).removeprefix("role: ")) from None
    if expires_at is not None and expires_at <= database_now():
        raise errors.InvalidInput("expires_at", f"{expires_at:%Y-%m-%d %H:%M} is in the past. Write a later time.")
    plaintext = TOKEN_PREFIX + new_secret()
    with transaction.atomic():
        token = ApiToken.objects.create(
            name=name,
            role=parsed_role,
            token_hash=digest(plaintext),
            prefix=plaintext[:SHOWN],
            created_by=who.label[:200],
            expires_at=expires_at,
        )
        after = {"name": name, "role": parsed_role, "prefix": token.prefix, "expires_at": expires_at}
        audit(who, "access.token_create", "token", token.pk, after=after)
    return token, plaintext


def token_revoke(*, token: ApiToken, actor: Subject, reason: str = "") -> bool:
    """Revoke a token at once. False when it was revoked before."""
    who = require(actor, "access.manage")
    with transaction.atomic():
        if not ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=Now()):
            return False
        about = {"name": token.name, "role": token.role, "prefix": token.prefix}
        audit(who, "access.token_revoke", "token", token.pk, reason, before=about)
    return True


def role_set(*, user: User, role: str, actor: Subject, reason: str = "") -> None:
    """Give a user a role. An admin is also Django's superuser, so that the admin site opens to the same people.

    Raises LastAdmin when this would leave nobody with the role admin.
    """
    who = require(actor, "access.manage")
    parsed_role = parse_role(role)
    is_admin = parsed_role == Role.ADMIN
    with transaction.atomic():
        if not is_admin:
            require_other_admin(user)
        old = actor_of(User.objects.get(pk=user.pk)).role
        if old == parsed_role and user.is_superuser == is_admin:
            return
        Membership.objects.update_or_create(user=user, defaults={"role": parsed_role})
        User.objects.filter(pk=user.pk).update(is_staff=is_admin, is_superuser=is_admin)
        user.is_staff = user.is_superuser = is_admin
        audit(who, "access.role_set", "user", user.pk, reason, {"role": old}, {"role": parsed_role})


def require_other_admin(user: User) -> None:
    """Raise LastAdmin when nobody but `user` is an active admin. Call it inside the transaction that takes one away."""
    # Locks all admins, in one order: two admins who demote each other must not both succeed.
    admins = list(User.objects.select_for_update().filter(is_superuser=True, is_active=True).order_by("pk"))
    if [admin.pk for admin in admins] == [user.pk]:
        raise errors.LastAdmin


def user_delete(*, user: User, actor: Subject, reason: str = "") -> None:
    """Delete a user; what they did stays in the audit log. Raises LastAdmin."""
    who = require(actor, "access.manage")
    with transaction.atomic():
        require_other_admin(user)
        about = {"username": user.username, "role": actor_of(user).role}
        audit(who, "access.user_delete", "user", user.pk, reason, before=about)
        user.delete()


def signin_link_delete(*, link: SignInLink, actor: Subject) -> None:
    """Make a link worthless before it is used."""
    who = require(actor, "access.manage")
    with transaction.atomic():
        audit(who, "access.signin_link_delete", "sign_in_link", link.pk, before={"expires_at": link.expires_at})
        link.delete()


def signin_link_create(
    *, user: User | None = None, lifetime: timedelta = LINK_LIFETIME, actor: Actor | None = None
) -> str:
    """Make a one-time sign-in link and return its path, `/sign-in/<token>/`. Without a user: the built-in admin.

    `actor` is who makes it; without one: whoever has a shell on the server, which is all that it takes.
    """
    secret, expires_at = new_secret(), database_now() + lifetime
    name = user.username if user is not None else BUILT_IN_ADMIN
    with transaction.atomic():
        SignInLink.objects.filter(expires_at__lt=Now() - timedelta(days=7)).delete()
        link = SignInLink.objects.create(token_hash=digest(secret), user=user, expires_at=expires_at)
        after = {"user": name, "expires_at": expires_at}
        audit(actor or Actor.local(), "access.signin_link_create", "sign_in_link", link.pk, after=after)
    return reverse("access:sign_in_link", args=(secret,))


def signin_link_use(*, secret: str) -> User:
    """Burn the link and return whom it signs in; the built-in admin is created on first use.

    Raises LinkRefused (or LinkUsed, LinkExpired, each with the way out) and AccountOff.
    """
    with transaction.atomic():
        mine = SignInLink.objects.filter(token_hash=digest(secret))
        # Claims by a conditional update: of two posts at the same moment exactly one hits the row.
        if not mine.filter(used_at=None, expires_at__gt=Now()).update(used_at=Now()):
            link = mine.first()
            raise errors.LinkRefused if link is None else errors.LinkUsed if link.used_at else errors.LinkExpired
        link = mine.select_related("user").get()
        user = link.user or _built_in_admin()
        if not user.is_active:
            raise errors.AccountOff
        audit(user, "access.sign_in", "user", user.pk, after={"by": "one-time link"})
    return user


def signin_password(*, username: str, password: str, address: str) -> User:
    """The user with that name and password. `address` is where the request came from; guessing is limited by it.

    Raises TooManyGuesses and WrongPassword.
    """
    throttle.count_guess(address, username)
    user = authenticate(username=username, password=password)
    if user is None:
        logger.warning("sign-in refused", extra={"username": username[:150], "address": address})
        raise errors.WrongPassword
    throttle.forget_guesses(address, username)
    with transaction.atomic():
        audit(user, "access.sign_in", "user", user.pk, after={"by": "password"})
    assert isinstance(user, User)
    return user


def _built_in_admin() -> User:
    user, created = User.objects.get_or_create(
        username=BUILT_IN_ADMIN, defaults={"is_staff": True, "is_superuser": True}
    )
    if created:
        user.set_unusable_password()
        user.save(update_fields=["password"])
        audit(Actor.system("sign-in link"), "access.user_create", "user", user.pk, after={"username": BUILT_IN_ADMIN})
    return user


def _clean_text(field: str, text: str, limit: int, *, newlines: bool = False) -> str:
    text = text.strip()
    if len(text) > limit:
        raise errors.InvalidInput(field, f"has {len(text):,} characters. Write at most {limit:,}.")
    allowed = {"\n", "\r", "\t"} if newlines else set()
    if any((not c.isprintable() and c not in allowed) for c in text):
        raise errors.InvalidInput(field, "holds a control character. Write plain text.")
    return text
