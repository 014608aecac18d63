"""Endpoints on their pages: made, changed, rotated, tried, and deliveries to them sent again."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from holdfast.access.grants import Actor
from holdfast.access.models import AuditEntry
from runs import services as run_services
from runs.models import Run
from runs.outbound import services
from runs.outbound.model import Endpoint
from runs.views.hookparts import PAGE
from runs.webhooks import vault
from tests.support.people import signed_in
from tests.support.processes import Fleet
from tests.support.receiver import Receiver
from tests.support.waiting import eventually

pytestmark = pytest.mark.usefixtures("registered")
ACTOR = Actor.local()
NEW: dict[str, Any] = {
    "name": "crm", "url": "https://example.org/hooks", "events": ["run.failed"], "tasks": "echo, talks",
    "reason": "sales",
}  # fmt: skip
EDIT = {key: value for key, value in NEW.items() if key != "name"}
SECRET = re.compile(r"whsec_[A-Za-z0-9+/]+=*")


@pytest.fixture
def secret() -> str:
    return services.endpoint_create("crm", url="https://example.org/hooks", actor=ACTOR)[1]


def text_of(client: Client, path: str) -> str:
    response = client.get(path)
    assert response.status_code == 200
    return response.content.decode().replace("&#x27;", "'")


def test_an_empty_list_teaches_and_a_full_one_tells_who_took_it(registered: None) -> None:
    client = signed_in("viewer")
    assert "manage.py endpoints create" in text_of(client, "/webhooks/out/")
    services.endpoint_create("crm", url="https://example.org/hooks", actor=ACTOR)
    services.endpoint_create("off", url="https://example.org/off", enabled=False, events=["run.failed"], actor=ACTOR)
    services.endpoint_rotate("crm", actor=ACTOR)
    given_up = services.endpoint_test("crm", actor=ACTOR)
    run_services.run_cancel(given_up, actor=ACTOR)
    Run.objects.filter(pk=given_up).update(status="failed")
    services.endpoint_test("crm", actor=ACTOR)
    page = text_of(client, "/webhooks/out/")
    for words in ("1 given up", "two secrets", ">off</span>", "run.failed", "every end", "not in 24 h"):
        assert words in page
    assert "New endpoint" not in page, "a viewer makes none"


def test_an_endpoint_is_made_and_its_secret_is_shown_once_and_kept_nowhere(registered: None) -> None:
    client = signed_in("developer")
    response = client.post("/webhooks/out/", NEW)
    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]
    told = SECRET.findall(response.content.decode())[0]
    row = Endpoint.objects.get()
    assert (row.url, row.events, row.tasks) == ("https://example.org/hooks", ["run.failed"], ["echo", "talks"])
    assert vault.reveal(row.secret) == told
    entry = AuditEntry.objects.get(action="webhooks.create_endpoint")
    assert entry.reason == "sales"
    for kept in (text_of(client, "/webhooks/out/"), text_of(client, "/webhooks/out/crm/"), str(entry.after)):
        assert told not in kept
    client.post("/webhooks/out/", {**NEW, "name": "all", "events": [], "tasks": ""})
    assert Endpoint.objects.get(name="all").events == ["*"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": ""}, "This field is required"),
        ({"name": "A B"}, "must be 1 to 100 of a-z"),
        ({"name": "crm"}, "is in use"),
        ({"url": ""}, "This field is required"),
        ({"url": "nowhere"}, "is no address of http or https"),
        ({"url": "https://a:b@example.org"}, "has a user or a fragment"),
        ({"events": ["run.ended"]}, "Select a valid choice"),
        ({"tasks": "x" * 201}, "must be a list of at most 100 ids"),
        ({"reason": "x" * 501}, "at most 500 characters"),
        ({"reason": "bell \x07"}, "control character"),
    ],
)
def test_what_is_wrong_is_said_in_the_form_and_nothing_is_made(secret: str, change: dict[str, Any], words: str) -> None:
    response = signed_in("developer").post("/webhooks/out/", {**NEW, "name": "new", **change})
    assert response.status_code == 422
    page = response.content.decode().replace("&#x27;", "'")
    assert 'class="errorlist"' in page
    assert words in page
    assert Endpoint.objects.count() == 1


def test_an_edit_is_in_force_and_a_refused_one_keeps_what_was_written(secret: str) -> None:
    client = signed_in("developer")
    assert client.post("/webhooks/out/crm/", EDIT).status_code == 302
    assert Endpoint.objects.get().events == ["run.failed"]
    page = text_of(client, "/webhooks/out/crm/")
    assert re.search(r'value="run.failed"[^>]* checked', page)
    services.endpoint_update("crm", {"events": ["*", "run.failed"]}, actor=ACTOR)
    main = text_of(client, "/webhooks/out/crm/").split("</main>")[0]
    assert " checked" not in main, "every end is what it hears of, and stays it"
    refused = client.post("/webhooks/out/crm/", {**EDIT, "url": "nowhere"})
    assert refused.status_code == 422
    assert 'value="nowhere"' in refused.content.decode()
    assert client.get("/webhooks/out/nobody/").status_code == 404


def test_a_secret_is_rotated_once_however_often_the_form_is_sent(secret: str) -> None:
    client = signed_in("developer")
    seen = re.findall(r'rotate/".*?name="seen" value="(\w+)"', text_of(client, "/webhooks/out/crm/"), re.DOTALL)[0]
    bad = client.post("/webhooks/out/crm/rotate/", {"seen": seen, "reason": "\x07"}, follow=True)
    assert "control character" in bad.content.decode()
    told = SECRET.findall(client.post("/webhooks/out/crm/rotate/", {"seen": seen}).content.decode())[0]
    again = client.post("/webhooks/out/crm/rotate/", {"seen": seen}, follow=True).content.decode()
    assert "rotated since this page was drawn" in again
    assert vault.reveal(Endpoint.objects.get().secret) == told != secret


def test_it_is_tried_switched_off_and_on_and_deleted(secret: str) -> None:
    client = signed_in("developer")
    client.post("/webhooks/out/crm/test/", {"reason": "does it come?"})
    assert Run.objects.get().payload["body"]["type"] == "test"
    client.post("/webhooks/out/crm/off/", {"reason": "moved"})
    assert not Endpoint.objects.get().enabled
    page = text_of(client, "/webhooks/out/crm/")
    assert "Send a test" not in page
    client.post("/webhooks/out/crm/on/")
    assert Endpoint.objects.get().enabled
    for path in ("off/", "test/", "delete/"):
        said = client.post(f"/webhooks/out/crm/{path}", {"reason": "x" * 501}, follow=True)
        assert "at most 500 characters" in said.content.decode()
    assert client.post("/webhooks/out/crm/delete/", {"reason": "over"})["Location"] == "/webhooks/out/"
    assert not Endpoint.objects.exists()
    assert AuditEntry.objects.get(action="webhooks.delete_endpoint").reason == "over"


def test_deliveries_are_paged_and_those_that_are_over_are_sent_again(secret: str) -> None:
    client = signed_in("operator")
    sent = [services.endpoint_test("crm", actor=ACTOR) for _ in range(PAGE + 1)]
    first = text_of(client, "/webhooks/out/crm/")
    assert first.count("What it is told") == PAGE
    assert "Send again" not in first, "all are on their way"
    cursor = re.findall(r"\?cursor=([0-9a-f-]+)#", first)[0]
    assert str(sent[0]) in text_of(client, f"/webhooks/out/crm/?cursor={cursor}")
    path = f"/webhooks/out/crm/deliveries/{sent[0]}/resend/"
    assert "it is on its way already" in client.post(path, follow=True).content.decode()
    run_services.run_cancel(sent[0], actor=ACTOR)
    client.post(path, {"reason": "mended"})
    assert Run.objects.get(pk=sent[0]).status == "queued"
    other = services.endpoint_create("other", url="https://example.org/", actor=ACTOR)[0].name
    assert client.post(f"/webhooks/out/{other}/deliveries/{sent[0]}/resend/").status_code == 404


def test_the_page_tells_of_attempts_answers_and_the_next_try(fleet: Fleet) -> None:
    fleet.worker("worker-1")
    fleet.scheduler()
    client = signed_in("viewer")
    with Receiver(204, 500, 500, 500) as receiver:
        services.endpoint_create("crm", url=receiver.url, actor=ACTOR)
        taken = services.endpoint_test("crm", actor=ACTOR)
        eventually(lambda: Run.objects.filter(pk=taken, status="completed").exists(), "it is taken")
        assert "answered 204 after" in text_of(client, "/webhooks/out/crm/")
        services.endpoint_test("crm", actor=ACTOR)
        eventually(lambda: Run.objects.filter(status="retrying").exists(), "it is tried again")
        page = text_of(client, "/webhooks/out/crm/")
        assert "attempt 1 of 9, the next" in page
        assert "answered 500: not now, try later" in page
        assert "1 tried again" in text_of(client, "/webhooks/out/")


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_each_action_asks_for_its_grant(secret: str, role: str) -> None:
    client = signed_in(role)
    sent = services.endpoint_test("crm", actor=ACTOR)
    paths = ("", "crm/", "crm/rotate/", "crm/on/", "crm/off/", "crm/test/", "crm/delete/")
    assert {client.post(f"/webhooks/out/{path}").status_code for path in paths} == {403}
    again = client.post(f"/webhooks/out/crm/deliveries/{sent}/resend/").status_code
    assert again == (303 if role == "operator" else 403)
