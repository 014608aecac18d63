import json
from datetime import datetime

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from queues.models import Entry, Timer
from runs.models import Run

RUN_FIELDS = {
    "id", "task", "queue", "status", "payload", "output", "error", "attempt", "priority", "tags", "created_at",
    "started_at", "finished_at", "trace_id", "parent_id", "version", "usage", "waiting_for",
}  # fmt: skip


def test_a_run_is_stored_and_answered_with_the_fields_of_the_contract(api):
    response = api.post("/tasks/typed/runs", {"payload": {"count": 3}})
    assert response.status_code == 201
    run = response.json()
    assert run.keys() >= RUN_FIELDS
    assert (run["task"], run["queue"], run["status"], run["payload"]) == ("typed", "default", "queued", {"count": 3})
    assert (run["attempt"], run["priority"], run["tags"]) == (0, 0, [])
    assert response["Location"] == f"/api/v1/runs/{run['id']}"
    assert Entry.objects.filter(entry_id=run["id"]).exists()
    assert api.get(f"/runs/{run['id']}").json() == run


def test_times_are_rfc_3339_in_utc(api):
    run = api.post("/tasks/echo/runs", {}).json()
    assert run["created_at"].endswith("Z")
    assert datetime.fromisoformat(run["created_at"]).utcoffset().total_seconds() == 0
    assert (run["started_at"], run["finished_at"]) == (None, None)


def test_every_option_of_using_can_be_sent(api):
    options = {
        "queue_name": "narrow",
        "priority": 7,
        "delay": 60,
        "idempotency_key": "k",
        "concurrency_key": "customer-1",
        "tags": ["a", "ü 😀"],
        "max_attempts": 4,
    }
    response = api.post("/tasks/echo/runs", {"payload": {"value": 1}, "options": options})
    assert response.status_code == 201, response.content
    run = response.json()
    assert (run["queue"], run["status"], run["priority"], run["tags"]) == ("narrow", "scheduled", 7, ["a", "ü 😀"])
    assert (run["max_attempts"], run["concurrency_key"], run["idempotency_key"]) == (4, "customer-1", "k")
    assert Timer.objects.filter(entry_id=run["id"]).exists()


def test_a_payload_may_hold_any_json_and_comes_back_the_same(api):
    value = {"text": 'ü😀\t\n"\\', "big": 10**400, "small": -1.5e-7, "none": None, "deep": [[[{"": [True, False]}]]]}
    run = api.post("/tasks/echo/runs", {"payload": {"value": value}}).json()
    assert run["payload"] == {"value": value}
    assert api.get("/runs?limit=1").json()["items"][0]["payload"] == {"value": value}


def test_an_idempotency_key_answers_200_with_the_first_run(api):
    first = api.post("/tasks/typed/runs", {"payload": {"count": 1, "name": "y"}}, Idempotency_Key="order-1")
    again = api.post("/tasks/typed/runs", {"payload": {"name": "y", "count": 1}}, Idempotency_Key="order-1")
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert Run.objects.count() == 1
    other_task = api.post("/tasks/echo/runs", {}, Idempotency_Key="order-1")
    assert other_task.status_code == 201


def test_an_idempotency_key_with_another_payload_is_a_conflict_that_names_the_run(api):
    first = api.post("/tasks/typed/runs", {"payload": {"count": 1}}, Idempotency_Key="order-1").json()
    response = api.post("/tasks/typed/runs", {"payload": {"count": 2}}, Idempotency_Key="order-1")
    assert response.status_code == 409
    assert response.json()["code"] == "idempotency_conflict"
    assert first["id"] in response.json()["detail"]
    assert Run.objects.count() == 1


@pytest.mark.parametrize("key", ["", "x" * 201, "ü", "a\tb"])
def test_a_key_that_cannot_be_kept_is_refused(api, refused, key):
    refused(api.post("/tasks/echo/runs", {}, Idempotency_Key=key), 422, "invalid_header", "Idempotency-Key")


def test_two_different_keys_for_one_run_are_refused(api, refused):
    response = api.post("/tasks/echo/runs", {"options": {"idempotency_key": "a"}}, Idempotency_Key="b")
    refused(response, 422, "invalid_option", "options.idempotency_key")


def test_an_unknown_task_is_a_404_that_names_near_ones(api, refused):
    body = refused(api.post("/tasks/typd/runs", {"payload": {"count": 1}}), 404, "unknown_task")
    assert "typed" in body["detail"]


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({}, "payload.count"),
        ({"count": "many"}, "payload.count"),
        ({"count": 1, "name": 5}, "payload.name"),
        ({"count": 1, "nmae": "x"}, "payload.nmae"),
        ([1], "payload"),
        (None, "payload"),
        ("text", "payload"),
    ],
)
def test_a_payload_that_does_not_fit_names_the_field(api, refused, payload, field):
    refused(api.post("/tasks/typed/runs", {"payload": payload}), 422, "invalid_payload", field)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"prioritty": 1}, "options.prioritty"),
        ({"priority": 101}, "options.priority"),
        ({"priority": True}, "options.priority"),
        ({"priority": 1.5}, "options.priority"),
        ({"priority": 10**3000}, "options.priority"),
        ({"max_attempts": 0}, "options.max_attempts"),
        ({"delay": -1}, "options.delay"),
        ({"delay": 10**300}, "options.delay"),
        ({"delay": "soon"}, "options.delay"),
        ({"run_after": "tomorrow"}, "options.run_after"),
        ({"run_after": "2026-01-31T09:00:00"}, "options.run_after"),
        ({"run_after": 5}, "options.run_after"),
        ({"run_after": "9999-12-31T23:59:59-12:00"}, "options.run_after"),
        ({"run_after": "2026-01-31T09:00:00Z", "delay": 1}, "options.delay"),
        ({"tags": "nightly"}, "options.tags"),
        ({"tags": [""]}, "options.tags"),
        ({"tags": [1]}, "options.tags"),
        ({"tags": ["t"] * 21}, "options.tags"),
        ({"tags": ["t" * 101]}, "options.tags"),
        ({"concurrency_key": ""}, "options.concurrency_key"),
        ({"idempotency_key": "k" * 201}, "options.idempotency_key"),
        ([], "options"),
    ],
)
def test_an_option_that_does_not_fit_names_the_field(api, refused, options, field):
    refused(api.post("/tasks/echo/runs", {"options": options}), 422, None, field)


