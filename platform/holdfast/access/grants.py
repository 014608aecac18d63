"""Actors and what they may do: `require(actor, "runs.retry")` is the only permission check there is."""

import getpass
from dataclasses import dataclass
from typing import Literal

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

from holdfast.access.errors import GrantMissing, NotAuthenticated
from holdfast.access.models import ApiToken, Membership
from holdfast.access.roles import ALL_GRANTS, GRANTS, Role, lowest_role

ActorKind = Literal["user", "token", "local", "system"]


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts. A value: it may be passed to threads, pickled and written to the audit log.

    `kind` is "user" (a person in the browser), "token" (a program through the API), "local" (someone with a shell on
    the server) or "system" (Holdfast itself). A user without a role has `role=None` and holds no grant.
    """

    kind: ActorKind
    id: str
    label: str
    role: Role | None

    @classmethod
    def local(cls) -> "Actor":
        """Whoever runs a management command. A shell on the server is admin by nature: it can read the database."""
        try:
            name = getpass.getuser()
        except (KeyError, OSError, ImportError):  # a container's user id without a passwd entry
            name = "unknown"
        return cls("local", name, f"{name} (command line)", Role.ADMIN)

    @classmethod
    def system(cls, part: str) -> "Actor":
        """Holdfast itself, named by its part: `Actor.system("scheduler")`."""
        return cls("system", part, part, Role.ADMIN)

    @property
    def grants(self) -> frozenset[str]:
        return GRANTS[self.role] if self.role else frozenset()


Subject = Actor | ApiToken | AbstractBaseUser | AnonymousUser


def actor_of(subject: Subject) -> Actor:
    """The actor that a signed-in user or an API token is. Raises NotAuthenticated for an anonymous user.

    Reads the user's role from the database; in async code call it through `database_sync_to_async`.
    """
    if isinstance(subject, Actor):
        return subject
    if isinstance(subject, ApiToken):
        return Actor("token", str(subject.pk), f"token {subject.name}", Role(subject.role))
    if not subject.is_authenticated:
        raise NotAuthenticated
    return Actor("user", str(subject.pk), subject.get_username(), _role_of(subject))


def _role_of(user: AbstractBaseUser | AnonymousUser) -> Role | None:
    if not user.is_active:
        return None
    if getattr(user, "is_superuser", False):
        return Role.ADMIN
    role = Membership.objects.filter(user_id=user.pk).values_list("role", flat=True).first()
    return Role(role) if role else None


def allows(subject: Subject, grant: str) -> bool:
    """True when the subject holds `grant`. An anonymous user holds none. An unknown grant is a ValueError."""
    if grant not in ALL_GRANTS:
        lowest_role(grant)
    try:
        return grant in actor_of(subject).grants
    except NotAuthenticated:
        return False


def require(subject: Subject, grant: str) -> Actor:
    """Return the subject's actor when it holds `grant`; otherwise raise GrantMissing (a PermissionDenied → 403).

    Raises NotAuthenticated for an anonymous user and ValueError for a grant that does not exist.
    """
    needed = lowest_role(grant)
    actor = actor_of(subject)
    if grant not in actor.grants:
        raise GrantMissing(grant, actor.role, actor.label, needed)
    return actor
