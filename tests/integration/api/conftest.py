"""The API as its callers meet it: requests through Django's whole stack, on a real database."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

# Django is not set up yet when pytest reads this file: what needs it is imported by the fixtures.
if TYPE_CHECKING:
    from tests.support.api import Caller


@pytest.fixture
def with_role(db: None) -> Callable[[str], Caller]:
    """Makes a caller with a token of a role."""
    from holdfast.access import services
    from holdfast.access.grants import Actor
    from tests.support.api import Caller

    def make(role: str) -> Caller:
        _, plaintext = services.token_create(name=role, role=role, actor=Actor.local())
        return Caller({"Authorization": f"Bearer {plaintext}"})

    return make


@pytest.fixture
def known_tasks(db: None) -> None:
    """The test tasks and their queues have rows."""
    from django.conf import settings

    from runs import registration
    from tests.support.processes import TASKS

    settings.HOLDFAST_TASKS = [str(TASKS)]
    registration.discover()
    registration.register_all()


@pytest.fixture
def api(known_tasks: None, with_role: Callable[[str], Caller]) -> Caller:
    """A caller who may do everything."""
    return with_role("admin")


@pytest.fixture
def refused() -> Callable[..., dict[str, Any]]:
    """Checks a refusal: the right problem, and nothing stored."""
    from runs.models import IdempotencyKey, Run
    from tests.support.api import problem

    def check(response: Any, status: int, code: str | None = None, field: str | None = None) -> dict[str, Any]:
        body = problem(response, status, code, field)
        assert not Run.objects.exists()
        assert not IdempotencyKey.objects.exists()
        return body

    return check
