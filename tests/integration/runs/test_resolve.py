"""A person decides about an unsafe step: the same over HTTP, on the command line and on the run's page."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from holdfast.access import services as access
from holdfast.access.grants import Actor
from holdfast.access.models import AuditEntry
from queues.models import Entry
from runs.models import Run, Snapshot
from tests.support import stored
from tests.support.api import Caller, problem
from tests.support.people import signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def unknown() -> Run:
    """A run whose step `pay#1` was begun; `pay#2`, begun beside it, has an answer."""
    found = stored.run("unknown", error={**stored.error("nobody knows", "OutcomeUnknown"), "step": "pay#1"})
    stored.snapshots(found, 1, 1, name="pay", key="pay#2", kind="intent")
    stored.snapshots(found, 2, 2, name="pay", key="pay#1", kind="intent", input={"order": 7})
    stored.snapshots(found, 3, 3, name="pay", key="pay#2")
    return found


def caller(role: str = "operator") -> Caller:
    _, plaintext = access.token_create(name=role, role=role, actor=Actor.local())
    return Caller({"Authorization": f"Bearer {plaintext}"})


def decided(run: Run) -> Snapshot:
    """The fact that the decision left; the run is queued, and its entry is there."""
    run.refresh_from_db()
    assert (run.status, run.finished_at) == ("queued", None)
    assert Entry.objects.filter(entry_id=run.id).count() == 1
    row = AuditEntry.objects.get(action="runs.resolve", object_id=str(run.id))
    assert row.before == {"status": "unknown"}
    return Snapshot.objects.get(run=run, sequence=4)


def test_over_http_a_step_that_happened_gets_its_result(unknown: Run) -> None:
    response = caller().post(
        f"/runs/{unknown.id}/resolve", {"decision": "happened", "output": {"receipt": "r-7"}, "reason": "the bank"}
    )
    assert (response.status_code, response.json()["status"]) == (200, "queued")
    fact = decided(unknown)
    assert (fact.kind, fact.name, fact.key) == ("step", "pay", "pay#1")
    assert (fact.input, fact.output) == ({"order": 7}, {"receipt": "r-7"})
    assert fact.state["reason"] == "the bank"
    again = caller("admin").post(f"/runs/{unknown.id}/resolve", {"decision": "fail"})
    problem(again, 409, "wrong_state")


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"decision": "perhaps"}, 422, "decision"),
        ({}, 422, "decision"),
        ({"decision": "fail", "output": 1}, 422, "only a step that happened"),
        ({"decision": "happened", "x": 1}, 422, "x"),
        ({"decision": "fail", "reason": "y" * 501}, 422, "reason"),
    ],
)
def test_over_http_a_mistake_is_named_and_decides_nothing(
    unknown: Run, body: dict[str, Any], status: int, said: str
) -> None:
    response = caller().post(f"/runs/{unknown.id}/resolve", body)
    assert response.status_code in (400, status)
    assert said in response.content.decode()
    unknown.refresh_from_db()
    assert unknown.status == "unknown"
    assert not AuditEntry.objects.filter(action="runs.resolve").exists()


def test_over_http_it_needs_the_grant_and_a_run(unknown: Run) -> None:
    assert caller("viewer").post(f"/runs/{unknown.id}/resolve", {"decision": "fail"}).status_code == 403
    nobody = "01900000-0000-7000-8000-000000000000"
    problem(caller().post(f"/runs/{nobody}/resolve", {"decision": "fail"}), 404, "unknown_run")


def said(*words: str) -> str:
    out = io.StringIO()
    call_command("runs", "resolve", *words, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def test_on_the_command_line(unknown: Run) -> None:
    assert json.loads(said(str(unknown.id), "--happened", '"r-7"', "--json"))["status"] == "queued"
    assert decided(unknown).output == "r-7"
    with pytest.raises(CommandError, match="is queued"):
        said(str(unknown.id), "--fail")


def test_on_the_command_line_what_did_not_happen_is_called_again(unknown: Run) -> None:
    assert "calls the step again" in said(str(unknown.id), "--did-not-happen", "--reason", "asked them")
    fact = decided(unknown)
    assert (fact.kind, fact.key, fact.output) == ("cleared", "pay#1", None)


def test_on_the_command_line_mistakes_are_one_line(unknown: Run) -> None:
    for words in (("--happened", "{no json"), ("--happened", "1", "--fail"), ()):
        with pytest.raises((CommandError, SystemExit)):
            said(str(unknown.id), *words)
    unknown.refresh_from_db()
    assert unknown.status == "unknown"
    assert "has failed" in said(str(unknown.id), "--fail")
    unknown.refresh_from_db()
    assert (unknown.status, unknown.finished_at is not None) == ("failed", True)


def test_on_the_page_the_three_decisions_stand_for_those_who_may(unknown: Run) -> None:
    client = signed_in("operator")
    text = client.get(f"/runs/{unknown.id}/").content.decode()
    assert f'action="/runs/{unknown.id}/resolve/"' in text
    assert "What became of pay#1?" in text
    for value in ("happened", "did_not_happen", "fail"):
        assert f'name="decision" value="{value}"' in text
    assert "/resolve/" not in signed_in("viewer").get(f"/runs/{unknown.id}/").content.decode()
    assert "/resolve/" not in client.get(f"/runs/{stored.run('failed').id}/").content.decode()


def test_on_the_page_a_decision_is_posted(unknown: Run) -> None:
    client = signed_in("operator")
    response = client.post(f"/runs/{unknown.id}/resolve/", {"decision": "happened", "output": '{"receipt": 1}'})
    assert (response.status_code, response["Location"]) == (303, f"/runs/{unknown.id}/")
    assert decided(unknown).output == {"receipt": 1}


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ({"decision": "happened", "output": "{no"}, "line 1"),
        ({"decision": "x"}, "choose one of"),
        ({}, "choose one of"),
    ],
)
def test_on_the_page_a_mistake_is_shown_and_decides_nothing(unknown: Run, sent: dict[str, str], message: str) -> None:
    client = signed_in("operator")
    client.post(f"/runs/{unknown.id}/resolve/", sent)
    assert message in client.get(f"/runs/{unknown.id}/").content.decode()
    unknown.refresh_from_db()
    assert unknown.status == "unknown"
    assert signed_in("viewer").post(f"/runs/{unknown.id}/resolve/", {"decision": "fail"}).status_code == 403
    assert client.get(f"/runs/{unknown.id}/resolve/").status_code == 405
