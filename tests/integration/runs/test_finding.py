"""Finding anything: by name, by id, by key and tag; bounded, and only what one may see."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from holdfast.access.errors import GrantMissing
from holdfast.access.grants import Actor
from holdfast.access.roles import Role
from runs import finding
from runs.errors import InvalidFilter
from runs.models import IdempotencyKey
from runs.schedules import services as schedules
from tests.support import stored
from tests.support.people import signed_in

pytestmark = pytest.mark.django_db
VIEWER = Actor("user", "1", "ann", Role.VIEWER)


def found(text: str, actor: Actor = VIEWER) -> list[tuple[str, str]]:
    return [(hit.kind, hit.text) for hit in finding.find(text, actor)]


def urls(text: str) -> dict[str, str]:
    return {hit.kind: hit.url for hit in finding.find(text, VIEWER)}


def test_nothing_typed_lists_the_pages_that_one_may_see() -> None:
    assert ("page", "Runs") in found("")
    assert ("page", "Admin") not in found("")
    assert ("page", "Admin") in found("", Actor.local())


def test_names_are_found_by_a_part_and_those_that_begin_so_come_first() -> None:
    stored.task("resync", "llm-sync")
    stored.task("sync", "default")
    stored.worker("sync-7")
    assert found("SYNC") == [
        ("task", "sync"),
        ("worker", "sync-7"),
        ("task", "resync"),
        ("queue", "llm-sync"),
        ("search", "Runs: SYNC"),
    ]
    assert urls("llm")["queue"] == "/queues/?search=llm-sync#llm-sync"
    assert urls("sync-7")["worker"] == "/runs/?q=worker:sync-7"


def test_a_schedule_leads_to_its_page(registered: None) -> None:
    schedules.schedule_create("nightly", Actor.local(), task_id="echo", every=60)
    assert urls("night")["schedule"] == "/schedules/nightly/"


def test_a_run_is_found_by_its_id_and_by_how_that_begins() -> None:
    run = stored.run("failed")
    stored.run("failed", age=400_000)
    assert found(str(run.id)) == found(run.id.hex) == [("run", str(run.id))]
    assert urls(str(run.id))["run"] == f"/runs/{run.id}/"
    for length in (8, 13, 20):
        assert found(str(run.id)[:length])[0] == ("run", str(run.id))
    assert [kind for kind, _ in found(str(uuid.uuid4()))] == ["search"]
    wait = stored.wait(run)
    assert found(str(wait.id)) == [("approval", str(wait.id))]


def test_runs_are_found_by_their_keys_and_tags() -> None:
    run = stored.run("completed", tags=["nightly"], concurrency_key="customer-42")
    IdempotencyKey.objects.create(
        task_id=run.task_id, key="order-7", run_id=run.id, payload_hash=b"x" * 32, expires_at=run.created_at
    )
    assert found("order-7")[0] == ("key", "order-7")
    assert urls("order-7")["key"] == f"/runs/{run.id}/"
    assert urls("night")["tag"] == "/runs/?q=tag:nightly"
    assert urls("customer")["key"] == "/runs/?q=key:customer-42"


def test_a_tag_that_only_old_runs_have_is_found_when_it_is_typed_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runs.search.suggest.RECENT", 1)
    stored.run("completed", tags=["old"], age=90)
    stored.run("completed", age=10)
    assert ("tag", "old") in found("old")
    assert ("tag", "old") not in found("ol")


def test_a_search_goes_to_the_list_of_runs() -> None:
    assert urls("status:failed age:>1h")["search"] == "/runs/?q=status:failed+age:%3E1h"
    assert finding.find("status:failed", VIEWER)[0].kind == "search"
    assert urls("stauts:failed")["search"] == "/runs/?q=%22stauts:failed%22"


def test_what_one_may_not_see_is_not_found() -> None:
    stored.task("sync", "sync-queue")
    nobody = Actor("user", "2", "bob", None)
    with pytest.raises(GrantMissing, match=r"runs\.view"):
        finding.find("sync", nobody)


@pytest.mark.parametrize("text", ["x" * 201, "a\x00b", "a\nb"])
def test_what_cannot_be_looked_for_is_refused_and_says_why(text: str) -> None:
    with pytest.raises(InvalidFilter) as caught:
        finding.find(text, VIEWER)
    assert caught.value.data["errors"][0]["field"] == "q"


@pytest.mark.parametrize("text", ["%", "_", "'", "\\", "\U0001f980", '"', "-", "ffffffff" * 4, "99999999999999999999"])
def test_odd_text_is_only_text(text: str) -> None:
    assert found(text)[-1][0] == "search"


def test_of_very_many_it_offers_a_few_of_each_kind() -> None:
    for number in range(30):
        stored.run("completed", f"sync-{number}", tags=[f"sync-{number}"], concurrency_key=f"sync-{number}")
    kinds = Counter(hit.kind for hit in finding.find("sync", VIEWER))
    assert kinds["tag"] == kinds["key"] == kinds["task"] == finding.EACH
    assert kinds.total() <= finding.MOST


def test_the_page_works_without_scripts_and_speaks_json_to_the_dialog() -> None:
    stored.task("sync")
    client = signed_in("viewer")
    page = client.get("/find/?q=syn").content.decode()
    assert '<a href="/tasks/sync/">sync</a>' in page
    answer = client.get("/find/?q=syn", headers={"Accept": "application/json"})
    assert answer["Vary"].startswith("Accept") or "Accept" in answer["Vary"]
    assert answer.json()["items"][0] == {"kind": "task", "text": "sync", "note": "task", "url": "/tasks/sync/"}
    refused = client.get("/find/?q=a%00b", headers={"Accept": "application/json"})
    assert (refused.status_code, "control character" in refused.json()["message"]) == (422, True)
    assert client.get("/find/?q=a%00b").status_code == 422


def test_the_api_and_the_command_line_find_the_same() -> None:
    stored.task("sync")
    told: Any = signed_in("viewer").get("/api/v1/find?q=syn").json()
    out = StringIO()
    call_command("find", "syn", "--json", stdout=out)
    assert json.loads(out.getvalue()) == told
    assert told["items"][0]["url"] == "/tasks/sync/"
    out = StringIO()
    call_command("find", "syn", stdout=out)
    assert out.getvalue().split() == [
        "sync",
        "task",
        "/tasks/sync/",
        "Runs:",
        "syn",
        "search",
        "the",
        "runs",
        "/runs/?q=syn",
    ]
    with pytest.raises(CommandError, match="at most 200"):
        call_command("find", "x" * 300)
    assert signed_in("operator").get("/api/v1/find?p=1").status_code == 422
