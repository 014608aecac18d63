"""What access refuses, and why. Every error carries its data and survives pickling."""

from datetime import datetime

from django.core.exceptions import PermissionDenied


class AccessError(Exception):
    """Base of everything that `holdfast.access` raises."""

    code = "access_error"

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (self.__doc__ or "").strip())


class NotAuthenticated(AccessError):
    """Nobody is signed in, and no valid token was sent."""

    code = "not_authenticated"


class BearerMissing(NotAuthenticated):
    """Send an API token as `Authorization: Bearer hf_…`. An admin makes one with `manage.py token create`."""

    code = "token_missing"


class BearerMalformed(NotAuthenticated):
    """The Authorization header is not `Bearer hf_…`."""

    code = "token_malformed"


class BearerWrong(NotAuthenticated):
    """No such API token. Check that it was copied whole, or make a new one with `manage.py token create`."""

    code = "token_wrong"


class BearerExpired(NotAuthenticated):
    """This API token has expired."""

    code = "token_expired"


class BearerRevoked(NotAuthenticated):
    """This API token was revoked."""

    code = "token_revoked"


class GrantMissing(AccessError, PermissionDenied):
    """The actor is known, but its role does not hold the grant."""

    code = "grant_missing"

    def __init__(self, grant: str, role: str | None, label: str, needed: str) -> None:
        self.grant, self.role, self.label, self.needed = grant, role, label, needed
        has = f"has the role {role}" if role else "has no role yet"
        super().__init__(f"{label} {has}; {grant} needs {needed} or higher. Ask an admin for that role.")

    def __reduce__(self) -> tuple[type["GrantMissing"], tuple[str, str | None, str, str]]:
        return type(self), (self.grant, self.role, self.label, self.needed)


class LinkRefused(AccessError):
    """This sign-in link is not valid. Run `manage.py signin_link` for a new one."""

    code = "link_wrong"


class LinkUsed(LinkRefused):
    """This sign-in link was used already; it works once. Run `manage.py signin_link` for a new one."""

    code = "link_used"


class LinkExpired(LinkRefused):
    """This sign-in link has expired. Run `manage.py signin_link` for a new one."""

    code = "link_expired"


class AccountOff(AccessError):
    """This account is switched off. Ask an admin."""

    code = "account_off"


class WrongPassword(AccessError):
    """The user name and password do not match."""

    code = "wrong_password"


class TooManyGuesses(AccessError):
    """Too many attempts from here; wait."""

    code = "too_many_guesses"

    def __init__(self, retry_after: int) -> None:
        self.retry_after = retry_after
        minutes = max(1, -(-retry_after // 60))
        super().__init__(
            f"Too many attempts. Wait {minutes} minute{'s' if minutes > 1 else ''}, "
            "or use a one-time link: manage.py signin_link."
        )

    def __reduce__(self) -> tuple[type["TooManyGuesses"], tuple[int]]:
        return type(self), (self.retry_after,)


class LastAdmin(AccessError):
    """This is the last active admin; give another account the role admin first."""

    code = "last_admin"


class InvalidInput(AccessError):
    """A field that a service refuses; the text names the field, what was wrong and what to write."""

    code = "invalid_input"

    def __init__(self, field: str, problem: str) -> None:
        self.field, self.problem = field, problem
        super().__init__(f"{field}: {problem}")

    def __reduce__(self) -> tuple[type["InvalidInput"], tuple[str, str]]:
        return type(self), (self.field, self.problem)


class ChangedMeanwhile(AccessError):
    """Somebody has changed it since it was looked at. The message says who, what and when."""

    code = "changed_meanwhile"


class TokenNotFound(AccessError):
    """No live token goes by that name or prefix."""

    code = "token_not_found"


class TokenAmbiguous(AccessError):
    """Several live tokens go by that name; use the prefix."""

    code = "token_ambiguous"


class AuditOutsideTransaction(AccessError):
    """audit() must run inside transaction.atomic(), together with the change that it records."""

    code = "audit_outside_transaction"


def expired_at(at: datetime) -> BearerExpired:
    """The error for a token that expired at `at`."""
    return BearerExpired(f"This API token expired at {at:%Y-%m-%d %H:%M} UTC. Make a new one.")
