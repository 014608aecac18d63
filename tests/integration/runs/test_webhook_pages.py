"""Inbound webhooks on their pages: made, changed, rotated, switched off, and what came to them sent again."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
import uuid
from typing import Any

import pytest
from django.test import Client

from holdfast.access.grants import Actor
from holdfast.access.models import AuditEntry
from runs.models import Run
from runs.views.hookparts import PAGE
from runs.webhooks import examples, schemes, services, vault
from runs.webhooks.model import Delivery, Webhook
from tests.support.people import signed_in

pytestmark = pytest.mark.usefixtures("registered")
ACTOR = Actor.local()
NEW = {
    "name": "in", "task_id": "echo", "scheme": "standard", "secret": "", "filter": "", "mapping": "{value: n}",
    "window": "300", "body_limit": "262,144", "reason": "for sales",
}  # fmt: skip
EDIT = {key: value for key, value in NEW.items() if key not in ("name", "scheme", "secret")}
SECRET = re.compile(r"whsec_[A-Za-z0-9+/]+=*")


@pytest.fixture
def secret() -> str:
    return services.webhook_create("in", "echo", scheme="standard", mapping="{value: n}", actor=ACTOR)[1]


def deliver(secret: str, n: Any, name: str = "in") -> Any:
    data = json.dumps({"n": n}).encode()
    headers = schemes.sign(secret, str(uuid.uuid4()), int(time.time()), data)
    return Client().generic("POST", f"/hooks/{name}", data, "application/json", headers=headers).json()


def text_of(client: Client, path: str) -> str:
    response = client.get(path)
    assert response.status_code == 200
    return response.content.decode().replace("&#x27;", "'")


def test_an_empty_list_teaches_and_a_full_one_tells_what_came(registered: None) -> None:
    client = signed_in("viewer")
    assert "manage.py webhooks create" in text_of(client, "/webhooks/")
    told = services.webhook_create("in", "echo", scheme="standard", mapping="{value: n}", actor=ACTOR)[1]
    services.webhook_create("silent", "echo", scheme="github", actor=ACTOR)
    services.webhook_update("silent", {"enabled": False}, actor=ACTOR)
    services.webhook_rotate("in", actor=ACTOR)
    deliver(told, 1)
    services.webhook_update("in", {"mapping": "n"}, actor=ACTOR)
    deliver(told, 2)
    Client().post("/hooks/in", "{}", "application/json")
    page = text_of(client, "/webhooks/")
    assert "1 in 24 h" in page
    assert "1 ever without a signature" in page
    assert "two secrets" in page
    assert ">off</span>" in page
    assert "New webhook" not in page, "a viewer makes none"


def test_a_webhook_is_made_and_its_secret_is_shown_once_and_kept_nowhere(registered: None) -> None:
    client = signed_in("developer")
    response = client.post("/webhooks/", NEW)
    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]
    told = SECRET.findall(response.content.decode())[0]
    row = Webhook.objects.get()
    assert (row.task_id, row.mapping, row.window, row.body_limit) == ("echo", "{value: n}", 300, 262_144)
    assert vault.reveal(row.secret) == told
    entry = AuditEntry.objects.get(action="webhooks.create")
    assert entry.reason == "for sales"
    for kept in (text_of(client, "/webhooks/"), text_of(client, "/webhooks/in/in/"), str(entry.after)):
        assert told not in kept
    assert client.post("/webhooks/", NEW).status_code == 422, "sent twice, made once"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": ""}, "This field is required"),
        ({"name": "A B"}, "must be 1 to 100 of a-z"),
        ({"name": "in"}, "is in use"),
        ({"task_id": "ecco"}, "Did you mean echo"),
        ({"task_id": "ec\x00"}, "Null characters"),
        ({"scheme": "paypal"}, "Select a valid choice"),
        ({"secret": "short"}, "must be 16 to 200 printable"),
        ({"filter": "a =="}, "no JMESPath expression"),
        ({"mapping": "nope(n)"}, "no function of JMESPath"),
        ({"window": "soon"}, "write a whole number"),
        ({"window": "0"}, "must be a whole number from 1"),
        ({"body_limit": "9" * 15}, "must be a whole number from 1"),
        ({"reason": "x" * 501}, "at most 500 characters"),
        ({"reason": "bell \x07"}, "control character"),
    ],
)
def test_what_is_wrong_is_said_in_the_form_and_nothing_is_made(secret: str, change: dict[str, str], words: str) -> None:
    response = signed_in("developer").post("/webhooks/", {**NEW, "name": "new", **change})
    assert response.status_code == 422
    page = response.content.decode().replace("&#x27;", "'")
    assert 'class="errorlist"' in page
    assert words in page
    assert Webhook.objects.count() == 1


def test_a_secret_of_the_senders_is_taken_and_a_refused_form_does_not_show_it(registered: None) -> None:
    client = signed_in("developer")
    own = "whsec_of_stripe_0123456789"
    refused = client.post("/webhooks/", {**NEW, "scheme": "stripe", "secret": own, "task_id": "nothing"})
    assert refused.status_code == 422
    assert own not in refused.content.decode()
    client.post("/webhooks/", {**NEW, "scheme": "stripe", "secret": own})
    assert vault.reveal(Webhook.objects.get().secret) == own


def test_an_edit_is_in_force_and_a_refused_one_keeps_what_was_written(secret: str) -> None:
    client = signed_in("developer")
    assert client.post("/webhooks/in/in/", {**EDIT, "filter": "n", "window": "60"}).status_code == 302
    row = Webhook.objects.get()
    assert (row.filter, row.window, row.enabled) == ("n", 60, True)
    refused = client.post("/webhooks/in/in/", {**EDIT, "filter": "a =="})
    assert refused.status_code == 422
    assert "a ==" in refused.content.decode()
    assert client.post("/webhooks/in/in/", {**EDIT, "reason": "\x07"}).status_code == 422
    assert signed_in("viewer").get("/webhooks/in/nowhere/").status_code == 404


def test_a_secret_is_rotated_once_however_often_the_form_is_sent(secret: str) -> None:
    client = signed_in("developer")
    seen = re.findall(r'rotate/".*?name="seen" value="(\w+)"', text_of(client, "/webhooks/in/in/"), re.DOTALL)[0]
    asked = {"seen": seen, "secret": "", "overlap": "60", "reason": "leaked"}
    refused = client.post("/webhooks/in/in/rotate/", {**asked, "overlap": "-1"})
    assert refused.status_code == 422
    told = SECRET.findall(client.post("/webhooks/in/in/rotate/", asked).content.decode())[0]
    assert told != secret
    again = client.post("/webhooks/in/in/rotate/", asked, follow=True).content.decode()
    assert "rotated since this page was drawn" in again
    assert not SECRET.search(again)
    row = Webhook.objects.get()
    assert [vault.reveal(row.secret), vault.reveal(row.old_secret)] == [told, secret]
    assert "two secrets" in text_of(client, "/webhooks/in/in/")
    assert AuditEntry.objects.get(action="webhooks.rotate").reason == "leaked"


def test_it_is_switched_off_and_on_and_deleted(secret: str) -> None:
    client = signed_in("developer")
    deliver(secret, 1)
    client.post("/webhooks/in/in/off/", {"reason": "a flood"})
    assert not Webhook.objects.get().enabled
    assert "Switch on" in text_of(client, "/webhooks/in/in/")
    client.post("/webhooks/in/in/on/")
    assert Webhook.objects.get().enabled
    assert client.post("/webhooks/in/in/delete/", {"reason": "over"})["Location"] == "/webhooks/"
    assert not Webhook.objects.exists()
    assert Run.objects.count() == 1
    rows = AuditEntry.objects.filter(object_type="webhook").order_by("id").values_list("action", "reason")
    assert list(rows)[1:] == [("webhooks.update", "a flood"), ("webhooks.update", ""), ("webhooks.delete", "over")]


@pytest.mark.parametrize(
    ("reason", "words"), [("bell \x07", "control character"), ("x" * 501, "at most 500"), ("\x00", "Null characters")]
)
def test_a_reason_that_cannot_be_kept_is_refused_in_words(secret: str, reason: str, words: str) -> None:
    client = signed_in("developer")
    run = deliver(secret, 1)["delivery"]
    for path in ("off/", "delete/", f"deliveries/{run}/resend/"):
        said = client.post(f"/webhooks/in/in/{path}", {"reason": reason}, follow=True)
        assert said.status_code == 200
        assert words in said.content.decode()
    assert Webhook.objects.get().enabled
    assert Delivery.objects.get().resent == 0


def test_deliveries_are_paged_inspected_and_sent_again(secret: str) -> None:
    client = signed_in("operator")
    for number in range(PAGE + 1):
        deliver(secret, number)
    first = text_of(client, "/webhooks/in/in/")
    assert first.count('hx-trigger="toggle once"') == PAGE
    cursor = re.findall(r"\?cursor=([0-9a-f-]+)#", first)[0]
    older = text_of(client, f"/webhooks/in/in/?cursor={cursor}")
    assert older.count('hx-trigger="toggle once"') == 1
    assert text_of(client, "/webhooks/in/in/?cursor=x").count('hx-trigger="toggle once"') == PAGE
    row = Delivery.objects.order_by("id").first()
    assert row is not None
    assert str(row.pk) in older
    what = text_of(client, f"/webhooks/in/in/deliveries/{row.pk}/")
    assert "&quot;n&quot;: 0" in what
    assert secret not in what
    answer = client.post(f"/webhooks/in/in/deliveries/{row.pk}/resend/", {"reason": "mended"}, follow=True)
    assert "accepted: a run is begun" in answer.content.decode()
    assert Run.objects.count() == PAGE + 2
    assert AuditEntry.objects.get(action="webhooks.resend").reason == "mended"
    other = services.webhook_create("other", "echo", scheme="github", actor=ACTOR)[0].name
    for path in (f"deliveries/{row.pk}/", f"deliveries/{uuid.uuid4()}/"):
        assert client.get(f"/webhooks/in/{other}/{path}").status_code == 404


def test_a_refused_delivery_says_why(secret: str) -> None:
    deliver(secret, 1)
    services.webhook_update("in", {"mapping": "{other: n}"}, actor=ACTOR)
    deliver(secret, 2)
    page = text_of(signed_in("viewer"), "/webhooks/in/in/")
    assert ">refused</span>" in page
    assert "other" in page
    assert "Send again" not in page


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_each_action_asks_for_its_grant(secret: str, role: str) -> None:
    client = signed_in(role)
    run = deliver(secret, 1)["delivery"]
    paths = ("", "in/in/", "in/in/rotate/", "in/in/on/", "in/in/off/", "in/in/delete/")
    assert {client.post(f"/webhooks/{path}").status_code for path in paths} == {403}
    sent = client.post(f"/webhooks/in/in/deliveries/{run}/resend/").status_code
    assert sent == (303 if role == "operator" else 403)
    assert client.get("/webhooks/in/in/off/").status_code == 405
    assert signed_in(None).get("/webhooks/").status_code == 403


@pytest.mark.parametrize("scheme", list(schemes.SCHEMES))
def test_the_signed_request_of_the_page_is_signed(scheme: str) -> None:
    snippet = examples.signed(scheme, "http://127.0.0.1/hooks/in", {"text": "it's kelp"})
    told = vault.fresh()
    shell = f'curl() {{ for a in "$@"; do printf \'%s\\n\' "$a"; done; }}\n{snippet}'
    # The secret is asked for and read from the terminal: nothing of it is an argument.
    out = subprocess.run(
        ["/bin/bash", "-c", shell], input=f"{told}\n", capture_output=True, text=True, check=True, env=dict(os.environ)
    ).stdout.splitlines()
    headers = dict(line.split(": ", 1) for line in out if ": " in line and not line.startswith("{"))
    body = out[-1].encode()
    assert json.loads(body) == {"text": "it's kelp"}
    schemes.SCHEMES[scheme](headers, body, [told], time.time(), 60)
