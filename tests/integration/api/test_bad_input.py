"""Whatever is sent: a 4xx that names the field or the limit, and nothing stored."""

import json
from typing import Any

import pytest

LIMIT = 1024 * 1024
ENVELOPE = 64 * 1024
RUN = "/runs/01900000-0000-7000-8000-000000000000"


def nested(levels: int) -> bytes:
    return b'{"payload":{"value":' + b"[" * levels + b"]" * levels + b"}}"


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        pytest.param(b'{"payload":{"value":[1,{"b":NaN}]}}', 422, "payload.value[1].b", id="nan"),
        pytest.param(b'{"payload":{"value":-Infinity}}', 422, "payload.value", id="infinity"),
        pytest.param(b'{"payload":{"value":1e999}}', 422, "payload.value", id="too large a float"),
        pytest.param(b'{"payload":{"value":"a\\u0000"}}', 422, "payload.value", id="NUL"),
        pytest.param(b'{"payload":{"value":{"\\u0000":1}}}', 422, 'payload.value["\\u0000"]', id="NUL in a key"),
        pytest.param(b'{"payload":{"value":"\\ud800"}}', 422, "payload.value", id="lone surrogate"),
        pytest.param(b'{"payload":{"value":"\\udfff\\ud83d"}}', 422, "payload.value", id="surrogates the wrong way"),
        pytest.param(b'{"payload":{"value":"\xed\xa0\x80"}}', 422, "payload.value", id="surrogate as bytes"),
        pytest.param(b'{"payload":{"value":' + b"9" * 5000 + b"}}", 422, "payload.value", id="5,000 digits"),
        pytest.param(b'{"options":{"priority":' + b"9" * 5000 + b"}}", 422, "options.priority", id="digits in options"),
        pytest.param(b'{"options":{"tags":["\\u0000"]}}', 422, "options.tags[0]", id="NUL in options"),
        pytest.param(nested(10_000), 422, "", id="10,000 deep"),
        pytest.param(nested(400_000), 422, "", id="400,000 deep"),
        pytest.param(b'{"payload":' * 30_000, 422, "", id="deep and never closed"),
        pytest.param(b"", 422, "", id="nothing"),
        pytest.param(b"[]", 422, "", id="a list"),
        pytest.param(b"null", 422, "", id="null"),
        pytest.param(b'{"payload":{},"extra":1}', 422, "extra", id="unknown field"),
        pytest.param(b'{"payload":{},"options":{"extra":1}}', 422, "options.extra", id="unknown option"),
        pytest.param(b'{"options":[]}', 422, "options", id="options that are a list"),
        pytest.param(b"{", 400, "", id="half"),
        pytest.param(b"\xff\xfe{}", 400, "", id="not UTF-8"),
        pytest.param(b"payload=1", 400, "", id="a form"),
        pytest.param(b'{"payload":{"value":1}} {}', 400, "", id="two values"),
    ],
)
def test_fault_31_a_bad_body_is_refused_with_its_field(
    api: Any, refused: Any, body: bytes, status: int, field: str
) -> None:
    refused(api.post("/tasks/echo/runs", body), status, None, field)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "json"])
def test_a_body_that_is_not_declared_as_json_is_refused(api: Any, refused: Any, kind: str) -> None:
    refused(api.post("/tasks/echo/runs", b"{}", content_type=kind), 415, "unsupported_media_type", "Content-Type")


def test_json_in_another_charset_is_refused(api: Any, refused: Any) -> None:
    response = api.post("/tasks/echo/runs", b"{}", content_type="application/json; charset=latin-1")
    refused(response, 415, "unsupported_media_type", "Content-Type")


def test_fault_31_a_payload_over_the_limit_is_refused_with_the_limit(api: Any, refused: Any) -> None:
    body = refused(api.post("/tasks/echo/runs", {"payload": {"value": "x" * LIMIT}}), 413, "payload_too_large")
    assert f"{LIMIT:,}" in body["detail"]


def test_a_payload_at_the_limit_is_taken(api: Any) -> None:
    value = "x" * (LIMIT - len('{"value":""}'))
    assert api.post("/tasks/echo/runs", {"payload": {"value": value}}).status_code == 201


