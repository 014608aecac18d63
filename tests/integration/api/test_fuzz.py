"""Nothing that can be sent makes the API fail: every answer is a good one or a whole problem, never a 500."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.api import problem

QUIET = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=2**62, max_value=10**400)
    | st.floats()
    | st.text(st.characters(), max_size=20)
    | st.sampled_from(["\x00", "\ud800", "narrow", "2026-01-31T09:00:00Z", "0001-01-01T00:00:00+23:59", ""])
)
VALUES = st.recursive(
    SCALARS,
    lambda v: st.lists(v, max_size=4) | st.dictionaries(st.text(st.characters(), max_size=8), v, max_size=4),
    max_leaves=10,
)
OPTION_NAMES = st.sampled_from(
    ["queue_name", "priority", "run_after", "delay", "idempotency_key", "concurrency_key", "tags", "max_attempts", "x"]
)
OPTIONS = st.dictionaries(OPTION_NAMES, VALUES, max_size=4)
ITEMS = st.fixed_dictionaries({}, optional={"payload": VALUES, "options": OPTIONS | VALUES, "x": SCALARS})
NAMES = st.text(st.characters(exclude_characters="/?#", exclude_categories=["Cs"]), min_size=1, max_size=30)
HEADERS = st.dictionaries(
    st.sampled_from(
        ["Idempotency-Key", "Authorization", "Content-Type", "Accept", "X-CSRFToken", "HX-Request", "Range"]
    ),
    st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"]), max_size=30),
    max_size=3,
)
QUERY_NAMES = st.sampled_from(
    ["status", "task", "queue", "tag", "parent", "created_after", "created_before", "cursor", "limit", "after", "level"]
)


def sound(response: Any) -> None:
    """A good answer, or a problem with all its parts."""
    assert response.status_code < 500, response.content
    if response.status_code >= 400:
        problem(response, response.status_code)
    else:
        json.loads(response.content)


def sent(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=True).encode()


@QUIET
@given(body=ITEMS | VALUES)
def test_any_json_may_be_sent_as_a_run(api: Any, body: Any) -> None:
    for task in ("echo", "typed"):
        sound(api.post(f"/tasks/{task}/runs", sent(body)))


@QUIET
@given(body=st.fixed_dictionaries({"items": st.lists(ITEMS | VALUES, max_size=3)}) | VALUES)
def test_any_json_may_be_sent_as_a_batch(api: Any, body: Any) -> None:
    sound(api.post("/tasks/echo/batch", sent(body)))


@QUIET
@given(body=st.binary(max_size=200), kind=st.sampled_from(["application/json", "text/json", "application/x+json", "x"]))
def test_any_bytes_may_be_sent(api: Any, body: bytes, kind: str) -> None:
    sound(api.post("/tasks/echo/runs", body, content_type=kind))


QUEUE_FIELDS = [
    "concurrency_limit",
    "limit_edited",
    "key_concurrency_limit",
    "key_weights",
    "rate",
    "rate_edited",
    "reason",
]


@QUIET
@given(body=VALUES | st.dictionaries(st.sampled_from(QUEUE_FIELDS), VALUES))
def test_any_json_may_be_sent_to_a_queue(api: Any, body: Any) -> None:
    sound(api.patch("/queues/narrow", sent(body)))
    sound(api.post("/queues/narrow/pause", sent(body)))


@QUIET
@given(
    body=st.fixed_dictionaries(
        {}, optional={"decision": st.just("happened") | SCALARS, "output": VALUES, "reason": SCALARS, "x": SCALARS}
    )
)
def test_any_json_may_be_sent_as_a_decision(api: Any, body: Any) -> None:
    from tests.support import stored

    run = stored.run("unknown", name="echo", error={**stored.error(), "step": "pay#1"})
    stored.snapshots(run, 1, 1, name="pay", key="pay#1", kind="intent")
    sound(api.post(f"/runs/{run.id}/resolve", sent(body)))


@QUIET
@given(headers=HEADERS, body=ITEMS)
def test_any_headers_may_be_sent(api: Any, headers: dict[str, str], body: Any) -> None:
    response = api.client.generic(
        "POST", "/api/v1/tasks/echo/runs", sent(body), "application/json", headers={**api.headers, **headers}
    )
    sound(response)


@QUIET
@given(
    parameters=st.lists(st.tuples(QUERY_NAMES | NAMES, NAMES | st.sampled_from(["failed", "5", "0", "-1"])), max_size=4)
)
@pytest.mark.parametrize("address", ["/runs", "/tasks", "/queues"])
def test_any_query_may_be_sent(api: Any, address: str, parameters: list[tuple[str, str]]) -> None:
    from urllib.parse import urlencode

    sound(api.get(f"{address}?{urlencode(parameters)}"))


@QUIET
@given(name=NAMES, rest=st.sampled_from(["", "/runs", "/batch", "/attempts", "/logs", "/retry", "/cancel", "/pause"]))
@pytest.mark.parametrize("room", ["tasks", "runs", "queues"])
def test_any_address_may_be_asked(api: Any, room: str, name: str, rest: str) -> None:
    from urllib.parse import quote

    for method in ("GET", "POST", "PATCH", "DELETE"):
        response = api.send(method, f"/{room}/{quote(name)}{rest}", b"{}")
        if response.status_code != 302:
            sound(response)
