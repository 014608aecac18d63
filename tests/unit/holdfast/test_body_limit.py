"""The answer to a body that is too long, which no middleware sees."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.bodylimit import BodyLimit

LIMIT = 10


async def _app(scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_that_is_too_long_is_refused_under_the_policy_of_pages(declared: bool) -> None:
    said: list[dict[str, Any]] = []
    headers = [(b"content-length", b"999")] if declared else []
    parts = iter([{"type": "http.request", "body": b"x" * LIMIT, "more_body": n < 9} for n in range(10)])

    async def receive() -> dict[str, Any]:
        return next(parts)

    async def send(message: dict[str, Any]) -> None:
        said.append(message)

    app = BodyLimit(_app, lambda path, kind: LIMIT, lambda limit: b"{}")
    await app({"type": "http", "path": "/sign-in/", "headers": headers}, receive, send)
    assert said[0]["status"] == 413
    told = dict(said[0]["headers"])
    assert told[b"content-security-policy"].startswith(b"default-src 'none'")
    assert told[b"x-content-type-options"] == b"nosniff"
