"""People who are signed in."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.test import Client

from holdfast.access.models import Membership
from holdfast.access.roles import Role


def signed_in(role: Role | str | None = Role.ADMIN, name: str = "") -> Client:
    """A browser in which somebody with this role is signed in; None is a person without any role."""
    user = User.objects.create_user(name or f"{role or 'nobody'}-person")
    if role is not None:
        Membership.objects.create(user=user, role=Role(role))
    client = Client()
    client.force_login(user)
    return client
