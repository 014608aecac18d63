"""Saved views: one's own are nobody else's, shared ones are everybody's and are audited."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction

from holdfast.access.errors import GrantMissing
from holdfast.access.grants import Actor
from holdfast.access.models import AuditEntry
from holdfast.access.roles import Role
from runs import finding
from runs.errors import InvalidOption, UnknownView
from runs.filters import InvalidFilter
from runs.models import SavedView
from runs.savedviews import selectors, services
from tests.support import stored
from tests.support.people import signed_in

pytestmark = pytest.mark.django_db
ANN = Actor("user", "1", "ann", Role.VIEWER)
BOB = Actor("user", "2", "bob", Role.OPERATOR)


def names(actor: Actor) -> list[str]:
    return [view.name for view in selectors.visible(actor)]


def test_ones_own_views_are_seen_by_oneself_alone_and_leave_no_trace() -> None:
    view = services.view_save("Mine", "queue:llm  status:failed", actor=ANN)
    assert (names(ANN), names(BOB)) == (["Mine"], [])
    assert view.search == "queue:llm status:failed", "as the search box writes it"
    services.view_save("Mine", "", actor=BOB)
    with pytest.raises(UnknownView):
        services.view_delete(view.pk, actor=BOB)
    services.view_delete(view.pk, actor=ANN)
    assert (names(ANN), names(BOB)) == ([], ["Mine"])
    assert not AuditEntry.objects.exists()


def test_a_shared_view_is_everybodys_and_its_changes_are_audited() -> None:
    services.view_save("Mine", "", actor=ANN)
    first = services.view_save("Failed payments", "status:failed", shared=True, reason="for the shift", actor=BOB)
    again = services.view_save("Failed payments", "status:failed,crashed", shared=True, actor=Actor.local())
    services.view_save("Failed payments", "status:failed,crashed", shared=True, actor=BOB)
    assert (first.pk, names(ANN)) == (again.pk, ["Failed payments", "Mine"])
    services.view_delete(first.pk, actor=BOB)
    told = AuditEntry.objects.order_by("id").values_list("action", "object_id", "before", "after", "reason")
    assert list(told) == [
        ("views.save", "Failed payments", None, {"q": "status:failed"}, "for the shift"),
        ("views.save", "Failed payments", {"q": "status:failed"}, {"q": "status:failed,crashed"}, ""),
        ("views.delete", "Failed payments", {"q": "status:failed,crashed"}, None, ""),
    ]


def test_who_may_not_share_neither_shares_nor_deletes_what_is_shared() -> None:
    with pytest.raises(GrantMissing, match=r"views\.share"):
        services.view_save("All of us", "", shared=True, actor=ANN)
    view = services.view_save("All of us", "", shared=True, actor=BOB)
    with pytest.raises(GrantMissing):
        services.view_delete(view.pk, actor=ANN)
    assert names(ANN) == ["All of us"]


@pytest.mark.parametrize("name", ["", "  ", "x" * 61, "x" * 200, "abc\u202edef", "abc\u200f", "a\x00b", "a\nb"])
def test_a_name_that_does_not_fit_is_refused_by_name(name: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        services.view_save(name, "", actor=ANN)
    assert caught.value.data["errors"][0]["field"] == "name"


def test_a_search_that_cannot_be_read_is_not_saved() -> None:
    with pytest.raises(InvalidFilter, match="stauts"):
        services.view_save("Mine", "stauts:failed", actor=ANN)
    assert names(ANN) == []


def test_there_is_an_end_to_the_number_of_views(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "MAX_OWN", 2)
    for name in ("a", "b", "b"):
        services.view_save(name, "", actor=ANN)
    with pytest.raises(InvalidOption, match="there may be 2"):
        services.view_save("c", "", actor=ANN)
    services.view_save("c", "", actor=BOB)


def test_the_database_holds_each_name_once() -> None:
    services.view_save("a", "", shared=True, actor=BOB)
    values = {"name": "a", "search": "", "owner_kind": "user", "owner_id": "9", "owner_label": "x"}
    with pytest.raises(IntegrityError), transaction.atomic():
        SavedView.objects.create(**values, shared=True)
    SavedView.objects.create(**values)


def test_the_page_saves_shows_and_deletes_views() -> None:
    client, watcher = signed_in("operator"), signed_in("viewer")
    form = {"name": "Stuck <b>", "q": "status:queued age:>10m", "shared": "1"}
    assert client.post("/runs/views/save/", form)["Location"] == "/runs/?q=status:queued+age:%3E10m"
    page = watcher.get("/runs/?q=status:queued+age:%3E10m").content.decode()
    assert 'title="status:queued age:&gt;10m" aria-current="page"><bdi>Stuck &lt;b&gt;</bdi>' in page
    assert "Shared with all" not in page, "a viewer shares nothing"
    assert "Delete the view" not in page
    view = SavedView.objects.get(name="Stuck <b>")
    assert watcher.post(f"/runs/views/{view.pk}/delete/").status_code == 303
    assert SavedView.objects.filter(pk=view.pk).exists()
    client.post(f"/runs/views/{view.pk}/delete/", {"q": "stauts:"})
    assert not SavedView.objects.filter(pk=view.pk).exists()
    assert client.post(f"/runs/views/{'9' * 30}/delete/").status_code == 303
    assert "is empty" in client.post("/runs/views/save/", {"name": ""}, follow=True).content.decode()
    assert client.get("/runs/views/save/").status_code == 405


@pytest.mark.parametrize("name", ["", "bell \x07", "x" * 61])
def test_a_name_that_is_refused_stays_in_the_form_with_what_else_was_sent(name: str) -> None:
    stored.run("failed")
    client = signed_in("admin")
    sent = {"name": name, "q": "status:failed", "columns": "queue", "shared": "1"}
    answer = client.post("/runs/views/save/", sent)
    page = answer.content.decode()
    assert answer.status_code == 422
    assert 'aria-describedby="view-refused"' in page
    assert "name is empty" in page or "name holds a control character" in page or "name has 61 characters" in page
    assert 'name="shared" value="1" checked' in page
    assert f'value="{name.rstrip(chr(7))}' in page
    assert '<input type="hidden" name="q" value="status:failed">' in page
    assert not SavedView.objects.exists()


def test_hostile_names_are_only_text_and_five_hundred_views_are_still_a_page() -> None:
    hebrew = "\u05e9\u05dc\u05d5\u05dd 123"
    hostile = ("</title><script>alert(1)</script>", '"><img src=x onerror=alert(1)>', hebrew, "w" * 60)
    values = {
        "owner_kind": "user",
        "owner_id": "9",
        "owner_label": "<i>ann</i>",
        "search": f"task:{'x' * 190} tag:{'y' * 190}",
    }
    SavedView.objects.bulk_create(SavedView(name=name, shared=True, **values) for name in hostile)
    SavedView.objects.bulk_create(SavedView(name=f"x{n:03}", shared=True, **values) for n in range(500))
    client = signed_in("operator")
    page = client.get("/runs/").content.decode()
    for raw in ("<script>alert", "<img src=x", "<i>ann", "\u202e"):
        assert raw not in page
    assert page.count('<a class="tag"') == selectors.MOST
    [script, *_] = client.get("/find/?q=%3C/title", headers={"Accept": "application/json"}).json()["items"]
    assert (script["kind"], script["text"], len(script["note"])) == ("view", hostile[0], finding.MAX_NOTE)
    found = client.get("/find/?q=x4").content.decode()
    assert found.count("saved view, shared") == finding.EACH
    assert "alert(1)" in client.get("/find/?q=alert").content.decode()
    assert "<script>alert" not in client.get("/find/?q=alert").content.decode()


def test_anything_finds_a_view_by_a_part_of_its_name_but_not_anothers_own() -> None:
    services.view_save("Failed payments", "status:failed", columns="task,tags", actor=ANN)
    services.view_save("Payments", "", shared=True, actor=BOB)
    found = [hit for hit in finding.find("PAYM", ANN) if hit.kind == "view"]
    assert [(hit.text, hit.note, hit.url) for hit in found] == [
        ("Payments", "saved view, shared: all runs", "/runs/"),
        ("Failed payments", "saved view: status:failed", "/runs/?q=status:failed&columns=task,tags"),
    ]
    assert [hit.text for hit in finding.find("paym", BOB) if hit.kind == "view"] == ["Payments"]


def test_the_api_and_the_command_line_do_the_same() -> None:
    client = signed_in("operator")

    def send(method: str, path: str, data: Any = None) -> Any:
        return client.generic(method, f"/api/v1{path}", json.dumps(data) if data else "", "application/json")

    made = send("POST", "/views", {"name": "Slow", "q": "duration:>1m", "shared": True})
    assert (made.status_code, made.json()["q"]) == (201, "duration:>1m")
    assert [view["name"] for view in send("GET", "/views").json()["items"]] == ["Slow"]
    refused = send("POST", "/views", {"name": "Slow", "q": "stauts:x"})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "q")
    assert send("POST", "/views", {"name": "a\x00"}).status_code == 422
    for wrong in ("x", "9" * 18, "9" * 40, "-1"):
        assert send("DELETE", f"/views/{wrong}").status_code == 404
    out = StringIO()
    call_command("views", "list", "--json", stdout=out)
    [listed] = json.loads(out.getvalue())
    assert listed["id"] == made.json()["id"]
    call_command("views", "save", "Slow", "duration:>2m", "--shared", stdout=out)
    assert send("GET", "/views").json()["items"][0]["q"] == "duration:>2m"
    assert send("DELETE", f"/views/{listed['id']}").json()["name"] == "Slow"
    with pytest.raises(CommandError, match="no saved view"):
        call_command("views", "delete", str(listed["id"]))