def test_an_unknown_queue_is_a_404_that_names_near_ones(api, refused):
    body = refused(api.post("/tasks/echo/runs", {"options": {"queue_name": "narow"}}), 404, "unknown_queue")
    assert body["errors"][0]["field"] == "options.queue_name"
    assert "narrow" in body["detail"]


def test_a_batch_is_stored_in_its_order(api):
    items = [{"payload": {"count": n}, "options": {"priority": n % 2}} for n in range(10)]
    response = api.post("/tasks/typed/batch", {"items": items})
    assert response.status_code == 201
    runs = response.json()["items"]
    assert [r["payload"]["count"] for r in runs] == list(range(10))
    assert [r["priority"] for r in runs] == [n % 2 for n in range(10)]
    assert Run.objects.count() == 10


def test_a_thousand_items_cost_as_many_statements_as_ten(api):
    def statements(items: int) -> int:
        with CaptureQueriesContext(connection) as queries:
            response = api.post("/tasks/echo/batch", {"items": [{"payload": {"value": n}} for n in range(items)]})
        assert response.status_code == 201
        return len(queries)

    statements(1)
    assert statements(1_000) == statements(10)


@pytest.mark.parametrize(
    ("bad", "status", "field"),
    [
        ({"payload": {"count": "x"}}, 422, "items[2].payload.count"),
        ({"payload": 5}, 422, "items[2].payload"),
        ({"payload": {"count": 1}, "options": {"priority": 1000}}, 422, "items[2].options.priority"),
        ({"payload": {"count": 1}, "options": {"nope": 1}}, 422, "items[2].options.nope"),
        ({"payload": {"count": 1}, "options": 7}, 422, "items[2].options"),
        ({"payload": {"count": 1}, "options": {"queue_name": "nowhere"}}, 404, "items[2].options.queue_name"),
        ({"payload": {"count": 1}, "extra": 1}, 422, "items[2].extra"),
        (17, 422, "items[2]"),
    ],
)
def test_one_bad_item_stops_the_whole_batch_and_is_named_by_its_index(api, refused, bad, status, field):
    good = {"payload": {"count": 1}}
    refused(api.post("/tasks/typed/batch", {"items": [good, good, bad, good]}), status, None, field)


def test_an_item_whose_key_was_used_with_another_payload_is_named_and_stops_the_batch(api):
    api.post("/tasks/typed/runs", {"payload": {"count": 1}}, Idempotency_Key="k")
    item = {"payload": {"count": 2}, "options": {"idempotency_key": "k"}}
    response = api.post("/tasks/typed/batch", {"items": [{"payload": {"count": 5}}, item]})
    assert response.status_code == 409
    assert "items[1]" in json.dumps(response.json())
    assert Run.objects.count() == 1


@pytest.mark.parametrize("items", [[], None, {}, "x", [{}] * 10_001])
def test_a_batch_needs_some_items_but_not_too_many(api, refused, items):
    refused(api.post("/tasks/echo/batch", {"items": items}), 422, "invalid_body", "items")


def test_a_key_for_a_whole_batch_is_refused(api, refused):
    response = api.post("/tasks/echo/batch", {"items": [{}]}, Idempotency_Key="k")
    refused(response, 422, "invalid_header", "Idempotency-Key")


def test_two_items_of_one_batch_may_share_a_key_and_then_are_one_run(api):
    item = {"payload": {"count": 2}, "options": {"idempotency_key": "k"}}
    runs = api.post("/tasks/typed/batch", {"items": [item, item]}).json()["items"]
    assert runs[0]["id"] == runs[1]["id"]
    assert Run.objects.count() == 1


def test_a_debounce_answers_201_and_then_200_with_the_run(api):
    asked = {"payload": {"value": 1}, "options": {"debounce": {"key": "k", "delay": 5, "max_wait": 60}}}
    first, second = api.post("/tasks/echo/runs", asked), api.post("/tasks/echo/runs", asked)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["id"] == second.json()["id"]
    for wrong, field in (
        (5, "options.debounce"),
        ({"key": "k"}, "options.debounce.delay"),
        ({"key": "k", "delay": 5, "often": 1}, "options.debounce.often"),
        ({"key": "k", "delay": "soon"}, "options.debounce.delay"),
    ):
        answer = api.post("/tasks/echo/runs", {"options": {"debounce": wrong}})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == field
