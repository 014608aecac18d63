"""The verdict on every page: what the favicon asks for."""

from __future__ import annotations

import pytest

from tests.support import stored
from tests.support.people import signed_in

pytestmark = pytest.mark.django_db


def test_things_are_down_while_they_stall_or_fail_and_not_before() -> None:
    client = signed_in("viewer")
    assert client.get("/verdict/").json()["down"] is False
    assert "data-alert>" not in client.get("/").content.decode()
    stored.run("queued")
    stalled = client.get("/verdict/").json()
    assert (stalled["kind"], stalled["down"]) == ("stalled", True)
    assert "data-alert>" in client.get("/").content.decode()
    stored.worker()
    assert client.get("/verdict/").json()["down"] is False
    stored.ended(9, "failed")
    failing = client.get("/verdict/").json()
    assert (failing["kind"], failing["down"]) == ("failing", True)
