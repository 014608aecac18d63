"""The verdict on every page: what the favicon asks for."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from queues.models import Sample
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


def test_a_queue_that_stands_still_beside_a_worker_with_room_is_down_on_every_page() -> None:
    stored.run("queued", age=200)
    stored.worker()
    client = signed_in("viewer")
    said = client.get("/verdict/").json()
    assert (said["kind"], said["down"]) == ("stalled", True)
    assert said["words"].partition(" for ")[0] in client.get("/").content.decode()


@pytest.mark.parametrize(("minutes", "kind"), [(1, "idle"), (5, "blind")])
def test_where_no_scheduler_looks_any_more_nothing_is_said_to_be_well(minutes: int, kind: str) -> None:
    stored.worker()
    at = timezone.now() - timedelta(minutes=minutes)
    Sample.objects.create(queue=stored.queue(), minute=at, depth=0, running=0, paused=False)
    client = signed_in("viewer")
    said = client.get("/verdict/").json()
    assert (said["kind"], said["down"]) == (kind, kind == "blind")
    page = client.get("/").content.decode()
    assert ("Blind: no scheduler has looked for 5 m" in page) == (kind == "blind")
