"""Updates over HTTP: what fits, who is answered what, and where an answer that comes later will be."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.utils import timezone

from holdfast.access.models import AuditEntry
from runs.models import Update, Wait
from tests.support import stored
from tests.support.api import Caller, problem

SCHEMA = {"type": "object", "properties": {"price": {"type": "integer"}}, "required": ["price"]}


def asked(caller: Caller, run_id: uuid.UUID, **given: Any) -> Any:
    return caller.post(f"/runs/{run_id}/updates", {"name": "set-price", "timeout": 0, **given})


def settle(outcome: str, **fields: Any) -> None:
    Update.objects.update(outcome=outcome, answered_at=timezone.now(), **fields)


def test_an_update_that_is_open_has_an_address_and_later_its_reply(api: Caller) -> None:
    run = stored.run("waiting", "echo")
    wait = stored.wait(run, "update", "set-price", detail={"schema": SCHEMA})
    answer = asked(api, run.id, payload={"price": 5}, key="order-17")
    assert answer.status_code == 202, answer.content
    sent = answer.json()
    assert answer["Location"] == f"/api/v1/runs/{run.id}/updates/{sent['id']}"
    assert (sent["name"], sent["payload"], sent["outcome"], sent["sent_by"]) == (
        "set-price",
        {"price": 5},
        None,
        "token admin",
    )
    taken = Wait.objects.get(pk=wait.pk)
    assert (taken.outcome, taken.output["value"], taken.output["update"]) == ("completed", {"price": 5}, sent["id"])
    settle("replied", reply={"old": 10})
    again = asked(api, run.id, payload={"price": 5}, key="order-17")
    assert (again.status_code, again.json()["reply"]) == (200, {"old": 10})
    read = api.get(answer["Location"].removeprefix("/api/v1"))
    assert read.json() == again.json()
    assert AuditEntry.objects.filter(action="runs.update", object_id=str(run.id)).count() == 1
    problem(asked(api, run.id, payload={"price": 6}, key="order-17"), 409, "idempotency_conflict")


def test_a_refusal_and_an_end_are_problems_to_the_sender_and_facts_to_the_reader(api: Caller) -> None:
    run = stored.run("waiting", "echo")
    update_id = asked(api, run.id, key="k").json()["id"]
    settle("refused", reason="below cost")
    assert problem(asked(api, run.id, key="k"), 409, "update_refused")["detail"] == "below cost"
    assert api.get(f"/runs/{run.id}/updates/{update_id}").json()["reason"] == "below cost"
    settle("abandoned")
    problem(asked(api, run.id, key="k"), 409, "wrong_state")
    problem(asked(api, stored.run("completed", "echo").id), 409, "wrong_state")


def test_a_run_lists_what_it_was_asked_for_in_order(api: Caller) -> None:
    run = stored.run("waiting", "echo")
    for number in range(3):
        asked(api, run.id, payload=number)
    first = api.get(f"/runs/{run.id}/updates?limit=2").json()
    rest = api.get(f"/runs/{run.id}/updates?limit=2&cursor={first['next']}").json()
    assert [u["payload"] for u in first["items"] + rest["items"]] == [0, 1, 2]
    assert rest["next"] is None


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 422, "name"),
        ({"name": ""}, 422, "name"),
        (b'{"name":"\\u0000"}', 422, "name"),
        ({"name": "x", "key": ""}, 422, "key"),
        (b'{"name":"x","key":"\\ud800"}', 422, "key"),
        ({"name": "x", "timeout": -1}, 422, "timeout"),
        ({"name": "x", "timeout": 31}, 422, "timeout"),
        ({"name": "x", "value": 1}, 422, "value"),
        ({"name": "set-price", "payload": {"price": "much"}}, 422, "payload.price"),
        ({"name": "x", "payload": "y" * 1024 * 1024}, 413, "payload"),
    ],
)
def test_what_does_not_fit_is_refused_at_its_field(api: Caller, body: Any, status: int, field: str) -> None:
    run = stored.run("waiting", "echo")
    stored.wait(run, "update", "set-price", detail={"schema": SCHEMA})
    problem(api.post(f"/runs/{run.id}/updates", body), status, None, field)
    assert not Update.objects.exists()


def test_there_is_no_update_of_another_run_nor_of_nobody(api: Caller) -> None:
    run, other = stored.run("waiting", "echo"), stored.run("waiting", "echo")
    update_id = asked(api, run.id).json()["id"]
    problem(api.get(f"/runs/{other.id}/updates/{update_id}"), 404, "unknown_update")
    problem(api.get(f"/runs/{run.id}/updates/{uuid.uuid4()}"), 404, "unknown_update")
    problem(api.get(f"/runs/{run.id}/updates/x"), 422, None, "update_id")
    problem(asked(api, uuid.uuid4()), 404, "unknown_run")
