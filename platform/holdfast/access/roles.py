"""Roles, and the one table of what each may do.

    viewer  ⊂  operator  ⊂  developer  ⊂  admin

Code asks for a grant, never for a role: a role is only a name for a set of grants.
"""

from typing import Final

from django.db import models


class Role(models.TextChoices):
    VIEWER = "viewer", "viewer: sees everything, changes nothing"
    OPERATOR = "operator", "operator: also retries, cancels, answers and pauses"
    DEVELOPER = "developer", "developer: also starts runs"
    ADMIN = "admin", "admin: also edits limits and manages access"


_VIEWER = frozenset({"runs.view", "queues.view", "webhooks.view"})
_OPERATOR = _VIEWER | {
    "runs.retry",
    "runs.cancel",
    "runs.signal",
    "runs.answer",
    "runs.top_up",
    "errors.judge",
    "views.share",
    "queues.pause",
    "schedules.run",
    "webhooks.resend",
    "alerts.silence",
}
_DEVELOPER = _OPERATOR | {"runs.enqueue", "schedules.edit", "webhooks.edit", "alerts.edit"}
_ADMIN = _DEVELOPER | {"queues.edit", "access.manage"}

GRANTS: Final[dict[Role, frozenset[str]]] = {
    Role.VIEWER: _VIEWER,
    Role.OPERATOR: _OPERATOR,
    Role.DEVELOPER: _DEVELOPER,
    Role.ADMIN: _ADMIN,
}

ALL_GRANTS: Final = _ADMIN


def lowest_role(grant: str) -> Role:
    """The lowest role that holds `grant`. Raises ValueError for a grant that does not exist."""
    for role in Role:
        if grant in GRANTS[role]:
            return role
    raise ValueError(f"There is no grant {grant!r}. The grants are: {', '.join(sorted(ALL_GRANTS))}.")


def parse_role(text: str, *, field: str = "role") -> Role:
    """The role written as `text`. Raises ValueError with one line that names the field and what to write."""
    try:
        return Role(text)
    except ValueError:
        raise ValueError(f"{field}: {text!r} is not a role. Write viewer, operator, developer or admin.") from None
