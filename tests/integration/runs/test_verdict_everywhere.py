"""The verdict on every page: what the favicon asks for."""

from __future__ import annotations

import pytest

from tests.support import stored
from tests.support.counting import statements
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


def test_it_asks_the_same_for_many_queues_as_for_one() -> None:
    client = signed_in("viewer")
    stored.queue()
    client.get("/verdict/")
    with statements(exactly=8):
        client.get("/verdict/")
    for number in range(20):
        stored.queue(f"q{number}")
    with statements(exactly=8):
        client.get("/verdict/")


def test_the_pulse_changes_when_lists_may_have_and_is_one_look() -> None:
    client = signed_in("viewer")
    before = client.get("/pulse/").json()
    with statements(exactly=4):  # the session, the person, the role, the pulse
        assert client.get("/pulse/").json() == before
    stored.run("queued")
    after = client.get("/pulse/").json()
    assert (after["v"], after["newest"] != before["newest"]) == (1, True)
    assert signed_in(None).get("/pulse/").status_code == 403
