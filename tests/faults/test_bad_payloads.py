"""Fault 31: whatever a payload holds, it is refused where it is given, by the field or the limit; nothing is stored.

The HTTP API's own refusals stand in tests/integration/api/test_bad_input.py.
"""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from runs import services
from runs.errors import HoldfastError, NotSerializable, PayloadTooLarge
from runs.models import IdempotencyKey, Run
from tests.support.processes import Fleet
from tests.support.runs import the
from tests.support.web import port_of


def nested(levels: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(levels):
        found = [found]
    return found


def circle() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


BAD = {
    "NaN": ({"deep": [1, float("nan")]}, NotSerializable, "payload.value.deep[1]"),
    "infinity": (float("-inf"), NotSerializable, "payload.value"),
    "NUL": ("a\x00b", NotSerializable, "payload.value"),
    "NUL in a key": ({"\x00": 1}, NotSerializable, "payload.value"),
    "lone surrogate": ("half \ud800", NotSerializable, "payload.value"),
    "10,000 deep": (nested(10_000), NotSerializable, "payload.value"),
    "circular": (circle(), NotSerializable, "payload.value"),
    "5,000 digits": (10**5_000, NotSerializable, "payload.value"),
    "no JSON": (object(), NotSerializable, "payload.value"),
    "20 MB": ("x" * 20_000_000, PayloadTooLarge, "1,048,576"),
}


@pytest.mark.parametrize("kind", list(BAD))
@pytest.mark.parametrize("way", ["enqueue", "with a key", "enqueue_many", "service"])
def test_fault_31_the_sdk_refuses_a_bad_payload_and_names_the_field_or_the_limit(
    registered: None, way: str, kind: str
) -> None:
    value, error, named = BAD[kind]
    ways: dict[str, Any] = {
        "enqueue": lambda: the("echo").enqueue(value),
        "with a key": lambda: the("echo").using(idempotency_key="key").enqueue(value),
        "enqueue_many": lambda: the("echo").enqueue_many([{"value": 1}, {"value": value}]),
        "service": lambda: services.task_enqueue("echo", {"value": value}, {}, actor=None),  # type: ignore[arg-type]
    }
    with pytest.raises(HoldfastError) as raised:
        ways[way]()
    assert isinstance(raised.value, error), repr(raised.value)
    if way == "enqueue_many":
        named = named.replace("payload.", "payloads[1].")
    assert named in str(raised.value)
    assert len(str(raised.value)) < 2_000, "the error does not carry the payload"
    assert not Run.objects.exists()
    assert not IdempotencyKey.objects.exists()


@pytest.mark.parametrize("chunked", [False, True], ids=["with its length", "in chunks"])
def test_fault_31_20_mb_over_http_are_refused_with_the_limit_by_a_real_server(fleet: Fleet, chunked: bool) -> None:
    from holdfast.access import services as access
    from holdfast.access.grants import Actor

    web = fleet.start("web", "web", "--port", "0")
    _, plaintext = access.token_create(name="live", role="admin", actor=Actor.local())
    head, piece = b'{"payload":{"value":"', b"x" * 1_000_000

    def body() -> Any:
        yield head
        for _ in range(20):
            yield piece
        yield b'"}}'

    content: Any = body() if chunked else head + piece * 20 + b'"}}'
    headers = {"Authorization": f"Bearer {plaintext}", "Content-Type": "application/json"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port_of(web)}/api/v1", headers=headers, timeout=30) as client:
        try:
            response = client.post("/tasks/echo/runs", content=content)
        except (httpx.WriteError, httpx.ReadError):
            response = None  # refused before all was sent, which a client may see as a cut connection
        if response is not None:
            assert response.status_code == 413
            assert response.json()["code"] == "body_too_large"
            assert "1,114,112" in response.json()["detail"]
        assert client.post("/tasks/echo/runs", json={"payload": {"value": "small"}}).status_code == 201
    assert Run.objects.count() == 1
