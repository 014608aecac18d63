from holdfast.access.models import AuditEntry
from runs.models import Run
from tests.support.api import problem

NOBODY = "01900000-0000-7000-8000-000000000000"
NEW = {"name": "crm", "url": "https://example.org/hooks", "events": ["run.failed"], "reason": "for sales"}


def test_an_endpoint_is_made_shown_changed_and_deleted(api):
    made = api.post("/endpoints", NEW)
    assert made.status_code == 201
    secret = made.json().pop("secret")
    assert secret.startswith("whsec_")
    shown = api.get("/endpoints/crm").json()
    assert (shown["url"], shown["events"], shown["tasks"], shown["enabled"]) == (NEW["url"], ["run.failed"], [], True)
    assert api.get("/endpoints").json() == {"items": [shown]}
    assert api.patch("/endpoints/crm", {"tasks": ["echo"]}).json()["tasks"] == ["echo"]
    rotated = api.post("/endpoints/crm/rotate", {})
    assert rotated.json()["secret"] != secret
    assert "secret" not in api.get("/endpoints/crm").json()
    sent = api.post("/endpoints/crm/test", {"reason": "try"})
    assert sent.status_code == 201
    assert Run.objects.get(pk=sent.json()["run_id"]).payload["body"]["type"] == "test"
    assert api.send("DELETE", "/endpoints/crm").status_code == 204
    assert api.get("/endpoints/crm").status_code == 404
    assert AuditEntry.objects.filter(object_type="endpoint", reason="for sales").count() == 1


def test_what_is_wrong_with_an_endpoint_is_named(api, refused):
    refused(api.post("/endpoints", {"name": "crm"}), 422, field="url")
    refused(api.post("/endpoints", {**NEW, "url": "nowhere"}), 422, field="url")
    refused(api.post("/endpoints", {**NEW, "name": "C R M"}), 422, field="name")
    refused(api.post("/endpoints", {**NEW, "events": ["run.ended"]}), 422, field="events")
    refused(api.post("/endpoints", {**NEW, "color": "red"}), 422, field="color")
    api.post("/endpoints", NEW)
    refused(api.post("/endpoints", NEW), 409, "endpoint_exists")
    refused(api.patch("/endpoints/other", {"enabled": False}), 404, "unknown_endpoint")


def test_viewers_see_endpoints_and_developers_change_them(with_role, known_tasks, refused):
    viewer, operator = with_role("viewer"), with_role("operator")
    assert viewer.get("/endpoints").status_code == 200
    refused(operator.post("/endpoints", NEW), 403)
    assert with_role("developer").post("/endpoints", NEW).status_code == 201
    for path in ("/endpoints/crm/rotate", "/endpoints/crm/test"):
        refused(operator.post(path, {}), 403)
    refused(operator.send("DELETE", "/endpoints/crm"), 403)


def test_deliveries_are_listed_by_endpoint_and_sent_again(api):
    names = ["crm", "x" * 99 + "a", "x" * 99 + "b"]  # the two have one tag
    for name in names:
        api.post("/endpoints", {**NEW, "name": name})
    sent = {name: [api.post(f"/endpoints/{name}/test", {}).json()["run_id"] for _ in range(2)] for name in names}
    for name in names:
        first = api.get(f"/endpoints/{name}/deliveries?limit=1").json()
        rest = api.get(f"/endpoints/{name}/deliveries?limit=1&cursor={first['next']}").json()
        assert [item["id"] for item in first["items"] + rest["items"]] == sent[name][::-1]
        assert rest["next"] is None
    item = first["items"][0]
    assert (item["type"], item["status"], item["attempt"], item["max_attempts"]) == ("test", "queued", 0, 9)
    path = f"/endpoints/crm/deliveries/{sent['crm'][0]}"
    problem(api.post(f"{path}/resend", {}), 409)
    api.post(f"/runs/{sent['crm'][0]}/cancel", {})
    assert api.post(f"{path}/resend", {"reason": "mended"}).json() == {"run_id": sent["crm"][0]}
    assert Run.objects.get(pk=sent["crm"][0]).status == "queued"
    assert AuditEntry.objects.get(action="webhooks.resend_delivery").reason == "mended"
    problem(api.post(f"/endpoints/crm/deliveries/{sent[names[1]][0]}/resend", {}), 404, "unknown_delivery")
    problem(api.post(f"/endpoints/crm/deliveries/{NOBODY}/resend", {}), 404, "unknown_delivery")
    problem(api.post("/endpoints/crm/deliveries/7/resend", {}), 422, field="run_id")
    api.patch("/endpoints/crm", {"enabled": False})
    problem(api.post(f"/endpoints/crm/deliveries/{sent['crm'][1]}/resend", {}), 409)
