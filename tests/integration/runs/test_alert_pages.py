"""Alerts and channels on their pages: made, previewed, silenced, acknowledged, and what fired."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from holdfast.access.grants import Actor
from holdfast.access.models import AuditEntry
from runs.alerts import channels, measuring, services
from runs.alerts.model import Alert, Channel, Firing
from runs.models import Run
from runs.views.alerts import FIRINGS
from tests.support import stored
from tests.support.alerts import look_at_alerts
from tests.support.people import signed_in

pytestmark = pytest.mark.usefixtures("registered")
ACTOR = Actor.local()
RATE: dict[str, Any] = {"kind": "failure_rate", "task": "sums", "threshold": 10, "min_runs": 5}
NEW = {
    "name": "rate", "kind": "failure_rate", "task": "sums", "queue": "", "schedule": "x", "unit": "y",
    "threshold": "10 %", "percentile": "z", "window": "30m", "min_runs": "5", "hold": "", "reason": "for ops",
}  # fmt: skip
PAST: dict[str, Any] = {"threshold": 1, "value": 2, "peak": 2, "summary": "2.0 %: rule", "link": "/runs/"}
EDIT = {name: NEW[name] for name in ("task", "queue", "threshold", "window", "min_runs", "hold", "reason")}
CHANNEL = {
    "name": "ops",
    "kind": "json",
    "recipients": "",
    "url": "https://example.org/hook?token=s3cret",
    "reason": "",
}


@pytest.fixture(autouse=True)
def sums(registered: None) -> None:
    stored.task("sums")


@pytest.fixture
def firing() -> Alert:
    stored.ended(6, "failed")
    channels.channel_create("pager", "json", url="https://example.org/hook", actor=ACTOR)
    services.alert_create("rate", actor=ACTOR, channels=["pager"], **RATE)
    look_at_alerts()
    return Alert.objects.get()


def text_of(client: Client, path: str) -> str:
    response = client.get(path)
    assert response.status_code == 200
    return response.content.decode().replace("&#x27;", "'")


def test_empty_lists_teach_and_viewers_make_nothing() -> None:
    client = signed_in("viewer")
    assert "manage.py alerts create" in text_of(client, "/alerts/")
    page = text_of(client, "/alerts/channels/")
    assert "manage.py channels create" in page
    assert "HOLDFAST_EMAIL_URL" in page
    assert "New channel" not in page


def test_what_fires_stands_first_and_unmeasured_is_not_green(firing: Alert) -> None:
    services.alert_create("a-blind-one", actor=ACTOR, **{**RATE, "min_runs": 100})
    services.alert_create("b-calm", actor=ACTOR, kind="head_wait", threshold=60)
    look_at_alerts()
    services.alert_create("c-off", actor=ACTOR, enabled=False, **RATE)
    page = text_of(signed_in("viewer"), "/alerts/")
    states = re.findall(r'<tr>.*?data-status="(\w+)"', page, re.DOTALL)
    assert states == ["bad", "unknown", "good", "scheduled"]
    assert "100.0 %" in page
    assert "failure rate of sums over 1h above 10 %" in page


def test_the_menu_counts_what_fires_and_nobody_has_acknowledged(firing: Alert) -> None:
    client = signed_in("viewer")
    badge = re.compile(r'id="badge-alerts">(\d*)')
    assert badge.findall(text_of(client, "/tasks/")) == ["1"]
    services.alert_acknowledge("rate", actor=ACTOR)
    assert badge.findall(text_of(client, "/tasks/")) == [""]


def test_an_alert_is_made_with_what_its_kind_has_whatever_stands_in_the_other_fields() -> None:
    client = signed_in("developer")
    response = client.post("/alerts/", NEW)
    assert response.status_code == 302
    assert response["Location"] == "/alerts/rate/"
    row = Alert.objects.get()
    assert (row.threshold, row.window, row.hold, row.min_runs, row.unit) == (10, 1_800, 0, 5, "")
    assert AuditEntry.objects.get(action="alerts.create").reason == "for ops"
    again = client.post("/alerts/", NEW)
    assert again.status_code == 422
    assert "is in use; choose another" in again.content.decode()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": ""}, "This field is required"),
        ({"name": "A B"}, "must be 1 to 80 of a-z"),
        ({"name": "channels"}, "the address of something else"),
        ({"kind": "weather"}, "Select a valid choice"),
        ({"task": "sumz"}, "did you mean sums?"),
        ({"task": "su\x00"}, "Null characters"),
        ({"threshold": ""}, "This field is required"),
        ({"threshold": "much"}, "write a number"),
        ({"threshold": "nan"}, "write percent"),
        ({"threshold": "9" * 400}, "write percent"),
        ({"kind": "latency", "threshold": "much"}, "write a duration"),
        ({"window": "90s"}, "write whole minutes"),
        ({"window": "soon"}, "write a duration"),
        ({"min_runs": "9" * 5_000}, "write a number"),
        ({"min_runs": "some"}, "write a number"),
        ({"kind": "spend"}, "write a unit"),
        ({"channels": ["nobody"]}, "Select a valid choice"),
        ({"reason": "x" * 501}, "at most 500 characters"),
        ({"reason": "bell \x07"}, "control character"),
    ],
)
def test_what_is_wrong_is_said_in_the_form_and_nothing_is_made(change: dict[str, Any], words: str) -> None:
    asked = {**NEW, "unit": "", **change}
    response = signed_in("developer").post("/alerts/", asked)
    assert response.status_code == 422
    page = response.content.decode().replace("&#x27;", "'")
    assert 'class="errorlist"' in page
    assert words in page
    assert not Alert.objects.exists()


@pytest.mark.parametrize(
    ("field", "typed", "how"),
    [
        ("window", "400d", "whole minutes from 1m to 1d"),
        ("hold", "9d", "a duration of at most 1d"),
        ("threshold", "-1", "percent from 0 to below 100"),
        ("threshold", "1e400", "percent from 0 to below 100"),
    ],
)
def test_a_form_answers_in_the_units_that_it_takes(firing: Alert, field: str, typed: str, how: str) -> None:
    refused = signed_in("developer").post("/alerts/rate/", {**EDIT, field: typed})
    assert refused.status_code == 422
    page = refused.content.decode().replace("&#x27;", "'")
    said = re.findall(r'<ul class="errorlist"[^>]*><li>(.*?)</li>', page)
    assert said
    assert all(f"is '{typed}'; write {how}" in words and "3456" not in words for words in said)


def test_a_rule_is_previewed_before_it_is_stored(firing: Alert) -> None:
    client = signed_in("developer")
    shown = client.post("/alerts/", {**NEW, "name": "new", "preview": "1"})
    assert shown.status_code == 200
    page = shown.content.decode()
    assert "It would have fired once" in page
    assert "data-figure=" in page
    assert Alert.objects.count() == 1
    refused = client.post("/alerts/", {**NEW, "name": "new", "threshold": "much", "preview": "1"})
    assert refused.status_code == 422
    part = refused.content.decode().partition('id="preview"')[2]
    assert "Fires above: is &#x27;much&#x27;; write a number" in part
    edited = client.post("/alerts/rate/", {**EDIT, "threshold": "99.5", "min_runs": "100", "preview": "1"})
    assert "would not have fired" in edited.content.decode()
    assert Alert.objects.get().threshold == 10


def test_the_page_of_an_alert_has_its_preview_also_without_scripts(firing: Alert) -> None:
    client = signed_in("viewer")
    assert 'hx-get="/alerts/rate/preview/"' in text_of(client, "/alerts/rate/")
    assert "It would have fired once" in text_of(client, "/alerts/rate/?preview=1")
    assert "It would have fired once" in text_of(client, "/alerts/rate/preview/")
    assert client.get("/alerts/nowhere/preview/").status_code == 404


def test_a_preview_that_takes_too_long_says_so(firing: Alert, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "PATIENCE", 50)
    client = signed_in("developer")
    with stored.locked("runs_rollup"):
        for path in ("/alerts/rate/preview/", "/alerts/rate/?preview=1"):
            assert "It took longer than 0.05 s to measure" in text_of(client, path)
        shown = client.post("/alerts/", {**NEW, "name": "new", "preview": "1"})
        assert shown.status_code == 422
        assert "It took longer than 0.05 s to measure" in shown.content.decode()


def test_an_edit_is_in_force_and_a_refused_one_keeps_what_was_written(firing: Alert) -> None:
    client = signed_in("developer")
    assert client.post("/alerts/rate/", {**EDIT, "hold": "5m", "channels": ["pager"]}).status_code == 302
    row = Alert.objects.get()
    assert (row.hold, row.window, row.state) == (300, 1_800, "unmeasured")
    assert Firing.objects.get().ended == "changed"
    refused = client.post("/alerts/rate/", {**EDIT, "window": "forever"})
    assert refused.status_code == 422
    assert 'value="forever"' in refused.content.decode()
    assert client.post("/alerts/rate/", {**EDIT, "reason": "\x07"}).status_code == 422


def test_it_is_silenced_and_acknowledged_by_operators(firing: Alert) -> None:
    client = signed_in("operator")
    page = text_of(client, "/alerts/rate/")
    assert "Acknowledge" in page
    assert "Switch off" not in page
    assert client.post("/alerts/rate/silence/", {"time": "4h", "reason": "a release"}).status_code == 303
    page = text_of(client, "/alerts/rate/")
    assert "Tell again" in page
    assert "a release" in page
    assert "by operator-person, ends <time" in page
    assert "silenced, ends <time" in text_of(client, "/alerts/")
    assert client.post("/alerts/rate/acknowledge/", {"reason": "on it"}).status_code == 303
    assert "known to operator-person" in text_of(client, "/alerts/rate/")
    again = client.post("/alerts/rate/acknowledge/", follow=True)
    assert "was acknowledged already" in again.content.decode()
    client.post("/alerts/rate/unsilence/")
    assert Alert.objects.get().silenced_until is None
    wrong = client.post("/alerts/rate/silence/", {"time": "9d"}, follow=True)
    assert "Select a valid choice" in wrong.content.decode()
    assert Alert.objects.get().silenced_until is None


def test_it_is_switched_off_and_on_and_deleted(firing: Alert) -> None:
    client = signed_in("developer")
    client.post("/alerts/rate/off/", {"reason": "a flood"})
    assert not Alert.objects.get().enabled
    assert "nobody looks at it" in text_of(client, "/alerts/rate/")
    client.post("/alerts/rate/on/")
    assert Alert.objects.get().enabled
    assert client.post("/alerts/rate/delete/", {"reason": "over"})["Location"] == "/alerts/"
    assert not Alert.objects.exists()
    rows = AuditEntry.objects.filter(object_type="alert").order_by("id").values_list("action", "reason")
    assert list(rows)[1:] == [("alerts.update", "a flood"), ("alerts.update", ""), ("alerts.delete", "over")]
    changed = text_of(client, "/changes/?kind=alerts")
    assert "delete alert" in changed


def test_firings_are_paged(firing: Alert) -> None:
    now = timezone.now()
    Firing.objects.bulk_create(
        Firing(alert=firing, since=now, until=now, ended="recovered", threshold=1, value=2, peak=2, peak_at=now,
               summary="2.0 %: rule", link="/runs/")
        for _ in range(FIRINGS)
    )  # fmt: skip
    client = signed_in("viewer")
    first = text_of(client, "/alerts/rate/")
    assert first.count("began with") == FIRINGS
    cursor = re.findall(r"\?cursor=(\d+)#", first)[0]
    assert text_of(client, f"/alerts/rate/?cursor={cursor}").count("began with") == 1
    assert "Nothing older" in text_of(client, "/alerts/rate/?cursor=1")
    for wrong in ("x", "0", "-1", "9" * 30, "%00"):
        assert text_of(client, f"/alerts/rate/?cursor={wrong}").count("began with") == FIRINGS


def test_the_front_pages_of_others_show_hostile_words_as_they_are(firing: Alert) -> None:
    Firing.objects.update(summary="<script>x</script>: rule", acknowledged_at=timezone.now(), acknowledged_by="<b>ann")
    Alert.objects.update(note="<i>", silence_reason="<u>", silenced_until=timezone.now() + timezone.timedelta(hours=1))
    client = signed_in("viewer")
    for path in ("/alerts/", "/alerts/rate/"):
        main = text_of(client, path).partition("<main")[2].partition("</main")[0]
        for tag in ("<script>", "<b>", "<i>", "<u>"):
            assert tag not in main


# ── channels ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_channel_is_made_tried_changed_and_deleted_and_its_address_is_shown_to_nobody() -> None:
    client = signed_in("developer")
    assert client.post("/alerts/channels/", CHANNEL)["Location"] == "/alerts/channels/ops/"
    assert client.post("/alerts/channels/", CHANNEL).status_code == 422
    for path in ("/alerts/channels/", "/alerts/channels/ops/"):
        page = text_of(client, path)
        assert "https://example.org/…" in page
        assert "s3cret" not in page
    client.post("/alerts/channels/ops/test/")
    assert "[test] Holdfast" in text_of(client, "/alerts/channels/ops/")
    assert Run.objects.get().tags == ["channel:ops"]
    before = Channel.objects.get().url
    assert client.post("/alerts/channels/ops/", {"url": "", "reason": ""}).status_code == 302
    assert Channel.objects.get().url == before, "left empty, it stays"
    assert client.post("/alerts/channels/ops/", {"url": "nowhere"}).status_code == 422
    client.post("/alerts/channels/ops/off/")
    assert "Switch on" in text_of(client, "/alerts/channels/ops/")
    client.post("/alerts/channels/ops/on/")
    client.post("/alerts/channels/ops/delete/")
    assert not Channel.objects.exists()


def test_mailboxes_are_read_from_a_line_and_wrong_ones_are_named() -> None:
    client = signed_in("developer")
    asked = {**CHANNEL, "kind": "email", "recipients": "ann@example.org, bob@example.org", "url": "ignored"}
    assert client.post("/alerts/channels/", asked).status_code == 302
    assert Channel.objects.get().recipients == ["ann@example.org", "bob@example.org"]
    for recipients, words in {
        "": "is missing",
        "nobody": "has &#x27;nobody&#x27;, which is no address",
        "a@example.org\x00": "Null characters",
    }.items():
        refused = client.post("/alerts/channels/", {**asked, "name": "two", "recipients": recipients})
        assert refused.status_code == 422
        assert words in refused.content.decode()


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_each_action_asks_for_its_grant(firing: Alert, role: str) -> None:
    client = signed_in(role)
    of_alerts, of_channels = (
        ("", "rate/", "rate/on/", "rate/off/", "rate/delete/"),
        ("", "test/", "on/", "off/", "delete/"),
    )
    edits = (*of_alerts, "channels/", *(f"channels/pager/{path}" for path in of_channels))
    assert {client.post(f"/alerts/{path}").status_code for path in edits} == {403}
    for path in ("silence", "unsilence", "acknowledge"):
        got = client.post(f"/alerts/rate/{path}/", {"time": "1h"}).status_code
        assert got == (303 if role == "operator" else 403)
        assert client.get(f"/alerts/rate/{path}/").status_code == 405
    for path in ("nowhere/", "channels/nowhere/", "a%00b/", "channels/%00/", "%F0%9F%90%99/"):
        assert client.get(f"/alerts/{path}").status_code == 404
    assert signed_in(None).get("/alerts/").status_code == 403
