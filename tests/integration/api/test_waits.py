"""Signals, tokens, approvals and replays over HTTP: who is let in, what fits, and what was answered before."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from holdfast.access.models import AuditEntry
from runs import waitlinks
from runs.models import Run, Signal, Wait
from runs.sdk.task import registry
from tests.support import stored
from tests.support.api import Caller, problem
from tests.support.people import signed_in

FORM = {
    "type": "object",
    "properties": {"title": {"type": "string", "minLength": 3}, "on": {"type": "string", "format": "date"}},
    "required": ["title"],
}


def waiting(kind: str = "token", **fields: Any) -> Wait:
    return stored.wait(stored.run("waiting", "echo"), kind, **fields)


def complete(caller: Caller, wait: Wait, body: Any, *, signed: bool = False) -> Any:
    return caller.post(f"/waits/{waitlinks.sign(wait.pk) if signed else wait.pk}/complete", body)


# ── signals ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_signal_is_kept_and_one_that_is_waited_for_wakes_the_run(api: Caller) -> None:
    run = stored.run("waiting", "echo")
    wait = stored.wait(run, "signal", "paid")
    answer = api.post(f"/runs/{run.id}/signal", {"name": "paid", "payload": {"cents": 99}})
    assert answer.status_code == 200, answer.content
    assert answer.json()["id"] == str(run.id)
    wait.refresh_from_db()
    assert (wait.outcome, wait.output, wait.resolved_by) == ("completed", {"cents": 99}, "token admin")
    assert api.post(f"/runs/{run.id}/signal", {"name": "other"}).status_code == 200
    assert list(Signal.objects.order_by("id").values_list("name", "payload", "wait_id")) == [
        ("paid", {"cents": 99}, wait.pk),
        ("other", None, None),
    ]
    assert AuditEntry.objects.filter(action="runs.signal", object_id=str(run.id)).count() == 2


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 422, "name"),
        ({"name": ""}, 422, "name"),
        ({"name": 5}, 422, "name"),
        ({"name": "x" * 201}, 422, "name"),
        ({"name": "x", "value": 1}, 422, "value"),
        (b'{"name":"x","payload":{"a":NaN}}', 422, "payload.a"),
        (b'{"name":"x","payload":"\\u0000"}', 422, "payload"),
        (b'{"name":"\\u0000"}', 422, "name"),
        (b'{"name":"x","payload":' + b"[" * 300 + b"]" * 300 + b"}", 422, ""),
        ({"name": "x", "payload": "y" * 1024 * 1024}, 413, "payload"),
        (b"", 422, ""),
    ],
)
def test_a_signal_that_does_not_fit_is_refused_at_its_field(api: Caller, body: Any, status: int, field: str) -> None:
    run = stored.run("waiting", "echo")
    problem(api.post(f"/runs/{run.id}/signal", body), status, None, field)
    assert not Signal.objects.exists()


def test_a_run_that_has_ended_takes_no_signal(api: Caller) -> None:
    body = problem(api.post(f"/runs/{stored.run('completed', 'echo').id}/signal", {"name": "x"}), 409, "wrong_state")
    assert "completed" in body["detail"]


# ── tokens ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_token_is_completed_once_and_the_second_is_told_by_whom(api: Caller) -> None:
    wait = waiting(detail={"schema": {"type": "integer"}})
    problem(complete(api, wait, {"value": "seven"}), 422, "invalid_payload", "value")
    done = complete(api, wait, {"value": 7})
    assert done.status_code == 200, done.content
    assert (done.json()["outcome"], done.json()["output"], done.json()["resolved_by"]) == (
        "completed",
        7,
        "token admin",
    )
    body = problem(complete(api, wait, {"value": 8}), 409, "wait_over")
    assert "completed by token admin already" in body["detail"]
    assert list(AuditEntry.objects.filter(object_id=str(wait.pk)).values_list("action", flat=True).order_by("id")) == [
        "waits.complete",
        "waits.refuse",
    ]


def test_a_signed_address_needs_no_account(known_tasks: None) -> None:
    wait = waiting()
    done = complete(Caller(), wait, {"value": [1]}, signed=True)
    assert done.status_code == 200, done.content
    assert done.json()["resolved_by"] == "signed link"
    assert done.json()["link"] is None
    problem(complete(Caller(), wait, {"value": [1]}, signed=True), 409, "wait_over")
    assert AuditEntry.objects.get(object_id=str(wait.pk)).actor_label == "signed link"


def test_fault_35_a_forged_address_is_no_wait_and_a_plain_id_is_not_enough(known_tasks: None) -> None:
    wait, other = waiting(), waiting()
    signature = waitlinks.sign(other.pk).partition(":")[2]
    for forged in (f"{wait.pk.hex}:{signature}", f"{wait.pk.hex}:", f":{signature}", "x:y", f"{wait.pk}:{signature}"):
        problem(Caller().post(f"/waits/{forged}/complete", {"value": 1}), 404, "unknown_wait")
    problem(complete(Caller(), wait, {"value": 1}), 401, "token_missing")
    assert not Wait.objects.exclude(resolved_at=None).exists()
    assert not AuditEntry.objects.filter(object_type="wait").exists()


def test_a_signed_address_opens_nothing_but_its_wait(known_tasks: None) -> None:
    wait = waiting()
    token = waitlinks.sign(wait.pk)
    for path in ("/waits", f"/runs/{wait.run_id}", f"/waits?token={token}"):
        problem(Caller().get(path), 401)


@pytest.mark.parametrize("token", ["5", "nonsense", "01900000-0000-7000-8000-000000000000", "%00"])
def test_what_is_no_wait_is_a_404(api: Caller, token: str) -> None:
    problem(api.post(f"/waits/{token}/complete", {"value": 1}), 404)


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 422, "value"),
        ({"approved": True}, 422, "approved"),
        ({"value": 1, "comment": ""}, 422, "comment"),
        (b'{"value":{"a":[Infinity]}}', 422, "value.a[0]"),
        (b'{"value":"\\ud800"}', 422, "value"),
        (b'{"value":' + b"[" * 10_000 + b"]" * 10_000 + b"}", 422, ""),
        ({"value": "y" * 1024 * 1024}, 413, "value"),
        ({"value": 1, "error": "no"}, 422, "error"),
        ({"value": None, "error": "no"}, 422, "error"),
        ({"error": None}, 422, "value"),
        ({"error": ""}, 422, "error"),
        ({"error": 5}, 422, "error"),
        ({"error": "y" * 2_001}, 422, "error"),
        ({"error": "a bell \x07"}, 422, "error"),
        ({"error": "no", "retry": "later"}, 422, "retry"),
        (b"{", 400, ""),
    ],
)
def test_a_value_that_cannot_be_is_refused_at_its_field(api: Caller, body: Any, status: int, field: str) -> None:
    wait = waiting()
    problem(complete(api, wait, body), status, None, field)
    wait.refresh_from_db()
    assert wait.resolved_at is None


def test_a_token_is_failed_once_and_by_its_address(api: Caller) -> None:
    one, two = waiting(), waiting()
    done = complete(api, one, {"error": "the lamp broke", "retry": False}).json()
    assert (done["outcome"], done["output"]) == ("failed", {"message": "the lamp broke", "retry": False})
    assert "failed by token admin" in problem(complete(api, one, {"value": 1}), 409, "wait_over")["detail"]
    assert complete(Caller(), two, {"error": "no"}, signed=True).json()["output"] == {"message": "no", "retry": True}
    entry = AuditEntry.objects.get(action="waits.fail", object_id=str(one.pk))
    assert entry.after["answer"] == {"message": "the lamp broke", "retry": False}


def test_other_kinds_say_how_they_are_answered(api: Caller) -> None:
    for kind, words in (("signal", "send its run"), ("sleep", "ends by itself"), ("children", "ends by itself")):
        assert words in problem(complete(api, waiting(kind), {"value": 1}), 409, "wrong_state")["detail"]


# ── approvals ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_approval_takes_its_form_or_names_what_does_not_fit(api: Caller) -> None:
    wait = waiting("approval", detail={"schema": FORM})
    for form, fields in (
        (None, {"form"}),
        ({}, {"form.title"}),
        ({"title": "ab", "on": "tomorrow"}, {"form.title", "form.on"}),
    ):
        body = problem(complete(api, wait, {"approved": True, "form": form}), 422, "invalid_payload")
        assert {error["field"] for error in body["errors"]} == fields
    form = {"title": "Kelp", "on": "2026-03-01"}
    done = complete(api, wait, {"approved": True, "form": form, "comment": "good\nwork"})
    assert done.json()["output"] == {"approved": True, "form": form, "by": "token admin", "comment": "good\nwork"}
    body = problem(complete(api, wait, {"approved": False}), 409, "wait_over")
    assert "approved by token admin already" in body["detail"]
    entry = AuditEntry.objects.get(action="waits.approve")
    assert (entry.object_id, entry.reason) == (str(wait.pk), "good\nwork")


def test_a_rejection_needs_no_form(api: Caller) -> None:
    wait = waiting("approval", detail={"schema": FORM})
    done = complete(api, wait, {"approved": False, "form": {"title": 5}, "comment": "no"})
    assert done.json()["output"] == {"approved": False, "form": None, "by": "token admin", "comment": "no"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"value": 1}, "approved"),
        ({"approved": "yes"}, "approved"),
        ({"approved": 1}, "approved"),
        ({"approved": True, "comment": "x" * 1001}, "comment"),
        ({"approved": True, "comment": "\x07"}, "comment"),
        (b'{"approved":true,"form":{"a":NaN}}', "form.a"),
    ],
)
def test_a_decision_that_does_not_fit_is_refused_at_its_field(api: Caller, body: Any, field: str) -> None:
    wait = waiting("approval")
    problem(complete(api, wait, body), 422, None, field)
    wait.refresh_from_db()
    assert wait.resolved_at is None


def test_fault_35_who_is_not_asked_is_refused_and_that_is_audited(with_role: Any) -> None:
    wait = waiting("approval", detail={"assignee": "ada"})
    body = problem(complete(with_role("operator"), wait, {"approved": True}), 403, "not_asked")
    assert "ada is asked, not token operator" in body["detail"]
    entry = AuditEntry.objects.get(object_id=str(wait.pk))
    assert (entry.action, entry.actor_label, entry.after["why"]) == ("waits.refuse", "token operator", "not_asked")
    assert complete(with_role("admin"), wait, {"approved": True}).status_code == 200


def test_a_group_is_asked_by_its_members(known_tasks: None) -> None:
    from django.contrib.auth.models import Group, User

    wait = waiting("approval", detail={"group": "editors"})
    stranger, member = signed_in("operator", "ben"), signed_in("operator", "ada")
    User.objects.get(username="ada").groups.add(Group.objects.create(name="editors"))

    def decide(client: Any) -> Any:
        body = {"approved": True}
        return client.post(f"/api/v1/waits/{wait.pk}/complete", body, content_type="application/json")

    assert "group editors is asked, not ben" in problem(decide(stranger), 403, "not_asked")["detail"]
    assert decide(member).status_code == 200


def test_fault_35_an_expired_approval_is_over_for_everybody(api: Caller) -> None:
    late = timezone.now() - timedelta(seconds=1)
    wait = waiting("approval", due_at=late)
    assert "timed out already" in problem(complete(api, wait, {"approved": True}), 409, "wait_over")["detail"]
    problem(complete(Caller(), wait, {"approved": True}, signed=True), 409, "wait_over")
    assert AuditEntry.objects.get(object_id=str(wait.pk)).action == "waits.refuse"
    assert api.get("/waits").json()["items"] == []


# ── lists ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_open_waits_are_listed_oldest_first_in_pages_without_gap_or_double(api: Caller) -> None:
    made = [str(waiting(("approval", "token", "signal")[n % 3], age=100 - n).pk) for n in range(9)]
    over = waiting("approval", resolved_at=timezone.now(), outcome="cancelled")
    waiting("sleep")
    path, seen = "/waits?limit=2", []
    while path:
        page = api.get(path).json()
        seen += [wait["id"] for wait in page["items"]]
        path = f"/waits?limit=2&cursor={page['next']}" if page["next"] else ""
    assert seen == made
    assert [wait["id"] for wait in api.get("/waits?kind=token").json()["items"]] == made[1::3]
    [told] = api.get(f"/runs/{over.run_id}/waits").json()["items"]
    assert (told["outcome"], told["link"], told["task"]) == ("cancelled", None, "echo")


def test_waits_that_began_together_are_paged_too(api: Caller) -> None:
    at = timezone.now()
    made = {str(waiting("approval", created_at=at).pk) for _ in range(5)}
    first = api.get("/waits?limit=3").json()
    rest = api.get(f"/waits?limit=3&cursor={first['next']}").json()
    assert {wait["id"] for wait in first["items"] + rest["items"]} == made
    assert rest["next"] is None


def test_the_waits_of_a_run_are_paged_in_order(api: Caller) -> None:
    run = stored.run("waiting", "echo")
    made = [str(stored.wait(run, "sleep", "").pk) for _ in range(5)]
    path, seen = f"/runs/{run.id}/waits?limit=2", []
    while path:
        page = api.get(path).json()
        seen += [wait["id"] for wait in page["items"]]
        path = f"/runs/{run.id}/waits?limit=2&cursor={page['next']}" if page["next"] else ""
    assert seen == made


def test_the_signed_link_is_told_to_those_who_may_answer_and_works(with_role: Any, known_tasks: None) -> None:
    wait = waiting("approval", detail={"assignee": "ada"})

    def link(role: str) -> Any:
        return with_role(role).get("/waits").json()["items"][0]["link"]

    assert link("viewer") is None
    assert link("operator") is None  # another is asked
    told = link("admin")
    assert told.startswith("http://testserver/waits/")
    assert waitlinks.read(told.split("/")[-2]) == (wait.pk, True)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("kind=sleep", "kind"),
        ("kind=%00", "kind"),
        ("cursor=5", "cursor"),
        ("cursor=99999999999999999999-0", "cursor"),
        ("limit=0", "limit"),
        ("open=1", "open"),
    ],
)
def test_a_query_about_waits_that_does_not_fit_names_the_parameter(api: Caller, query: str, field: str) -> None:
    problem(api.get(f"/waits?{query}"), 422, None, field)


# ── replay ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_replay_is_a_new_run_with_the_same_payload_and_options(api: Caller) -> None:
    options = {"priority": 7, "tags": ["nightly"], "concurrency_key": "k", "max_attempts": 4, "idempotency_key": "once"}
    old = api.post("/tasks/echo/runs", {"payload": {"value": 1}, "options": options}).json()
    answer = api.post(f"/runs/{old['id']}/replay")
    assert answer.status_code == 201, answer.content
    new = answer.json()
    assert answer["Location"] == f"/api/v1/runs/{new['id']}"
    same = ("task", "queue", "payload", "priority", "tags", "concurrency_key", "max_attempts")
    assert {name: new[name] for name in same} == {name: old[name] for name in same}
    assert (new["id"] != old["id"], new["replay_of"], new["idempotency_key"], old["replay_of"]) == (
        True,
        old["id"],
        None,
        None,
    )
    entry = AuditEntry.objects.get(action="runs.replay")
    assert (entry.object_id, entry.after["run"]) == (old["id"], new["id"])


def test_a_replay_takes_another_payload_and_other_options(api: Caller) -> None:
    old = api.post("/tasks/echo/runs", {"payload": {"value": 1}, "options": {"tags": ["a"], "priority": 7}}).json()
    body = {"payload": {"value": 2}, "options": {"tags": ["b"], "delay": 60}, "reason": "fixed"}
    new = api.post(f"/runs/{old['id']}/replay", body).json()
    assert (new["payload"], new["tags"], new["priority"], new["status"]) == ({"value": 2}, ["b"], 7, "scheduled")
    assert AuditEntry.objects.get(action="runs.replay").reason == "fixed"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"payload": []}, "payload"),
        ({"payload": {"count": "x"}}, "payload.count"),
        ({"options": {"priority": 1000}}, "options.priority"),
        ({"options": []}, "options"),
        ({"task": "echo"}, "task"),
    ],
)
def test_a_replay_that_does_not_fit_starts_nothing(api: Caller, body: Any, field: str) -> None:
    old = api.post("/tasks/typed/runs", {"payload": {"count": 1}}).json()
    problem(api.post(f"/runs/{old['id']}/replay", body), 422, None, field)
    assert Run.objects.count() == 1


def test_a_replay_of_a_task_that_is_gone_or_a_run_that_never_was_is_a_404(api: Caller) -> None:
    assert registry.get("was-here") is None
    gone = stored.run("failed", "was-here")
    problem(api.post(f"/runs/{gone.id}/replay"), 404, "unknown_task")
    problem(api.post("/runs/01900000-0000-7000-8000-000000000000/replay"), 404, "unknown_run")


# ── what else is told ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_waiting_run_says_for_what_and_an_attempt_how_long_it_worked(api: Caller) -> None:
    parent = stored.run("completed", "echo")
    told = {"kind": "signal", "what": "signal 'paid'", "count": 1}
    run = stored.run("waiting", "echo", waiting_for=told, parent_id=parent.id)
    stored.attempt(run, active=1.5)
    answer = api.get(f"/runs/{run.id}").json()
    assert (answer["waiting_for"], answer["parent_id"]) == (told, str(parent.id))
    assert api.get(f"/runs/{run.id}/attempts").json()["items"][0]["active"] == 1.5
