"""Batches of lines at a real server: progress, errors per line, and going on after a cut."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import httpx
import pytest
from django.db import connection

from queues.models import Entry
from runs.models import IdempotencyKey, Run

NDJSON = {"Content-Type": "application/x-ndjson"}


def send(client: httpx.Client, lines: Iterable[Any], task: str = "echo", **headers: str) -> list[dict[str, Any]]:
    """What the server says of these lines; text goes out as it is, anything else as JSON."""
    body = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    with client.stream("POST", f"/tasks/{task}/batch", content=body, headers={**NDJSON, **headers}) as response:
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"] == "application/x-ndjson"
        return [json.loads(line) for line in response.iter_lines()]


def first_line(client: httpx.Client, lines: Iterable[Any], task: str = "echo") -> dict[str, Any]:
    """The same, and gone after the first line of the answer."""
    body = "\n".join(map(json.dumps, lines))
    with client.stream("POST", f"/tasks/{task}/batch", content=body, headers=NDJSON) as response:
        found: dict[str, Any] = json.loads(next(response.iter_lines()))
        return found


def value(number: int, **options: Any) -> dict[str, Any]:
    return {"payload": {"value": number}, **({"options": options} if options else {})}


def test_a_hundred_thousand_runs_are_one_call_and_it_says_how_far_it_is(client: httpx.Client) -> None:
    said = send(client, map(value, range(100_001)))
    parts, last = said[:-1], said[-1]
    assert [part["lines"] for part in parts] == [[n + 1, n + 1_000] for n in range(0, 100_000, 1_000)]
    assert (last["done"], last["code"], last["lines"], last["created"]) == (False, "too_many_lines", 100_000, 100_000)
    assert Run.objects.count() == Entry.objects.count() == 100_000
    ids = [run for part in parts for run in part["runs"]]
    assert Run.objects.get(pk=ids[77_777]).payload == {"value": 77_777}


def test_whoever_goes_away_leaves_what_is_stored_and_no_more(client: httpx.Client) -> None:
    assert first_line(client, map(value, range(50_000)))["lines"] == [1, 1_000], "it is told while the rest is stored"
    assert client.get("/runs?limit=1").status_code == 200
    with connection.cursor() as cursor:  # both in one statement: the part that was being stored may still come
        cursor.execute("SELECT (SELECT count(*) FROM runs_run), (SELECT count(*) FROM queues_entry)")
        stored, entries = cursor.fetchone()
    assert stored % 1_000 == 0
    assert 1_000 <= stored < 50_000
    assert entries == stored


def test_each_line_that_cannot_be_stored_is_reported_and_holds_up_no_other(client: httpx.Client) -> None:
    send(client, [value(0, idempotency_key="known")])
    wrong: dict[int, tuple[Any, str, str]] = {
        1: ("{", "invalid_json", ""),
        3: ("[1]", "invalid_payload", ""),
        4: ({"payload": {"other": 1}}, "invalid_payload", "payload.other"),
        6: ({"payload": {}, "priority": 1}, "invalid_payload", "priority"),
        7: (value(1, priority=1_000), "invalid_option", "options.priority"),
        8: (value(1, idempotency_key="k", idempotency_scope="run"), "invalid_option", "options.idempotency_scope"),
        9: (value(1, queue_name="nowhere"), "unknown_queue", "options.queue_name"),
        10: (value(1, idempotency_key="known"), "idempotency_conflict", ""),
        12: ('{"payload": {"value": "' + "x" * 2_000_000 + '"}}', "payload_too_large", ""),
        13: ({"payload": {"value": "\x00"}}, "invalid_payload", "payload.value"),
        14: ({"payload": [1]}, "invalid_payload", "payload"),
        15: ({"options": "fast"}, "invalid_payload", "options"),
        17: ({"options": 0}, "invalid_payload", "options"),
        18: ({"options": []}, "invalid_payload", "options"),
    }
    lines = [wrong[n][0] if n in wrong else value(n, tags=["good"]) for n in range(1, 19)]
    said = send(client, lines)
    assert len(said) == 2
    refused = {fault["line"]: fault for fault in said[0]["refused"]}
    assert set(refused) == set(wrong)
    for number, (_, code, field) in wrong.items():
        assert refused[number]["code"] == code, refused[number]
        assert field in [e["field"] for e in refused[number]["errors"]] + [""], refused[number]
    assert said[1] == {"done": True, "lines": 18, "created": 4, "existing": 0, "refused": len(wrong)}
    assert [run is None for run in said[0]["runs"]] == [n in wrong for n in range(1, 19)]
    assert sorted(Run.objects.filter(tags=["good"]).values_list("payload__value", flat=True)) == [2, 5, 11, 16]


def test_a_batch_with_a_key_may_be_sent_again_after_a_cut(client: httpx.Client) -> None:
    lines = [value(n) for n in range(1_500)]
    first = send(client, lines[:1_100], **{"Idempotency-Key": "import-7"})
    again = send(client, lines, **{"Idempotency-Key": "import-7"})
    assert (again[-1]["existing"], again[-1]["created"]) == (1_100, 400)
    assert again[0]["runs"] == first[0]["runs"]
    assert Run.objects.count() == IdempotencyKey.objects.count() == 1_500


def test_empty_lines_are_passed_over_and_counted(client: httpx.Client) -> None:
    said = send(client, ["", value(1), "  ", value(2), "", ""])
    assert [run is None for run in said[0]["runs"]] == [True, False, True, False, True]
    assert said[-1] == {"done": True, "lines": 5, "created": 2, "existing": 0, "refused": 0}
    assert send(client, []) == [{"done": True, "lines": 0, "created": 0, "existing": 0, "refused": 0}]


def test_options_of_lines_may_differ_and_keys_may_repeat(client: httpx.Client) -> None:
    debounce = {"key": "d", "delay": 5}
    options: list[dict[str, Any]] = [{"priority": 5}, {"delay": 60}, {"idempotency_key": "k"}, {"idempotency_key": "k"}]
    said = send(client, [value(1, **o) for o in options] + [value(n, debounce=debounce) for n in (7, 8)])
    assert said[0]["runs"][2] == said[0]["runs"][3]
    assert said[0]["runs"][4] == said[0]["runs"][5]
    assert said[-1]["existing"] == 2
    assert Run.objects.get(pk=said[0]["runs"][4]).payload == {"value": 8}


@pytest.mark.parametrize("lines", [["{}"] * 3], ids=["three"])
def test_what_is_wrong_with_the_call_is_said_before_anything_is_stored(client: httpx.Client, lines: list[str]) -> None:
    body = "\n".join(lines)
    unknown = client.post("/tasks/ecco/batch", content=body, headers=NDJSON)
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_task")
    long = client.post("/tasks/echo/batch", content=body, headers={**NDJSON, "Idempotency-Key": "k" * 200})
    assert (long.status_code, long.json()["errors"][0]["field"]) == (422, "Idempotency-Key")
    nobody = client.post("/tasks/echo/batch", content=body, headers={**NDJSON, "Authorization": "Bearer hf_x"})
    assert nobody.status_code == 401
    assert not Run.objects.exists()
