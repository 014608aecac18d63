"""/errors, and the same on the command line."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from holdfast.access.models import AuditEntry
from runs.errorgroups import services
from tests.support import stored
from tests.support.api import problem

pytestmark = pytest.mark.usefixtures("known_tasks")


def said(*words: str) -> str:
    out = io.StringIO()
    call_command("errors", *words, stdout=out, stderr=io.StringIO())
    return out.getvalue()


@pytest.fixture
def group(db: None) -> str:
    """A group with an example."""
    trace = 'Traceback (most recent call last):\n  File "/srv/shop.py", line 1, in work\n'
    error = {**stored.error("order 17"), "fingerprint": "f00d", "traceback": trace, "step": "send#1"}
    run = stored.run("retrying", error=error)
    return str(stored.failures(3, step="send", version="v1", ends=1, example=run.pk).pk)


def test_a_list_says_what_fails_since_when_and_how_often(api: Any, group: str) -> None:
    stored.failures(fingerprint="older", hours_ago=1)
    found = api.get("/errors").json()
    assert [item["fingerprint"] for item in found["items"]] == ["f00d", "older"]
    assert found["next"] is None
    first = found["items"][0]
    assert {name: first[name] for name in ("state", "type", "message", "tasks", "steps", "versions")} == {
        "state": "new",
        "type": "builtins.ValueError",
        "message": "no order #",
        "tasks": ["sums"],
        "steps": ["send"],
        "versions": ["v1"],
    }
    assert (first["tries"], first["ended_runs"], first["open_runs"], sum(first["trend"])) == (3, 1, 1, 3)
    page = api.get("/errors?limit=1").json()
    assert [i["fingerprint"] for i in api.get(f"/errors?limit=1&cursor={page['next']}").json()["items"]] == ["older"]
    assert json.loads(said("list", "--json")) == api.get("/errors").json()
    assert "f00d" in said("list")


def test_one_is_told_by_version_and_step_with_an_example(api: Any, group: str) -> None:
    found = api.get(f"/errors/{group}").json()
    [part] = found["parts"]
    assert {n: part[n] for n in ("task", "step", "version", "tries", "ended_runs")} == {
        "task": "sums",
        "step": "send",
        "version": "v1",
        "tries": 3,
        "ended_runs": 1,
    }
    assert found["example"]["message"] == "order 17"
    assert found["example"]["step"] == "send#1"
    assert json.loads(said("show", group, "--json")) == found
    text = said("show", group)
    assert "3 failed tries in 7d, 1 runs ended so, 1 under way" in text
    assert "Traceback" in text


def test_people_and_programs_judge_it(api: Any, group: str) -> None:
    assert api.post(f"/errors/{group}/resolve", {"reason": "fixed"}).json()["state"] == "resolved"
    assert api.get("/errors").json()["items"] == []
    assert "No error of this kind" in said("list")
    assert api.post(f"/errors/{group}/reopen").json()["state"] == "new"
    problem(api.post(f"/errors/{group}/reopen"), 409, "wrong_state")
    snoozed = api.post(f"/errors/{group}/snooze", {"duration": "2d", "tries": 5, "reason": "known"}).json()
    assert (snoozed["state"], snoozed["snoozed_for"], snoozed["snoozed_so_far"]) == ("snoozed", 5, 0)
    assert "open again" in said("reopen", group)
    assert "is snoozed until" in said("snooze", group, "--for", "4h", "--reason", "known")
    assert "until it has failed 7 times" in said("snooze", group, "--tries", "7")
    assert json.loads(said("resolve", group, "--json"))["state"] == "resolved"
    told = AuditEntry.objects.filter(object_type="error", object_id=group).order_by("id")
    assert [entry.action.partition(".")[2] for entry in told] == [
        "resolve", "reopen", "snooze", "reopen", "snooze", "snooze", "resolve",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("span=1y", "span"),
        ("state=odd", "state"),
        ("stat=new", "stat"),
        ("task=%07", "task"),
        ("cursor=x", "cursor"),
        ("limit=0", "limit"),
        ("limit=99999999999999999999", "limit"),
    ],
)
def test_a_list_that_is_asked_wrongly_names_the_parameter(api: Any, query: str, field: str) -> None:
    problem(api.get(f"/errors?{query}"), 422, "invalid_filter", field)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "duration"),
        ({"duration": "soon"}, "duration"),
        ({"duration": "1d\x00"}, "duration"),
        ({"duration": 5}, "duration"),
        ({"tries": 10**30}, "tries"),
        ({"tries": True}, "tries"),
        ({"tries": "5"}, "tries"),
        ({"tries": 0}, "tries"),
        ({"duration": "1d", "until": "then"}, "until"),
        ({"duration": "1d", "reason": "x" * 5_000}, "reason"),
    ],
)
def test_a_snooze_that_cannot_be_names_the_field(api: Any, group: str, body: Any, field: str) -> None:
    problem(api.post(f"/errors/{group}/snooze", body), 422, None, field)
    problem(api.post(f"/errors/{group}/snooze", {"duration": "1d", "reason": "bell \x07"}), 422, None, "reason")


def test_what_was_never_met_is_not_found(api: Any, db: None) -> None:
    for name in ("gone", "%00", "a" * 65, "a%20b"):
        problem(api.get(f"/errors/{name}"), 404)
        for verb in ("resolve", "reopen"):
            problem(api.post(f"/errors/{name}/{verb}"), 404)
        problem(api.post(f"/errors/{name}/snooze", {"duration": "1d"}), 404)
    problem(api.get("/errors/gone?span=1y"), 422, "invalid_filter", "span")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("show", "gone"), "There is no error 'gone'"),
        (("list", "--state", "odd"), "write one of new"),
        (("list", "--limit", "x"), "limit is 'x'"),
        (("snooze", "f00d"), "duration is missing"),
        (("snooze", "f00d", "--for", "1y"), "write a duration like 4h"),
        (("resolve", "f00d", "--reason", "x" * 2_000), "reason"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(group: str, words: tuple[str, ...], told: str) -> None:
    with pytest.raises(CommandError, match=told) as caught:
        said(*words)
    assert caught.value.returncode == 2
    assert "\n" not in str(caught.value)


def test_the_version_in_which_it_is_resolved_is_that_of_its_task(group: str) -> None:
    row = services.error_resolve(group, actor=_actor())
    assert row.resolved_in == ["1"]
    assert "is resolved in version 1." in said("resolve", group)


def _actor() -> Any:
    from holdfast.access.grants import Actor

    return Actor.local()
