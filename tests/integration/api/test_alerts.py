"""/alerts and /channels over HTTP."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from holdfast.access.models import AuditEntry
from runs.alerts.model import Alert, Firing
from runs.models import Run
from tests.support import stored
from tests.support.alerts import look_at_alerts

NEW: dict[str, Any] = {"name": "rate", "kind": "failure_rate", "task": "sums", "threshold": 10, "min_runs": 5}
HOOK = {"name": "ops", "kind": "json", "url": "https://example.org/hook?token=s3cret"}


@pytest.fixture(autouse=True)
def sums(known_tasks: None) -> None:
    stored.task("sums")


def test_an_alert_is_made_shown_changed_and_deleted(api: Any) -> None:
    api.post("/channels", HOOK)
    made = api.post("/alerts", {**NEW, "channels": ["ops"], "reason": "for ops"})
    assert made.status_code == 201
    shown = api.get("/alerts/rate").json()
    assert shown == made.json()
    assert (shown["state"], shown["value"], shown["channels"], shown["window"]) == ("unmeasured", None, ["ops"], 3_600)
    assert shown["condition"] == "failure rate of sums over 1h above 10 %"
    assert api.get("/alerts").json() == {"items": [shown]}
    assert api.patch("/alerts/rate", {"hold": 60, "channels": []}).json()["hold"] == 60
    assert api.send("DELETE", "/alerts/rate").status_code == 204
    assert api.get("/alerts/rate").status_code == 404
    assert AuditEntry.objects.filter(object_type="alert", reason="for ops").count() == 1


def test_what_fires_is_told_acknowledged_and_listed(api: Any) -> None:
    stored.ended(6, "failed")
    api.post("/alerts", NEW)
    look_at_alerts()
    shown = api.get("/alerts/rate").json()
    assert (shown["state"], shown["value"], shown["firing"]["until"]) == ("firing", 100, None)
    assert shown["firing"]["examples"].startswith("/runs/?q=task:sums")
    silenced = api.post("/alerts/rate/silence", {"seconds": 3_600, "reason": "known"}).json()
    assert silenced["silence_reason"] == "known"
    assert silenced["silenced_until"] is not None
    assert api.post("/alerts/rate/unsilence", {}).json()["silenced_until"] is None
    known = api.post("/alerts/rate/acknowledge", {"reason": "on it"}).json()
    assert known["acknowledged_why"] == "on it"
    assert api.get("/alerts/rate/firings").json() == {"items": [known], "next": None}


def test_firings_go_on_page_by_page(api: Any, refused: Any) -> None:
    api.post("/alerts", NEW)
    now = timezone.now()
    for _ in range(3):
        Firing.objects.create(
            alert=Alert.objects.get(), since=now, until=now, ended="off", threshold=1, value=2, peak=2, peak_at=now,
            summary="x", link="/runs/",
        )  # fmt: skip
    first = api.get("/alerts/rate/firings?limit=2").json()
    rest = api.get(f"/alerts/rate/firings?limit=2&cursor={first['next']}").json()
    assert [item["id"] for item in first["items"] + rest["items"]] == sorted(
        Firing.objects.values_list("id", flat=True), reverse=True
    )
    assert rest["next"] is None
    for wrong in ("cursor=x", "cursor=-1", "cursor=" + "9" * 30, "limit=0", "color=red"):
        refused(api.get(f"/alerts/rate/firings?{wrong}"), 422)


def test_a_rule_is_previewed_stored_or_not(api: Any) -> None:
    stored.ended(6, "failed")
    rule = {name: NEW[name] for name in NEW if name != "name"}
    found = api.post("/alerts/preview", rule).json()
    assert (found["times"], found["highest"], len(found["firings"])) == (1, 100, 1)
    assert len(found["points"]) == 7 * 24 * 4
    assert not Alert.objects.exists()
    api.post("/alerts", NEW)
    assert api.get("/alerts/rate/preview").json()["times"] == 1
    assert api.get("/alerts/preview").status_code == 405


def test_what_is_wrong_is_named(api: Any, refused: Any) -> None:
    for change, field in (
        ({"kind": "weather"}, "kind"),
        ({"threshold": "10"}, "threshold"),
        ({"threshold": 10**300}, "threshold"),
        ({"window": 61}, "window"),
        ({"window": 10**18}, "window"),
        ({"task": "nope"}, "task"),
        ({"task": ["sums"]}, "task"),
        ({"unit": "cost"}, "unit"),
        ({"channels": ["nobody"]}, "channels"),
        ({"channels": [1]}, "channels"),
        ({"name": "R"}, "name"),
        ({"color": "red"}, "color"),
    ):
        refused(api.post("/alerts", {**NEW, **change}), 422, field=field)
    refused(api.post("/alerts", {"name": "rate", "kind": "head_wait"}), 422, field="threshold")
    refused(api.post("/alerts", {"name": "rate", "threshold": 5}), 422, field="kind")
    refused(api.post("/alerts/preview", {}), 422, field="kind")
    api.post("/alerts", NEW)
    refused(api.post("/alerts", NEW), 409, "alert_exists")
    refused(api.patch("/alerts/rate", {}), 422)
    refused(api.patch("/alerts/other", {"hold": 60}), 404, "unknown_alert")
    refused(api.post("/alerts/rate/silence", {"seconds": 1}), 422, field="seconds")
    refused(api.post("/alerts/rate/silence", {"seconds": 10**400}), 422)
    refused(api.post("/alerts/rate/acknowledge", {}), 409, "wrong_state")
    for path in ("/alerts/a%00b", "/channels/%00"):
        assert api.get(path).status_code == 404


def test_a_channel_is_made_tried_and_its_address_is_told_to_nobody(api: Any, refused: Any) -> None:
    made = api.post("/channels", HOOK)
    assert made.status_code == 201
    assert made.json()["to"] == "https://example.org/…"
    assert api.get("/channels").json() == {"items": [api.get("/channels/ops").json()]}
    refused(api.post("/channels", HOOK), 409, "channel_exists")
    refused(api.post("/channels", {**HOOK, "name": "x", "url": "nowhere"}), 422, field="url")
    refused(api.post("/channels", {"name": "x", "kind": "email"}), 422, field="recipients")
    refused(api.post("/channels", {"name": "x", "kind": "pigeon"}), 422, field="kind")
    assert api.patch("/channels/ops", {"enabled": False}).json()["enabled"] is False
    sent = api.post("/channels/ops/test", {"reason": "try"})
    assert sent.status_code == 201
    [delivery] = api.get("/channels/ops/deliveries").json()["items"]
    assert (delivery["id"], delivery["type"], delivery["channel"]) == (sent.json()["run_id"], "test", "ops")
    assert "s3cret" not in str(Run.objects.get().payload)
    assert api.send("DELETE", "/channels/ops").status_code == 204
    assert api.get("/channels/ops").status_code == 404
