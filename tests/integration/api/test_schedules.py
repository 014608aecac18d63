"""/schedules."""

from typing import Any

import pytest

from runs.models import Run
from runs.schedules.model import Schedule


def test_a_schedule_is_made_read_changed_paused_run_and_deleted(api: Any) -> None:
    made = api.post("/schedules", {"name": "daily", "task": "echo", "cron": "0 6 * * *", "timezone": "Europe/Berlin"})
    assert made.status_code == 201
    assert made.headers["Location"] == "/api/v1/schedules/daily"
    told = made.json()
    assert (told["task"], told["cron"], told["declared"], len(told["upcoming"])) == ("echo", "0 6 * * *", None, 10)
    changed = api.patch("/schedules/daily", {"every": 60, "payload": {"value": 3}, "overlap": "skip"}).json()
    assert (changed["every"], changed["cron"], changed["overlap"]) == (60, None, "skip")
    assert api.post("/schedules/daily/pause", {"reason": "holidays"}).json()["pause_reason"] == "holidays"
    assert api.post("/schedules/daily/resume").json()["paused"] is False
    begun = api.post("/schedules/daily/run")
    assert begun.status_code == 201
    assert Run.objects.get(pk=begun.json()["run_id"]).payload == {"value": 3}
    assert [item["name"] for item in api.get("/schedules").json()["items"]] == ["daily"]
    assert api.send("DELETE", "/schedules/daily").status_code == 204
    missing = api.get("/schedules/daily")
    assert (missing.status_code, missing.json()["code"]) == (404, "unknown_schedule")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"cron": "* * * *"}, "cron"),
        ({"cron": 5}, "cron"),
        ({"every": 0}, "every"),
        ({"every": "60"}, "every"),
        ({"every": 10**30}, "every"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"timezone": None}, "timezone"),
        ({"catch_up": "some"}, "catch_up"),
        ({"overlap": ["skip"]}, "overlap"),
        ({"jitter": -1}, "jitter"),
        ({"payload": [1]}, "payload"),
        ({"payload": {"nonsense": 1}}, "payload.nonsense"),
        ({"colour": "red"}, "colour"),
        ({"as_declared": True}, "as_declared"),
        ({}, "schedule"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_changed(api: Any, change: dict[str, Any], field: str) -> None:
    api.post("/schedules", {"name": "daily", "task": "echo", "every": 3600})
    refused = api.patch("/schedules/daily", change)
    assert refused.status_code == 422, refused.json()
    assert field in {error["field"] for error in refused.json()["errors"]}
    assert Schedule.objects.get().every == 3600


@pytest.mark.parametrize(
    "body", [{}, {"name": "x"}, {"name": "x", "task": "echo"}, {"name": "no name!", "task": "echo"}]
)
def test_a_schedule_needs_a_name_a_task_and_a_timing(api: Any, body: dict[str, Any]) -> None:
    assert api.post("/schedules", body).status_code in (404, 422)
    assert not Schedule.objects.exists()


def test_a_backfill_begins_what_was_missed(api: Any, with_role: Any) -> None:
    api.post("/schedules", {"name": "hourly", "task": "echo", "cron": "0 * * * *"})
    asked = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T05:00:00Z", "reason": "as if"}
    assert with_role("viewer").post("/schedules/hourly/backfill", asked).status_code == 403
    assert api.post("/schedules/hourly/backfill", asked).json() == {"runs": 6, "skipped": 0}
    assert api.post("/schedules/hourly/backfill", asked).json() == {"runs": 0, "skipped": 6}
    for change, field in (({"from": "x"}, "from"), ({"to": "2999-01-01T00:00:00Z"}, "to"), ({"since": 1}, "since")):
        answer = api.post("/schedules/hourly/backfill", {**asked, **change})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    assert api.post("/schedules/hourly/backfill", {}).status_code == 422
    assert api.post("/schedules/daily/backfill", asked).status_code == 404
