"""Schedules on their pages: what begins by the clock, made, changed, paused and run by people."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from holdfast.access.grants import Actor
from holdfast.access.models import AuditEntry
from runs.models import Run
from runs.schedules import services
from runs.schedules.model import Schedule, Tick
from tests.support.people import signed_in

pytestmark = pytest.mark.usefixtures("registered")
ACTOR = Actor.local()
NEW = {
    "name": "daily", "task_id": "echo", "cron": "0 6 * * *", "every": "", "timezone": "Europe/Berlin",
    "payload": '{"value": 7}', "catch_up": "latest", "overlap": "skip", "jitter": "30", "reason": "for sales",
}  # fmt: skip


@pytest.fixture
def hourly() -> Schedule:
    return services.schedule_create("hourly", ACTOR, task_id="echo", cron="0 * * * *", payload={"value": 1})


def text_of(client: Client, path: str) -> str:
    response = client.get(path)
    assert response.status_code == 200
    return response.content.decode()


def test_an_empty_list_says_how_to_make_one_and_a_full_one_when_they_tick(registered: None) -> None:
    client = signed_in("viewer")
    assert "No schedule yet" in text_of(client, "/schedules/")
    made = services.schedule_create("hourly", ACTOR, task_id="echo", cron="0 * * * *")
    services.schedule_run("hourly", ACTOR)
    services.schedule_pause(services.schedule_create("second", ACTOR, task_id="echo", every=90).name, ACTOR, "fire")
    page = text_of(client, "/schedules/")
    assert made.next_at is not None
    assert made.next_at.isoformat() in page
    assert "every 1 m 30 s" in page
    assert "fire" in page
    assert "New schedule" not in page, "a viewer makes none"


def test_a_schedule_is_made_with_the_form(registered: None) -> None:
    response = signed_in("developer").post("/schedules/", NEW)
    assert response.status_code == 302
    assert response["Location"] == "/schedules/daily/"
    made = Schedule.objects.get()
    assert (made.task_id, made.cron, made.every, made.timezone) == ("echo", "0 6 * * *", None, "Europe/Berlin")
    assert (made.payload, made.catch_up, made.overlap, made.jitter) == ({"value": 7}, "latest", "skip", 30)
    assert AuditEntry.objects.get(action="schedules.create").reason == "for sales"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": ""}, "This field is required"),
        ({"name": "a b"}, "has to be 1 to 100 letters"),
        ({"name": "hourly"}, "is in use"),
        ({"task_id": "ecco"}, "Did you mean echo"),
        ({"cron": "61 * * * *"}, "write five fields"),
        ({"cron": ""}, "cron"),
        ({"every": "60"}, "every"),
        ({"cron": "", "every": "soon"}, "write a number of seconds"),
        ({"cron": "", "every": "-5"}, "every"),
        ({"cron": "", "every": "nan"}, "every"),
        ({"timezone": "Mars/Olympus"}, "Mars/Olympus"),
        ({"payload": "{"}, "not JSON"),
        ({"payload": "[1]"}, "has to be an object"),
        ({"payload": '{"other": 1}'}, "payload.other"),
        ({"catch_up": "some"}, "Select a valid choice"),
        ({"jitter": "1e9"}, "write seconds from 0 to"),
    ],
)
def test_what_is_wrong_is_said_in_the_form_and_nothing_is_made(
    hourly: Schedule, change: dict[str, str], words: str
) -> None:
    response = signed_in("developer").post("/schedules/", {**NEW, **change})
    assert response.status_code == 422
    page = response.content.decode().replace("&#x27;", "'")
    assert "errorlist" in page
    assert words in page
    assert Schedule.objects.count() == 1


def test_its_page_shows_settings_next_ticks_and_what_became_of_the_last(hourly: Schedule) -> None:
    now = timezone.now()
    Tick.objects.create(schedule=hourly, due_at=now, fired_at=now, outcome="skipped", why="run 7 was going on")
    client = signed_in("viewer")
    page = text_of(client, "/schedules/hourly/")
    assert page.count('<li class="mono">') == 10
    assert "run 7 was going on" in page
    assert "Run now" not in page
    assert "every hour" in page
    services.schedule_update("hourly", ACTOR, cron="30 9 * * 1-5", timezone="Asia/Tokyo")
    page = text_of(client, "/schedules/hourly/")
    assert "at 09:30, Monday through Friday" in page
    assert "09:30:00 <" in page, "in its own zone"
    assert "00:30:00 UTC" in page
    assert signed_in("developer").get("/schedules/nowhere/").status_code == 404


def test_an_edit_is_in_force_and_a_refused_one_keeps_what_was_written(hourly: Schedule) -> None:
    client = signed_in("developer")
    edit = {k: v for k, v in NEW.items() if k != "name"}
    assert client.post("/schedules/hourly/", {**edit, "cron": "", "every": "120"}).status_code == 302
    hourly.refresh_from_db()
    assert (hourly.cron, hourly.every, hourly.timezone) == (None, 120, "Europe/Berlin")
    refused = client.post("/schedules/hourly/", {**edit, "cron": "never"})
    assert refused.status_code == 422
    assert 'value="never"' in refused.content.decode()
    hourly.refresh_from_db()
    assert hourly.every == 120


def test_it_is_paused_resumed_run_and_deleted(hourly: Schedule) -> None:
    client = signed_in("developer")
    client.post("/schedules/hourly/pause/", {"reason": "holidays"})
    hourly.refresh_from_db()
    assert (hourly.pause_reason, hourly.next_at) == ("holidays", None)
    assert "holidays" in text_of(client, "/schedules/hourly/")
    client.post("/schedules/hourly/resume/")
    response = client.post("/schedules/hourly/run/")
    run = Run.objects.get()
    assert response["Location"] == f"/runs/{run.id}/"
    assert client.post("/schedules/hourly/delete/", {"reason": "over"}).status_code == 303
    assert not Schedule.objects.exists()
    actions = list(AuditEntry.objects.filter(object_type="schedule").order_by("id").values_list("action", flat=True))
    assert actions[-4:] == ["schedules.pause", "schedules.resume", "schedules.run", "schedules.delete"]


def test_a_backfill_is_asked_for_with_times_and_refused_at_its_field(hourly: Schedule) -> None:
    client = signed_in("developer")
    end = timezone.now() - timedelta(hours=1)
    asked = {"from": (end - timedelta(hours=5)).isoformat(), "to": end.isoformat()}
    assert client.post("/schedules/hourly/backfill/", asked).status_code == 302
    assert Run.objects.filter(tags__contains=["backfill"]).count() == 5
    refused = client.post("/schedules/hourly/backfill/", {**asked, "from": "yesterday"})
    assert refused.status_code == 422
    assert "write a time with its zone" in refused.content.decode()


@pytest.mark.parametrize("reason", ["because\x07", "r" * 501])
def test_a_reason_that_does_not_fit_is_refused_and_nothing_is_done(hourly: Schedule, reason: str) -> None:
    client = signed_in("developer")
    for path in ("pause", "delete", "run"):
        answer = client.post(f"/schedules/hourly/{path}/", {"reason": reason}, follow=True)
        assert answer.status_code == 200, path
        assert [m.level_tag for m in answer.context["messages"]] == ["error"], path
        assert "reason" in answer.content.decode(), path
    end = (timezone.now() - timedelta(hours=1)).isoformat()
    asked = {"from": end, "to": end, "reason": reason}
    assert client.post("/schedules/hourly/backfill/", asked).status_code == 422
    assert not Run.objects.exists()
    assert Schedule.objects.get().paused_at is None
    assert not AuditEntry.objects.filter(reason__startswith=reason[:4]).exists()


def test_resuming_says_why_as_well(hourly: Schedule) -> None:
    client = signed_in("developer")
    client.post("/schedules/hourly/pause/")
    client.post("/schedules/hourly/resume/", {"reason": "they are back"})
    assert AuditEntry.objects.get(action="schedules.resume").reason == "they are back"


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_each_action_asks_for_its_grant(hourly: Schedule, role: str) -> None:
    client = signed_in(role)
    may_run = role == "operator"
    answers: dict[str, Any] = {
        path: client.post(f"/schedules/{path}").status_code
        for path in ("", "hourly/", "hourly/delete/", "hourly/pause/", "hourly/run/", "hourly/backfill/")
    }
    assert [answers[path] for path in ("", "hourly/", "hourly/delete/")] == [403, 403, 403]
    assert (answers["hourly/pause/"], answers["hourly/run/"]) == ((303, 302) if may_run else (403, 403))
    assert answers["hourly/backfill/"] == (422 if may_run else 403)
    assert client.get("/schedules/hourly/pause/").status_code == 405