def test_the_limit_counts_bytes_not_characters(api: Any, refused: Any) -> None:
    body = json.dumps({"payload": {"value": "ü" * (LIMIT // 2)}}, ensure_ascii=False).encode()
    refused(api.post("/tasks/echo/runs", body), 413, "payload_too_large")


def test_fault_31_a_body_over_the_limit_is_refused(api: Any, refused: Any) -> None:
    body = refused(api.post("/tasks/echo/runs", b" " * (LIMIT + ENVELOPE + 1)), 413, "body_too_large")
    assert f"{LIMIT + ENVELOPE:,}" in body["detail"]


def test_fault_31_the_declared_length_is_enough_to_refuse_a_body(api: Any, refused: Any) -> None:
    response = api.client.generic(
        "POST",
        "/api/v1/tasks/echo/runs",
        b"{}",
        "application/json",
        headers=api.headers,
        CONTENT_LENGTH=str(10**12),
    )
    refused(response, 413, "body_too_large")


def test_a_batch_may_be_larger_than_one_payload_but_no_item_may(api: Any, refused: Any) -> None:
    half, whole = {"payload": {"value": "x" * (LIMIT // 2)}}, {"payload": {"value": "x" * LIMIT}}
    refused(api.post("/tasks/echo/batch", {"items": [half, half, whole]}), 413, None, "items[2].payload")
    assert api.post("/tasks/echo/batch", {"items": [half] * 4}).status_code == 201


def test_a_setting_moves_the_limit(api: Any, refused: Any, settings: Any) -> None:
    settings.HOLDFAST_PAYLOAD_LIMIT = 100
    refused(api.post("/tasks/echo/runs", {"payload": {"value": "x" * 100}}), 413, "payload_too_large")


@pytest.mark.parametrize("address", ["/runs/x", "/runs/x/logs", "/runs/0190/attempts", "/runs/%00/snapshots"])
def test_what_is_no_run_id_is_refused(api: Any, refused: Any, address: str) -> None:
    refused(api.get(address), 422, "invalid_id", "run_id")


@pytest.mark.parametrize("address", [RUN, f"{RUN}/attempts", f"{RUN}/snapshots", f"{RUN}/logs"])
def test_a_run_that_does_not_exist_is_a_404_and_so_is_what_belongs_to_it(api: Any, refused: Any, address: str) -> None:
    refused(api.get(address), 404, "unknown_run")


@pytest.mark.parametrize("verb", ["retry", "cancel"])
def test_nothing_is_done_to_a_run_that_does_not_exist(api: Any, refused: Any, verb: str) -> None:
    refused(api.post(f"{RUN}/{verb}"), 404, "unknown_run")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("/runs?status=done", "status"),
        ("/runs?status=failed,done", "status"),
        ("/runs?stauts=failed", "stauts"),
        ("/runs?task=%00", "task"),
        ("/runs?task=a&task=b", "task"),
        ("/runs?queue=" + "q" * 201, "queue"),
        ("/runs?tag=%01", "tag"),
        ("/runs?" + "&".join(f"tag={n}" for n in range(21)), "tag"),
        ("/runs?parent=5", "parent"),
        ("/runs?created_after=yesterday", "created_after"),
        ("/runs?created_before=9999-12-31T23:59:59.999Z", "created_before"),
        ("/runs?created_after=9999-12-31T23:58:00-12:00", "created_after"),
        ("/runs?created_after=0001-01-01T00:00:00Z", "created_after"),
        ("/runs?cursor=abc", "cursor"),
        ("/runs?limit=0", "limit"),
        ("/runs?limit=201", "limit"),
        ("/runs?limit=ten", "limit"),
        ("/runs?limit=" + "9" * 5000, "limit"),
        ("/runs?limit=٣", "limit"),
        ("/tasks?cursor=%00", "cursor"),
        ("/tasks?limit=-1", "limit"),
        ("/queues?search=%00", "search"),
        ("/queues?offset=5", "offset"),
    ],
)
def test_a_query_that_does_not_fit_names_the_parameter(api: Any, refused: Any, query: str, field: str) -> None:
    refused(api.get(query), 422, None, field)


@pytest.mark.parametrize(
    "query", ["logs?level=loud", "logs?after=-1", "logs?after=99999999999999999999", "attempts?cursor=x", "logs?x=1"]
)
def test_a_query_about_a_run_that_does_not_fit_is_refused(api: Any, query: str) -> None:
    run = api.post("/tasks/echo/runs", {}).json()
    response = api.get(f"/runs/{run['id']}/{query}")
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == query.split("?")[1].split("=")[0]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"reason": 5}, "reason"),
        ({"reason": "x" * 501}, "reason"),
        ({"why": "x"}, "why"),
        ([], ""),
        (b'{"reason":"\\u0000"}', "reason"),
        ({"reason": "\x07"}, "reason"),
    ],
)
def test_a_reason_that_does_not_fit_is_refused_and_nothing_done(api: Any, body: Any, field: str) -> None:
    run = api.post("/tasks/echo/runs", {}).json()
    response = api.post(f"/runs/{run['id']}/cancel", body)
    assert response.status_code == 422, response.content
    assert response.json()["errors"][0]["field"] == field
    assert api.get(f"/runs/{run['id']}").json()["status"] == "queued"


@pytest.mark.parametrize("address", ["/", "/nothing", "/runs/", "/tasks/echo/runs/", "/tasks//runs", "/%00"])
def test_an_address_that_is_not_there_is_a_problem_too(api: Any, refused: Any, address: str) -> None:
    refused(api.get(address), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "address"), [("PUT", "/runs"), ("DELETE", "/queues/narrow"), ("GET", f"{RUN}/retry")]
)
def test_a_wrong_method_is_a_problem_that_names_the_right_ones(
    api: Any, refused: Any, method: str, address: str
) -> None:
    response = api.send(method, address)
    refused(response, 405, "method_not_allowed")
    assert response["Allow"]


def test_a_refusal_that_quotes_a_surrogate_is_still_json(api: Any, refused: Any) -> None:
    body = refused(api.post("/tasks/echo/runs", b'{"\\ud800": 1}'), 422)
    json.dumps(body, ensure_ascii=False).encode()
