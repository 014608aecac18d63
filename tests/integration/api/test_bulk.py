from runs.bulk.model import BulkJob
from tests.support import stored
from tests.support.api import problem

NOBODY = "01900000-0000-7000-8000-000000000000"


def failed(count):
    return [str(stored.run("failed", "echo", age=600 - n, error=stored.error()).id) for n in range(count)]


def test_a_job_is_previewed_begun_listed_shown_and_aborted(api):
    ids = failed(3)
    seen = api.get("/bulk/preview?action=retry&q=task:echo").json()
    assert (seen["runs"], seen["exact"], seen["newest"]) == (3, True, ids[-1])
    later = failed(1)
    asked = {"action": "retry", "q": seen["q"], "newest": seen["newest"], "pace": "canary", "reason": "it is back"}
    made = api.post("/bulk", asked)
    assert made.status_code == 201
    job = made.json()
    assert made["Location"] == f"/api/v1/bulk/{job['id']}"
    assert (job["action"], job["pace"], job["search"], job["reason"]) == ("retry", "canary", seen["q"], "it is back")
    assert (job["status"], job["by"], job["outcomes"][0]["outcome"]) == ("queued", "token admin", "none")
    assert api.get(f"/bulk/{job['id']}").json() == job
    [listed] = api.get("/bulk").json()["items"]
    assert listed == {**job, "outcomes": []}
    first = api.get(f"/bulk/{job['id']}/items?limit=2").json()
    rest = api.get(f"/bulk/{job['id']}/items?limit=2&cursor={first['next']}").json()
    found = [item["run_id"] for item in first["items"] + rest["items"]]
    assert set(found) >= set(ids) or set(later) & set(found)
    assert rest["next"] is None
    assert api.get(f"/bulk/{job['id']}/items?outcome=done").json()["items"] == []
    assert len(api.get(f"/bulk/{job['id']}/items?outcome=none").json()["items"]) == job["total"]
    aborted = api.post(f"/bulk/{job['id']}/abort", {"reason": "wrong"})
    assert aborted.json()["status"] == "cancelled"
    problem(api.post(f"/bulk/{job['id']}/abort", {}), 409, "wrong_state")


def test_jobs_come_page_by_page_the_latest_first(api):
    ids = [api.post("/bulk", {"action": "cancel", "ids": failed(1)}).json()["id"] for _ in range(3)]
    first = api.get("/bulk?limit=2").json()
    rest = api.get(f"/bulk?limit=2&cursor={first['next']}").json()
    assert [item["id"] for item in first["items"] + rest["items"]] == ids[::-1]


def test_what_is_wrong_with_a_job_is_named(api):
    failed(1)
    for body, status, field in [
        ({}, 422, "action"),
        ({"action": "erase", "q": ""}, 422, "action"),
        ({"action": ["retry"], "q": ""}, 422, "action"),
        ({"action": "retry"}, 422, "q"),
        ({"action": "retry", "q": "", "ids": failed(1)}, 422, "q"),
        ({"action": "retry", "q": 7}, 422, "q"),
        ({"action": "retry", "q": "colour:red"}, 422, "q"),
        ({"action": "retry", "q": "tag:\x00"}, 422, "q"),
        ({"action": "retry", "q": "task:nothing"}, 422, "q"),
        ({"action": "retry", "ids": "x"}, 422, "ids"),
        ({"action": "retry", "ids": [10**40]}, 422, "ids[0]"),
        ({"action": "retry", "ids": [NOBODY] * 10_001}, 422, "ids"),
        ({"action": "retry", "q": "", "pace": {}}, 422, "pace"),
        ({"action": "cancel", "q": "", "pace": "canary"}, 422, "pace"),
        ({"action": "postpone", "q": ""}, 422, "delay"),
        ({"action": "postpone", "q": "", "delay": "soon"}, 422, "delay"),
        ({"action": "postpone", "q": "", "delay": 10**400}, 422, "delay"),
        ({"action": "postpone", "q": "", "delay": 0}, 422, "delay"),
        ({"action": "retry", "q": "", "delay": 60}, 422, "delay"),
        ({"action": "retry", "q": "", "newest": "x"}, 422, "newest"),
        ({"action": "retry", "q": "", "reason": "x" * 501}, 422, "reason"),
        ({"action": "retry", "q": "", "reason": "bell \x07"}, 422, "reason"),
        ({"action": "retry", "q": "", "color": 1}, 422, "color"),
    ]:
        problem(api.post("/bulk", body), status, field=field)
    problem(api.get("/bulk/preview?action=erase"), 422, field="action")
    problem(api.get("/bulk/preview?action=retry&q=colour:red"), 422, field="q")
    problem(api.get("/bulk/preview?action=retry&color=red"), 422, field="color")
    problem(api.get("/bulk/nope"), 422, field="job_id")
    problem(api.get(f"/bulk/{NOBODY}"), 404, "unknown_bulk_job")
    problem(api.get(f"/bulk/{NOBODY}/items"), 404, "unknown_bulk_job")
    problem(api.post(f"/bulk/{NOBODY}/abort", {}), 404, "unknown_bulk_job")
    job = api.post("/bulk", {"action": "retry", "q": ""}).json()["id"]
    problem(api.get(f"/bulk/{job}/items?outcome=lost"), 422, field="outcome")
    problem(api.get(f"/bulk/{job}/items?cursor=99999999999999999999"), 422, field="cursor")
    assert BulkJob.objects.count() == 1


def test_a_replay_needs_what_an_enqueue_needs(with_role, known_tasks):
    ids = failed(1)
    operator = with_role("operator")
    problem(operator.post("/bulk", {"action": "replay", "ids": ids}), 403, "grant_missing")
    assert operator.post("/bulk", {"action": "retry", "ids": ids}).status_code == 201
    assert with_role("developer").post("/bulk", {"action": "replay", "ids": ids}).status_code == 201


def test_next_attempts_of_many_are_put_off(api):
    ids = [str(stored.run("retrying", "echo").id) for _ in range(2)]
    assert api.get("/bulk/preview?action=postpone&q=task:echo").json()["q"] == "task:echo status:retrying"
    job = api.post("/bulk", {"action": "postpone", "q": "task:echo", "delay": 7200}).json()
    assert (job["action"], job["delay"], job["total"]) == ("postpone", 7200, 2)
    assert [item["run_id"] for item in api.get(f"/bulk/{job['id']}/items").json()["items"]] == ids
    assert api.post("/bulk", {"action": "cancel", "ids": ids}).json()["delay"] is None
