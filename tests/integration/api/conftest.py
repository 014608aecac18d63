"""The API as its callers meet it: requests through Django's whole stack, on a real database."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest

# Django is not set up yet when pytest reads this file: what needs it is imported by the fixtures.
if TYPE_CHECKING:
    from tests.support.api import Caller
    from tests.support.processes import Fleet

LISTENS = re.compile(r"web server listens on .* port (\d+)")


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


@pytest.fixture
def server(fleet: Fleet) -> str:
    """A web server's address, without a path."""
    from tests.support.waiting import eventually

    web = fleet.start("web", "web", "--port", "0")

    def port() -> str:
        assert web.popen.poll() is None, web.said()
        found = LISTENS.search(web.said())
        return found[1] if found else ""

    address = f"127.0.0.1:{eventually(port, 'the web server listens', 60)}"

    def ready() -> bool:
        try:
            return httpx.get(f"http://{address}/api/v1/openapi.json").status_code == 200
        except httpx.TransportError:
            return False

    eventually(ready, "the web server answers", 60)
    return address


@pytest.fixture
def client(server: str) -> Iterator[httpx.Client]:
    """A program with an admin's token, at the real server."""
    from holdfast.access import services
    from holdfast.access.grants import Actor

    _, plaintext = services.token_create(name="live", role="admin", actor=Actor.local())
    headers = {"Authorization": f"Bearer {plaintext}"}
    with httpx.Client(base_url=f"http://{server}/api/v1", headers=headers, timeout=30) as found:
        yield found
