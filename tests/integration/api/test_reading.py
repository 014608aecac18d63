"""Lists, pages and what belongs to one run. The rows are written by hand: nothing runs here."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runs.models import Attempt, LogLine, Run, Snapshot

START = datetime(2026, 1, 1, tzinfo=UTC)


def run_id(at: datetime, number: int = 0) -> uuid.UUID:
    """A UUIDv7 of that moment."""
    milliseconds = int(at.timestamp() * 1000)
    return uuid.UUID(int=(milliseconds << 80) | (7 << 76) | (2 << 62) | number)


def make(number: int, status: str = "queued", **more: Any) -> Run:
    from queues.models import Queue

    at = START + timedelta(minutes=number)
    final = status in {"completed", "failed", "cancelled", "crashed"}
    queue = Queue.objects.get(name=more.pop("queue_name", "default"))
    return Run.objects.create(
        **{
            "id": run_id(at, number),
            "task_id": "echo",
            "queue": queue,
            "status": status,
            "payload": {"value": number},
            "trace_id": "t",
            "created_at": at,
            "finished_at": at if final else None,
            **more,
        }
    )


def values(api: Any, query: str = "") -> list[int]:
    """The payloads of all pages."""
    found: list[int] = []
    cursor = ""
    for _ in range(100):
        response = api.get(f"/runs?{query}{cursor}")
        assert response.status_code == 200, response.content
        body = response.json()
        found += [item["payload"]["value"] for item in body["items"]]
        if body["next"] is None:
            return found
        cursor = f"&cursor={body['next']}"
    raise AssertionError("the pages never end")


def test_pages_follow_each_other_newest_first_without_gap_or_repetition(api: Any) -> None:
    for number in range(23):
        make(number)
    assert values(api, "limit=5") == list(range(22, -1, -1))
    assert values(api, "limit=23") == list(range(22, -1, -1))
    assert values(api) == list(range(22, -1, -1))


def test_runs_that_arrive_meanwhile_do_not_shift_the_next_page(api: Any) -> None:
    for number in range(4):
        make(number)
    first = api.get("/runs?limit=2").json()
    make(9)
    second = api.get(f"/runs?limit=2&cursor={first['next']}").json()
    assert [i["payload"]["value"] for i in second["items"]] == [1, 0]
    assert second["next"] is None


def test_each_filter_finds_its_runs_and_they_combine(api: Any) -> None:
    make(1, "failed")
    make(2, "crashed", tags=["nightly", "eu"])
    make(3, "completed", tags=["nightly"])
    make(4, "failed", task_id="typed")
    make(5, "queued", queue_name="narrow")
    parent = run_id(START + timedelta(minutes=1), 1)
    make(6, "failed", parent_id=parent, queue_name="narrow")
    assert values(api, "status=failed") == [6, 4, 1]
    assert values(api, "status=failed&status=crashed") == [6, 4, 2, 1]
    assert values(api, "status=failed,crashed,queued&limit=2") == [6, 5, 4, 2, 1]
    assert values(api, "status=completed") == [3]
    assert values(api, "task=typed") == [4]
    assert values(api, "task=nowhere") == []
    assert values(api, "queue=narrow") == [6, 5]
    assert values(api, "queue=nowhere") == []
    assert values(api, "queue=narrow&status=failed") == [6]
    assert values(api, "tag=nightly") == [3, 2]
    assert values(api, "tag=nightly&tag=eu") == [2]
    assert values(api, f"parent={parent}") == [6]
    assert values(api, "status=&task=&tag=") == [6, 5, 4, 3, 2, 1]


def test_times_of_creation_bound_a_list(api: Any) -> None:
    for number in range(10):
        make(number)
    assert values(api, "created_after=2026-01-01T00:07:00Z") == [9, 8, 7]
    assert values(api, "created_before=2026-01-01T00:02:00Z") == [1, 0]
    assert values(api, "created_after=2026-01-01T01:03:00%2B01:00&created_before=2026-01-01T00:05:00Z") == [4, 3]
    assert values(api, "created_after=2026-01-01T01:08:00+01:00") == [9, 8]  # the plus sign came unquoted


def test_a_page_of_large_runs_ends_early_and_loses_none(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from runs import selectors

    monkeypatch.setattr(selectors, "MAX_PAGE_BYTES", 3000)
    for number in range(7):
        make(number, output={"text": "x" * 1000})
    assert len(api.get("/runs").json()["items"]) == 2
    assert values(api) == [6, 5, 4, 3, 2, 1, 0]
    Run.objects.update(output={"text": "x" * 5000})
    assert values(api) == [6, 5, 4, 3, 2, 1, 0]


def test_an_error_has_type_message_and_fingerprint_and_a_list_no_traceback(api: Any) -> None:
    error = {"type": "ValueError", "message": "no", "fingerprint": "f1", "traceback": "Traceback …"}
    run = make(1, "failed", error=error, attempt=1)
    Attempt.objects.create(run=run, number=1, status="failed", error=error, started_at=START, finished_at=START)
    expected = {"type": "ValueError", "message": "no", "fingerprint": "f1"}
    assert api.get(f"/runs/{run.id}").json()["error"] == expected
    attempt = api.get(f"/runs/{run.id}/attempts").json()["items"][0]
    assert attempt == {
        "number": 1,
        "status": "failed",
        "started_at": "2026-01-01T00:00:00Z",
        "finished_at": "2026-01-01T00:00:00Z",
        "error": {**expected, "traceback": "Traceback …"},
        "worker": None,
        "usage": {},
        "active": 0.0,
    }


def test_snapshots_come_in_sequence_and_pages(api: Any) -> None:
    run = make(1)
    for number in range(1, 6):
        Snapshot.objects.create(
            id=number, run=run, sequence=number, kind="step", name="s", key=f"s#{number}", attempt=1,
            input={"n": number}, output=number, started_at=START, finished_at=START,
        )  # fmt: skip
    first = api.get(f"/runs/{run.id}/snapshots?limit=3").json()
    second = api.get(f"/runs/{run.id}/snapshots?limit=3&cursor={first['next']}").json()
    assert [s["sequence"] for s in first["items"] + second["items"]] == [1, 2, 3, 4, 5]
    assert second["next"] is None
    assert first["items"][0] == {
        "sequence": 1, "name": "s", "kind": "step", "attempt": 1, "input": {"n": 1}, "output": 1, "state": None,
        "error": None, "started_at": "2026-01-01T00:00:00Z", "finished_at": "2026-01-01T00:00:00Z", "usage": None,
    }  # fmt: skip


def test_log_lines_are_followed_by_their_sequence_and_filtered_by_level(api: Any) -> None:
    run, other = make(1), make(2)
    for number in range(1, 7):
        LogLine.objects.create(
            sequence=number, run=other if number == 4 else run, at=START, level=number * 10, message=f"line {number}",
            attempt=1, step="s#1" if number == 2 else "",
        )  # fmt: skip

    def lines(query: str) -> list[int]:
        return [line["sequence"] for line in api.get(f"/runs/{run.id}/logs?{query}").json()["items"]]

    assert lines("") == [1, 2, 3, 5, 6]
    assert lines("after=2") == [3, 5, 6]
    assert lines("after=6") == []
    assert lines("level=warning") == [3, 5, 6]
    assert lines("level=WARNING&limit=2") == [3, 5]
    assert lines("step=s") == lines("step=s%231") == lines("q=LINE+2") == [2]
    assert lines("attempt=1&at=2026-01-01T00:00:00Z") == [1, 2, 3, 5, 6]
    assert lines("attempt=2") == lines("at=2026-01-02T00:00:00Z") == []
    page = api.get(f"/runs/{run.id}/logs?limit=2").json()
    assert page["next"] == 2
    assert page["items"][1] == {
        "sequence": 2, "at": "2026-01-01T00:00:00Z", "level": "info", "message": "line 2", "fields": None,
        "attempt": 1, "step": "s#1",
    }  # fmt: skip
    assert lines(f"cursor={page['next']}&limit=2") == [3, 5]


def test_tasks_are_listed_with_their_schemas(api: Any) -> None:
    body = api.get("/tasks?limit=200").json()
    ids = [task["id"] for task in body["items"]]
    assert ids == sorted(ids)
    assert {"echo", "typed"} <= set(ids)
    task = api.get("/tasks/typed").json()
    assert task["payload_schema"]["properties"]["count"]["type"] == "integer"
    assert task["queue"] == "default"
    pages = api.get("/tasks?limit=1").json()
    assert api.get(f"/tasks?limit=1&cursor={pages['next']}").json()["items"][0]["id"] == ids[1]


def test_a_task_that_does_not_exist_names_near_ones(api: Any, refused: Any) -> None:
    assert "typed" in refused(api.get("/tasks/typd"), 404, "unknown_task")["detail"]


def test_retry_and_cancel_answer_with_the_run_and_leave_an_audit_row(api: Any) -> None:
    from holdfast.access.selectors import audit_of

    run = api.post("/tasks/echo/runs", {}).json()
    cancelled = api.post(f"/runs/{run['id']}/cancel", {"reason": "not now"})
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    again = api.post(f"/runs/{run['id']}/cancel")
    assert (again.status_code, again.json()["code"]) == (409, "wrong_state")
    retried = api.post(f"/runs/{run['id']}/retry")
    assert (retried.status_code, retried.json()["status"]) == (200, "queued")
    assert api.post(f"/runs/{run['id']}/retry").status_code == 409
    rows = audit_of("run", run["id"])
    assert [(r.action, r.actor_kind, r.reason) for r in rows] == [
        ("runs.retry", "token", ""),
        ("runs.cancel", "token", "not now"),
    ]


def test_a_run_in_a_workers_hands_is_cancelling_and_is_cancelled_only_once(api: Any) -> None:
    from queues.models import Entry

    run = api.post("/tasks/echo/runs", {}).json()
    Entry.objects.all().delete()
    Run.objects.update(status="running", started_at=START, lease_token=7)
    assert api.post(f"/runs/{run['id']}/cancel").json()["status"] == "cancelling"
    response = api.post(f"/runs/{run['id']}/cancel")
    assert response.status_code == 409
    assert "cancelling" in response.json()["detail"]
