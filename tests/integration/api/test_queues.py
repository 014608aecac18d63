"""/queues: what is in them, and what may be changed."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from holdfast.access.models import AuditEntry
from queues.models import Queue

FIELDS = {
    "name", "pool", "concurrency_limit", "key_concurrency_limit", "rate", "paused", "depth", "running", "waiting_since",
}  # fmt: skip


def test_a_queue_shows_what_waits_what_is_delayed_and_since_when(api: Any) -> None:
    first = api.post("/tasks/echo/runs", {"options": {"priority": -5}}).json()
    api.post("/tasks/echo/batch", {"items": [{"options": {"priority": 5}}] * 3})
    api.post("/tasks/echo/runs", {"options": {"delay": 60}})
    queue = api.get("/queues/default").json()
    assert queue.keys() >= FIELDS
    assert (queue["depth"], queue["running"], queue["scheduled"]) == (4, 0, 1)
    assert queue["waiting_since"] == first["created_at"]  # the oldest, though it is the last in line
    assert (queue["concurrency_limit"], queue["rate"], queue["paused"]) == (None, None, False)
    empty = api.get("/queues/narrow").json()
    assert (empty["depth"], empty["waiting_since"], empty["concurrency_limit"]) == (0, None, 3)


def test_depth_is_not_counted_beyond_ten_thousand(api: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO queues_entry (entry_id, queue_id, lane, priority, ready_at, counts_from) "
            "SELECT gen_random_uuid(), q.id, 0, 0, now(), now() FROM queues_queue q, generate_series(1, 10500) "
            "WHERE q.name = 'default'"
        )
    assert api.get("/queues/default").json()["depth"] == 10_001


def test_queues_are_listed_in_order_of_name_in_pages(api: Any) -> None:
    Queue.objects.bulk_create(Queue(name=f"tenant-{n:03}") for n in range(120))
    names: list[str] = []
    cursor = ""
    while True:
        page = api.get(f"/queues?limit=50{cursor}").json()
        names += [queue["name"] for queue in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert names == list(Queue.objects.order_by("name").values_list("name", flat=True))
    assert [q["name"] for q in api.get("/queues?search=ANT-11").json()["items"]] == [f"tenant-11{n}" for n in range(10)]


def test_a_limit_is_edited_audited_and_taken_back(api: Any) -> None:
    edited = api.patch("/queues/narrow", {"concurrency_limit": 7, "reason": "more licences"})
    assert edited.status_code == 200
    assert (edited.json()["concurrency_limit"], edited.json()["limit_edited"]) == (7, True)
    unlimited = api.patch("/queues/narrow", {"concurrency_limit": None}).json()
    assert (unlimited["concurrency_limit"], unlimited["limit_edited"]) == (None, True)
    back = api.patch("/queues/narrow", {"limit_edited": False}).json()
    assert (back["concurrency_limit"], back["limit_edited"], back["declared_concurrency_limit"]) == (3, False, 3)
    rows = list(AuditEntry.objects.filter(object_type="queue").order_by("id"))
    assert [(r.action, r.object_id, r.before["concurrency_limit"], r.after["concurrency_limit"]) for r in rows] == [
        ("queues.update", "narrow", 3, 7),
        ("queues.update", "narrow", 7, None),
        ("queues.update", "narrow", None, 3),
    ]
    assert rows[0].reason == "more licences"


def test_a_rate_is_edited_in_either_form_and_taken_back(api: Any) -> None:
    edited = api.patch("/queues/narrow", {"rate": {"amount": 100, "per": "minute"}}).json()
    assert (edited["rate"], edited["rate_edited"], edited["limit_edited"]) == (
        {"amount": 100, "per": 60.0, "unit": None},
        True,
        False,
    )
    assert api.patch("/queues/narrow", {"rate": "5 per 2 s"}).json()["rate"] == {"amount": 5, "per": 2.0, "unit": None}
    assert api.patch("/queues/narrow", {"rate": None}).json()["rate"] is None
    back = api.patch("/queues/narrow", {"rate_edited": False}).json()
    assert (back["rate"], back["rate_edited"], back["declared_rate"]) == (None, False, None)


def test_a_limit_per_key_is_edited_and_taken_back(api: Any) -> None:
    edited = api.patch("/queues/narrow", {"key_concurrency_limit": 2}).json()
    assert (edited["key_concurrency_limit"], edited["key_limit_edited"], edited["limit_edited"]) == (2, True, False)
    back = api.patch("/queues/narrow", {"key_limit_edited": False}).json()
    assert (back["key_concurrency_limit"], back["key_limit_edited"]) == (None, False)


def test_a_rate_may_count_units_and_each_key_may_have_one(api: Any) -> None:
    edited = api.patch(
        "/queues/narrow", {"rate": "9,000 tokens per minute", "key_rate": {"amount": 2, "per": "minute"}}
    ).json()
    assert edited["rate"] == {"amount": 9_000, "per": 60.0, "unit": "tokens"}
    assert (edited["key_rate"]["amount"], edited["key_rate_edited"]) == (2, True)
    back = api.patch("/queues/narrow", {"rate_edited": False, "key_rate": None}).json()
    assert (back["rate"], back["key_rate"], back["key_rate_edited"]) == (None, None, True)


def test_weights_of_keys_are_edited_and_taken_back(api: Any) -> None:
    edited = api.patch("/queues/narrow", {"key_weights": {"gold": 3}}).json()
    assert (edited["key_weights"], edited["key_weights_edited"], edited["declared_key_weights"]) == (
        {"gold": 3},
        True,
        {},
    )
    assert api.patch("/queues/narrow", {"key_weights": None}).json()["key_weights"] == {}
    assert api.patch("/queues/narrow", {"key_weights_edited": False}).json()["key_weights_edited"] is False


def test_a_change_that_changes_nothing_leaves_no_audit_row(api: Any) -> None:
    api.patch("/queues/narrow", {"concurrency_limit": 7})
    api.patch("/queues/narrow", {"concurrency_limit": 7})
    assert AuditEntry.objects.filter(object_type="queue").count() == 1


def test_an_edit_outlives_the_next_start_of_the_code(api: Any) -> None:
    from runs import registration

    api.patch("/queues/narrow", {"concurrency_limit": 7})
    registration.register_all()
    assert api.get("/queues/narrow").json()["concurrency_limit"] == 7


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"concurrency_limit": 0}, "concurrency_limit"),
        ({"concurrency_limit": -1}, "concurrency_limit"),
        ({"concurrency_limit": 1_000_001}, "concurrency_limit"),
        ({"concurrency_limit": 10**3000}, "concurrency_limit"),
        ({"concurrency_limit": 1.5}, "concurrency_limit"),
        ({"concurrency_limit": True}, "concurrency_limit"),
        ({"concurrency_limit": "5"}, "concurrency_limit"),
        ({"limit_edited": True}, "limit_edited"),
        ({"limit_edited": None}, "limit_edited"),
        ({"limit_edited": False, "concurrency_limit": 4}, "limit_edited"),
        ({"name": "other"}, "name"),
        ({"actor": "other"}, "actor"),
        ({"pool": "gpu"}, "pool"),
        ({"key_concurrency_limit": 0}, "key_concurrency_limit"),
        ({"key_concurrency_limit": 10**12}, "key_concurrency_limit"),
        ({"key_limit_edited": True}, "key_limit_edited"),
        ({"key_weights": {"gold": 0}}, "key_weights"),
        ({"key_weights": ["gold"]}, "key_weights"),
        ({"rate": 5}, "rate"),
        ({"rate": "ten per minute"}, "rate"),
        ({"rate": {"amount": 0, "per": "minute"}}, "rate"),
        ({"rate": {"amount": 10, "per": "fortnight"}}, "rate"),
        ({"rate": {"amount": 10, "per": -1}}, "rate"),
        ({"rate": {"amount": 10**12, "per": "minute"}}, "rate"),
        ({"rate": {"amount": 10}}, "rate"),
        ({"rate": "10"}, "rate"),
        ({"rate_edited": True}, "rate_edited"),
        ({"rate_edited": False, "rate": "5/s"}, "rate_edited"),
        ({}, "concurrency_limit"),
        ({"reason": "only"}, "concurrency_limit"),
        ({"concurrency_limit": 4, "reason": "x" * 501}, "reason"),
    ],
)
def test_a_change_that_does_not_fit_names_the_field_and_changes_nothing(
    api: Any, refused: Any, change: dict[str, Any], field: str
) -> None:
    refused(api.patch("/queues/narrow", change), 422, None, field)
    assert Queue.objects.get(name="narrow").concurrency_limit == 3
    assert not AuditEntry.objects.filter(object_type="queue").exists()


def test_a_queue_is_paused_with_its_reason_and_resumed(api: Any) -> None:
    paused = api.post("/queues/narrow/pause", {"reason": "the supplier is down"}).json()
    assert (paused["paused"], paused["pause_reason"], paused["paused_by"]) == (
        True,
        "the supplier is down",
        "token admin",
    )
    again = api.post("/queues/narrow/pause", {"reason": "another"}).json()
    assert (again["paused_at"], again["pause_reason"]) == (paused["paused_at"], "the supplier is down")
    resumed = api.post("/queues/narrow/resume").json()
    assert (resumed["paused"], resumed["paused_at"], resumed["pause_reason"]) == (False, None, "")
    api.post("/queues/narrow/resume")
    actions = list(AuditEntry.objects.filter(object_type="queue").order_by("id").values_list("action", flat=True))
    assert actions == ["queues.pause", "queues.resume"]


@pytest.mark.parametrize("call", ["GET ", "PATCH ", "POST /pause", "POST /resume"])
@pytest.mark.parametrize("name", ["nowhere", "narow", "%00", "x" * 3000, "ü", "..", "a b"])
def test_a_queue_that_does_not_exist_is_a_404(api: Any, refused: Any, call: str, name: str) -> None:
    method, rest = call.split(" ")
    body = {"concurrency_limit": 1} if method == "PATCH" else b""
    said = refused(api.send(method, f"/queues/{name}{rest}", body), 404)
    assert name != "narow" or "narrow" in said["detail"]


def test_a_change_wakes_the_pool_when_it_commits(api: Any, django_capture_on_commit_callbacks: Any) -> None:
    from rq import Queue as RQQueue

    from queues import tickets

    tickets.connection.cache_clear()
    tickets.connection().flushdb()
    waiting = RQQueue("default", connection=tickets.connection())
    with django_capture_on_commit_callbacks(execute=True):
        api.patch("/queues/narrow", {"concurrency_limit": 9})
        assert waiting.count == 0
    assert waiting.count == 1  # nobody listens, so the wake-up became a ticket


def test_times_of_a_pause_come_from_the_database_clock(api: Any) -> None:
    from holdfast.access.selectors import database_now

    api.post("/queues/narrow/pause")
    at = Queue.objects.get(name="narrow").paused_at
    assert at is not None
    assert abs(database_now() - at) < timedelta(minutes=1)


def test_a_pause_may_be_for_a_time_or_a_drain_and_is_undone(api: Any) -> None:
    paused = api.post("/queues/narrow/pause", {"seconds": 90, "drain": True}).json()
    assert (paused["paused"], paused["drains"]) == (True, True)
    assert paused["paused_until"] > paused["paused_at"]
    undone = api.post("/queues/narrow/undo").json()
    assert (undone["paused"], undone["paused_until"], undone["drains"]) == (False, None, False)
    for wrong in (0, "60", 10**12, True):
        refused = api.post("/queues/narrow/pause", {"seconds": wrong})
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["field"] == "seconds"


def test_what_was_never_changed_cannot_be_undone(api: Any) -> None:
    refused = api.post("/queues/narrow/undo")
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "queue")


def test_what_a_change_would_have_done_is_asked_without_making_it(api: Any, with_role: Any, refused: Any) -> None:
    asked = {"concurrency_limit": 1, "rate": {"amount": 5, "per": "minute"}}
    answer = api.post("/queues/default/what-if", asked)
    assert answer.status_code == 200
    found = answer.json()
    assert (found["runs"], found["more"]) == (0, False)
    assert found["before"] == found["after"] == {"p50": 0, "p95": 0, "longest": 0, "delayed": 0}
    assert api.get("/queues/default").json()["concurrency_limit"] is None
    refused(with_role("operator").post("/queues/default/what-if", asked), 403)
    refused(api.post("/queues/default/what-if", {"concurrency_limit": 0}), 422, field="concurrency_limit")
    refused(api.post("/queues/default/what-if", {"rate": {"per": "minute"}}), 422, field="rate")
    refused(api.post("/queues/default/what-if", {}), 422, field="concurrency_limit")
    refused(api.post("/queues/nowhere/what-if", asked), 404)
