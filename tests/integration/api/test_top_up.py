"""POST /runs/{id}/top-up, and usage in what the API answers."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from holdfast.access.models import AuditEntry
from runs.models import Budget, Progress, Run, Usage
from tests.support import stored


def budgeted(api: Any, **budget: Any) -> dict[str, Any]:
    response = api.post("/tasks/echo/runs", {"payload": {}, "options": {"budget": budget}})
    assert response.status_code == 201, response.json()
    return response.json()


def test_a_run_shows_its_usage_and_budget(api: Any) -> None:
    run = budgeted(api, cost="1.50", pages=10)
    assert run["usage"] == {}
    Usage.objects.create(run_id=run["id"], attempt=1, unit="cost", amount=Decimal("0.10"))
    Usage.objects.create(run_id=run["id"], attempt=2, unit="cost", amount=Decimal("0.02"))
    Usage.objects.create(run_id=run["id"], attempt=2, unit="tokens_in", amount=1_200)
    Budget.objects.filter(run_id=run["id"], unit="cost").update(spent=Decimal("0.12"))
    stored.attempt(Run.objects.get(pk=run["id"]), 2)
    found = api.get(f"/runs/{run['id']}").json()
    assert found["usage"] == {"cost": 0.12, "tokens_in": 1200}
    assert found["budget"] == [
        {"unit": "cost", "budget": 1.5, "spent": 0.12, "run": run["id"]},
        {"unit": "pages", "budget": 10, "spent": 0, "run": run["id"]},
    ]
    assert api.get("/runs").json()["items"][0] == found
    (attempt,) = api.get(f"/runs/{run['id']}/attempts").json()["items"]
    assert attempt["usage"] == {"cost": 0.02, "tokens_in": 1200}


def test_a_top_up_is_answered_with_the_run_and_audited(api: Any) -> None:
    run = budgeted(api, cost=1)
    response = api.post(f"/runs/{run['id']}/top-up", {"budget": {"cost": "0.50"}, "reason": "go on"})
    assert response.status_code == 200
    assert response.json()["budget"][0]["budget"] == 1.5
    entry = AuditEntry.objects.get(action="runs.top_up")
    assert (entry.object_id, entry.reason, entry.before, entry.after) == (
        run["id"],
        "go on",
        {"cost": "1"},
        {"cost": "1.5"},
    )


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 422, "budget"),
        ({"budget": {}}, 422, "budget"),
        ({"budget": {"cost": -1}}, 422, "budget.cost"),
        ({"budget": {"cost": "much"}}, 422, "budget.cost"),
        ({"budget": {"hours": 1}}, 422, "budget.hours"),
        ({"budget": {"cost": 1}, "more": 1}, 422, "more"),
    ],
)
def test_a_bad_top_up_names_the_field(api: Any, body: dict[str, Any], status: int, field: str) -> None:
    run = budgeted(api, cost=1)
    response = api.post(f"/runs/{run['id']}/top-up", body)
    assert (response.status_code, response.json()["errors"][0]["field"]) == (status, field)


def test_a_run_without_a_budget_and_one_that_is_over_cannot_be_topped_up(api: Any) -> None:
    plain = api.post("/tasks/echo/runs", {}).json()
    response = api.post(f"/runs/{plain['id']}/top-up", {"budget": {"cost": 1}})
    assert (response.status_code, response.json()["code"]) == (409, "wrong_state")
    assert api.post(f"/runs/{uuid.uuid4()}/top-up", {"budget": {"cost": 1}}).status_code == 404


def test_a_viewer_cannot_top_up(api: Any, with_role: Any) -> None:
    run = budgeted(api, cost=1)
    response = with_role("viewer").post(f"/runs/{run['id']}/top-up", {"budget": {"cost": 1}})
    assert response.status_code == 403


def test_the_command_line_tops_up(api: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run = budgeted(api, cost=1, pages=3)
    call_command("runs", "top-up", run["id"], "--cost", "0.5", "--unit", "pages=2", "--reason", "go on")
    assert capsys.readouterr().out.splitlines() == [
        f"{run['id']}: 0 of 1.5 cost spent",
        f"{run['id']}: 0 of 5 pages spent",
    ]
    with pytest.raises(CommandError, match=r"budget\.cost is 'x'"):
        call_command("runs", "top-up", run["id"], "--cost", "x")
    with pytest.raises(CommandError, match="write 1 to 20 units"):
        call_command("runs", "top-up", run["id"])


def test_the_page_shows_the_bar_and_its_button_tops_up(api: Any, admin_client: Client) -> None:
    run = budgeted(api, cost="0.5")
    Usage.objects.create(run_id=run["id"], attempt=1, unit="cost", amount=Decimal("0.3"))
    Budget.objects.filter(run_id=run["id"]).update(spent=Decimal("0.3"))
    page = admin_client.get(f"/runs/{run['id']}/").content.decode()
    assert "0.3 of 0.5 cost spent" in page
    assert f'action="/runs/{run["id"]}/top-up/"' in page
    form = {"unit": "cost", "amount": "0.25", "reason": "go on", "back": run["id"]}
    response = admin_client.post(f"/runs/{run['id']}/top-up/", form)
    assert (response.status_code, response["Location"]) == (303, f"/runs/{run['id']}/")
    assert Budget.objects.get(run_id=run["id"]).amount == Decimal("0.75")
    said = admin_client.post(f"/runs/{run['id']}/top-up/", {**form, "amount": "lots"}, follow=True).content.decode()
    assert "budget.cost is &#x27;lots&#x27;" in said


def test_a_run_shows_what_it_says_of_itself(api: Any, admin_client: Client) -> None:
    run = api.post("/tasks/echo/runs", {}).json()
    assert (run["progress"], run["metadata"]) == (None, {})
    found = Run.objects.get(pk=run["id"])
    Progress.objects.create(run=found, value=0.4, words="reading", metadata={"pages": 7}, at=found.created_at)
    shown = api.get(f"/runs/{run['id']}").json()
    assert shown["progress"] == {"value": 0.4, "words": "reading", "at": run["created_at"]}
    assert shown["metadata"] == {"pages": 7}
    page = admin_client.get(f"/runs/{run['id']}/").content.decode()
    assert "reading" in page
    assert "40 %" in page
    (told,) = [m for m in admin_client.get(f"/runs/{run['id']}/live/").json()["messages"] if m["type"] == "run"]
    assert told["run"]["progress"].startswith("0.4/reading")
