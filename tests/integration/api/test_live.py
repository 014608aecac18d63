"""The API through a real server, with a real worker behind it."""

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

import httpx

from tests.support.processes import Fleet
from tests.support.waiting import eventually


def test_a_run_goes_from_the_api_through_a_worker_and_back(client: httpx.Client, fleet: Fleet) -> None:
    fleet.worker("alice")
    fleet.scheduler()  # it ends the wait between two attempts
    response = client.post("/tasks/second-time-lucky/runs", json={"payload": {}}, headers={"Idempotency-Key": "one"})
    assert response.status_code == 201
    run = f"/runs/{response.json()['id']}"
    ended = eventually(lambda: (r := client.get(run).json())["status"] == "completed" and r, "the run completes")
    assert (ended["output"], ended["attempt"], ended["error"]) == (42, 2, None)
    assert ended["started_at"] <= ended["finished_at"]
    attempts = client.get(f"{run}/attempts").json()["items"]
    assert [(a["number"], a["status"], a["worker"]) for a in attempts] == [
        (1, "failed", "alice"),
        (2, "completed", "alice"),
    ]
    assert attempts[0]["error"]["type"] == "ConnectionError"
    snapshots = client.get(f"{run}/snapshots").json()["items"]
    facts = [(s["sequence"], s["kind"], s["attempt"]) for s in snapshots]
    assert facts == [(1, "step", 1), (2, "checkpoint", 1), (3, "checkpoint", 2)]
    assert snapshots[1]["state"] == {"first": 1}
    assert client.post(f"{run}/retry").status_code == 409


def test_log_lines_are_read_with_their_step_level_and_fields(client: httpx.Client, fleet: Fleet) -> None:
    fleet.worker("alice")
    run = f"/runs/{client.post('/tasks/talks/runs', json={}).json()['id']}"
    eventually(lambda: client.get(run).json()["status"] == "completed", "the run completes")
    lines = client.get(f"{run}/logs").json()["items"]
    by_message = {line["message"]: line for line in lines}
    assert by_message["by log"]["fields"] == {"number": 1}
    assert by_message["by logging 3"]["level"] == "warning"
    assert by_message["inside a step"]["step"].startswith("speaking_step")
    assert [x["message"] for x in client.get(f"{run}/logs?level=error").json()["items"]] == ["inside a step"]


def test_a_run_in_a_workers_hands_is_cancelling_until_its_code_has_stopped_and_a_waiting_one_is_cancelled(
    client: httpx.Client, fleet: Fleet
) -> None:
    fleet.worker("alice")
    running = client.post("/tasks/gated/runs", json={"payload": {"gate": "open"}}).json()["id"]
    eventually(lambda: fleet.ledger.count("waiting", running), "its code has begun: before, it could be cancelled yet")
    assert client.post(f"/runs/{running}/cancel").json()["status"] == "cancelling"
    again = client.post(f"/runs/{running}/cancel")
    assert again.status_code == 409
    assert "cancelling" in again.json()["detail"]
    assert client.get(f"/runs/{running}").json()["status"] == "cancelling", "its code goes on"
    fleet.ledger.open_gate("open")
    later = client.post("/tasks/gated/runs", json={"payload": {"gate": "x"}, "options": {"delay": 600}}).json()["id"]
    assert client.post(f"/runs/{later}/cancel").json()["status"] == "cancelled"
    # Its code had no step in which it could have stopped, and came to its end: before its worker had heard of the
    # cancel, or after that.
    eventually(lambda: client.get(f"/runs/{running}").json()["status"] in ("completed", "cancelled"), "it has stopped")


def test_a_paused_queue_starts_nothing_until_it_is_resumed(client: httpx.Client, fleet: Fleet) -> None:
    fleet.worker("alice")
    client.post("/queues/narrow/pause", json={"reason": "test"})
    run = client.post("/tasks/narrow-job/runs", json={}).json()["id"]
    other = client.post("/tasks/echo/runs", json={}).json()["id"]
    eventually(lambda: client.get(f"/runs/{other}").json()["status"] == "completed", "the other queue goes on")
    assert client.get(f"/runs/{run}").json()["status"] == "queued"
    queue = client.get("/queues/narrow").json()
    assert (queue["depth"], queue["paused"]) == (1, True)
    client.post("/queues/narrow/resume")
    eventually(lambda: client.get(f"/runs/{run}").json()["status"] == "completed", "the run starts again")


def test_fifty_callers_with_one_key_start_one_run(client: httpx.Client) -> None:
    answers: list[tuple[int, str]] = []
    ready = threading.Barrier(50)

    def call() -> None:
        ready.wait()
        response = client.post("/tasks/echo/runs", json={"payload": {"value": 1}}, headers={"Idempotency-Key": "k"})
        answers.append((response.status_code, response.json().get("id", "")))

    threads = [threading.Thread(target=call) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(status for status, _ in answers) == [200] * 49 + [201]
    assert len({run for _, run in answers}) == 1


@contextmanager
def request(server: str, name: str, value: str) -> Iterator[http.client.HTTPConnection]:
    """An enqueue of which only the head is sent."""
    with closing(http.client.HTTPConnection(server, timeout=30)) as connection:
        connection.putrequest("POST", "/api/v1/tasks/echo/runs")
        connection.putheader("Content-Type", "application/json")
        connection.putheader(name, value)
        connection.endheaders()
        yield connection


def test_a_declared_length_over_the_limit_is_refused_before_the_body_comes(server: str) -> None:
    with request(server, "Content-Length", str(20 * 1024 * 1024)) as connection:
        response = connection.getresponse()  # though not one byte of the body was sent
        assert response.status == 413
        assert response.getheader("Content-Type") == "application/problem+json"
        assert json.loads(response.read())["code"] == "body_too_large"


def test_a_body_without_a_length_is_refused_when_the_limit_is_passed(server: str) -> None:
    piece = 0x10000
    pieces = 0
    with request(server, "Transfer-Encoding", "chunked") as connection, suppress(BrokenPipeError, ConnectionResetError):
        while pieces < 2**30 // piece:
            connection.send(b"%x\r\n" % piece + b" " * piece + b"\r\n")
            pieces += 1
    assert pieces * piece < 100 * 1024 * 1024  # the server had heard enough long before
    assert httpx.get(f"http://{server}/api/v1/openapi.json", timeout=30).status_code == 200


def test_a_batch_may_be_longer_than_a_single_body(client: httpx.Client) -> None:
    items = [{"payload": {"value": "x" * 500_000}}] * 6
    assert client.post("/tasks/echo/batch", json={"items": items}).status_code == 201
    assert (
        client.post(
            "/tasks/echo/runs", content=b" " * 3_000_000, headers={"Content-Type": "application/json"}
        ).status_code
        == 413
    )
