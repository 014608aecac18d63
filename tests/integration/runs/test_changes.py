"""What changed: deploys are noticed, and what people did is told to those who may know."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from holdfast.access.grants import Actor
from holdfast.access.models import AuditEntry
from queues import services as queues
from runs import changes, registration
from runs.changes import Asked
from runs.models import Task
from tests.support.people import signed_in
from tests.support.runs import the

pytestmark = pytest.mark.django_db(transaction=True)
ACTOR = Actor.local()


def entry(action: str, of: str, name: str, **fields: Any) -> AuditEntry:
    values = {"actor_kind": "local", "actor_id": "x", "actor_label": "ann", "at": timezone.now(), **fields}
    return AuditEntry.objects.create(action=action, object_type=of, object_id=name, **values)


def test_a_process_that_starts_with_other_code_of_a_task_is_a_deploy(registered: None) -> None:
    registration.register([the("echo")])
    assert not AuditEntry.objects.filter(action="tasks.deploy").exists(), "the same code again is none"
    Task.objects.filter(pk="echo").update(version="before")
    registration.register([the("echo")])
    registration.register([the("echo")])
    [deploy] = AuditEntry.objects.filter(action="tasks.deploy")
    assert (deploy.object_id, deploy.before, deploy.after) == (
        "echo",
        {"version": "before"},
        {"version": the("echo").version},
    )
    now = timezone.now()
    assert [name for _, name in changes.deploys(now - timedelta(hours=1), now, "echo")] == ["echo"]
    assert changes.deploys(now - timedelta(hours=1), now, "another") == []


def test_the_page_tells_what_was_before_and_after_by_whom_and_why(registered: None) -> None:
    queues.queue_update("default", ACTOR, reason="too slow", concurrency_limit=7)
    client = signed_in("viewer")
    page = client.get("/changes/").content.decode()
    assert "update queue" in page
    assert '<span class="muted">concurrency_limit</span> 7' in page
    assert "too slow" in page
    queues.queue_update("default", ACTOR, concurrency_limit=9)
    assert "<s>7</s> → 9" in client.get("/changes/").content.decode()
    assert 'href="/queues/?search=default#default"' in page


def test_it_is_asked_by_kind_and_time_and_goes_on_page_by_page(registered: None) -> None:
    client, now = signed_in("viewer"), timezone.now()
    entry("tasks.deploy", "task", "echo", at=now - timedelta(days=3))
    entry("schedules.pause", "schedule", "nightly", at=now - timedelta(hours=3))
    for number in range(changes.PAGE + 1):
        entry("runs.retry", "run", f"0192{number:04}-0000-7000-8000-000000000000")
    shown = client.get("/changes/?kind=runs").content.decode()
    assert shown.count('id="change-') == changes.PAGE
    assert "nightly" not in shown
    older = client.get(
        "/changes/?kind=runs&before=" + str(changes.page(Asked(kind="runs"), ACTOR).next)
    ).content.decode()
    assert older.count('id="change-') == 1
    assert "Latest" in older
    assert 'id="change-' in client.get("/changes/?kind=deploys").content.decode()
    assert "Nothing changed" in client.get("/changes/?kind=deploys&span=24h").content.decode()


def test_what_is_asked_wrongly_is_said_and_nothing_fails(registered: None) -> None:
    client = signed_in("viewer")
    for query, words in {
        "span=1y": "span is &#x27;1y&#x27;; write one of 24h, 7d, 21d",
        "kind=%07": "kind is &#x27;?&#x27;",
        "before=--1": "before is",
        "before=%00": "before is",
        "before=99999999999999999999": "before is",
        "before=-99999999999999999999": "before is",
    }.items():
        answer = client.get(f"/changes/?{query}")
        assert answer.status_code == 422, query
        assert words in answer.content.decode(), query


@pytest.mark.parametrize(("role", "sees"), [("viewer", False), ("admin", True)])
def test_who_may_not_manage_access_sees_nothing_of_it(role: str, sees: bool) -> None:
    entry("access.token_create", "token", "token-of-ann")
    client = signed_in(role)
    assert ("token-of-ann" in client.get("/changes/").content.decode()) is sees
    assert ('id="change-' in client.get("/changes/?kind=access").content.decode()) is sees
    assert any(lane.kind.key == "access" for lane in client.get("/changes/").context["ribbon"]) is sees


def test_hostile_words_are_shown_as_they_are_and_long_ones_are_cut(registered: None) -> None:
    entry("queues.update", "queue", "<b>x</b>", before={"limit": "<script>"}, after={"limit": "y" * 5_000})
    page = signed_in("viewer").get("/changes/").content.decode()
    assert "<script>" not in page.partition("<main")[2].partition("</main")[0]
    assert "&lt;script&gt;" in page
    assert "y" * 121 not in page


def test_the_ribbon_puts_a_change_where_it_was_in_time() -> None:
    end = timezone.now()
    start = end - timedelta(days=1)
    found = entry("tasks.deploy", "task", "echo", at=start + timedelta(hours=6))
    [lane] = changes.ribbon(Asked("24h"), ACTOR, start, end)
    assert [(mark.id, mark.place) for mark in lane.marks] == [(found.pk, 250)]
