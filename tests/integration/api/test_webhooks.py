import json
import time
import uuid

from django.test import Client

from holdfast.access.models import AuditEntry
from runs.models import Run
from runs.webhooks import schemes
from runs.webhooks.model import Delivery
from tests.support.api import problem

NEW = {"name": "in", "task": "typed", "mapping": "{count: n}"}


def deliver(secret, n):
    data = json.dumps({"n": n}).encode()
    headers = schemes.sign(secret, str(uuid.uuid4()), int(time.time()), data)
    return Client().generic("POST", "/hooks/in", data, "application/json", headers=headers).json()


def test_a_webhook_is_made_used_changed_and_its_deliveries_sent_again(api):
    made = api.post("/webhooks", NEW)
    assert made.status_code == 201
    secret = made.json()["secret"]
    assert deliver(secret, 3)["outcome"] == "accepted"
    assert "errors" in deliver(secret, "many")
    shown = api.get("/webhooks/in").json()
    assert (shown["task"], shown["mapping"], shown["scheme"]) == ("typed", "{count: n}", "standard")
    assert shown["enabled"]
    assert "secret" not in shown
    assert api.get("/webhooks").json() == {"items": [shown]}
    refused, accepted = api.get("/webhooks/in/deliveries").json()["items"]
    assert (accepted["outcome"], refused["outcome"], refused["body"]) == ("accepted", "refused", {"n": "many"})
    assert api.patch("/webhooks/in", {"mapping": "{count: `7`}"}).json()["mapping"] == "{count: `7`}"
    again = api.post(f"/webhooks/deliveries/{refused['id']}/resend", {"reason": "mended"}).json()
    assert (again["outcome"], again["resent"]) == ("accepted", 1)
    assert Run.objects.get(pk=again["run_id"]).payload == {"count": 7}
    assert AuditEntry.objects.get(action="webhooks.resend").reason == "mended"
    rotated = api.post("/webhooks/in/rotate", {"overlap": 0}).json()
    assert rotated["secret"] != secret
    assert deliver(rotated["secret"], 1)["outcome"] == "accepted"


def test_deliveries_are_read_page_by_page_and_go_with_their_webhook(api):
    secret = api.post("/webhooks", {**NEW, "reason": "for sales"}).json()["secret"]
    assert AuditEntry.objects.get(action="webhooks.create").reason == "for sales"
    for n in range(5):
        deliver(secret, n)
    first = api.get("/webhooks/in/deliveries?limit=3").json()
    rest = api.get(f"/webhooks/in/deliveries?limit=3&cursor={first['next']}").json()
    assert [item["body"]["n"] for item in first["items"] + rest["items"]] == [4, 3, 2, 1, 0]
    assert rest["next"] is None
    problem(api.get("/webhooks/in/deliveries?cursor=x"), 422, field="cursor")
    assert api.send("DELETE", "/webhooks/in", {"reason": "over"}).status_code == 204
    problem(api.get("/webhooks/in"), 404, "unknown_webhook")
    assert not Delivery.objects.exists()
    assert Run.objects.count() == 5, "runs stay"
    entry = AuditEntry.objects.get(action="webhooks.delete")
    assert (entry.reason, entry.before["mapping"]) == ("over", "{count: n}")
    assert secret not in str(entry.before)


def test_what_is_wrong_with_a_webhook_is_named(api, refused):
    refused(api.post("/webhooks", {**NEW, "name": "A B"}), 422, field="name")
    refused(api.post("/webhooks", {**NEW, "task": "nothing"}), 404, field="task_id")
    refused(api.post("/webhooks", {**NEW, "scheme": "paypal"}), 422, field="scheme")
    refused(api.post("/webhooks", {**NEW, "secret": "short"}), 422, field="secret")
    refused(api.post("/webhooks", {**NEW, "filter": "a =="}), 422, field="filter")
    refused(api.post("/webhooks", {**NEW, "window": 0}), 422, field="window")
    refused(api.post("/webhooks", {**NEW, "color": 1}), 422, field="color")
    api.post("/webhooks", NEW)
    refused(api.post("/webhooks", NEW), 409, "webhook_exists")
    for overlap in (-1, 10**12, 1.5, "long", True, None, [60]):
        refused(api.post("/webhooks/in/rotate", {"overlap": overlap}), 422, field="overlap")
    for task in (None, True, 7, ["typed"], {"id": "typed"}):
        refused(api.patch("/webhooks/in", {"task": task}), 422, field="task")
    refused(api.get("/webhooks/out"), 404, "unknown_webhook")
    refused(api.get("/webhooks/in/deliveries?limit=0"), 422, field="limit")
    refused(api.post("/webhooks/deliveries/7/resend", {}), 422, field="delivery_id")
    refused(api.post(f"/webhooks/deliveries/{uuid.uuid4()}/resend", {}), 404, "unknown_delivery")


def test_each_asks_for_its_grant(with_role, known_tasks, refused):
    viewer, operator = with_role("viewer"), with_role("operator")
    assert viewer.get("/webhooks").status_code == 200
    refused(operator.post("/webhooks", NEW), 403)
    refused(viewer.post(f"/webhooks/deliveries/{uuid.uuid4()}/resend", {}), 403)
    refused(operator.post(f"/webhooks/deliveries/{uuid.uuid4()}/resend", {}), 404)
