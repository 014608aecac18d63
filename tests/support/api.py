"""A caller of the HTTP API, and what its refusals must look like."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from django.test import Client

ROOT = "/api/v1"


@dataclass
class Caller:
    """A program with a token, or without."""

    headers: dict[str, str] = field(default_factory=dict)
    client: Client = field(default_factory=lambda: Client(raise_request_exception=False))

    def send(self, method: str, path: str, body: Any = b"", **headers: str) -> Any:
        """The response. What is not bytes is sent as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = headers.pop("content_type", "application/json")
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.generic(method, ROOT + path, data, kind, headers={**self.headers, **named})

    def get(self, path: str, **headers: str) -> Any:
        return self.send("GET", path, **headers)

    def post(self, path: str, body: Any = b"", **headers: str) -> Any:
        return self.send("POST", path, body, **headers)

    def patch(self, path: str, body: Any = b"", **headers: str) -> Any:
        return self.send("PATCH", path, body, **headers)


def problem(response: Any, status: int, code: str | None = None, field: str | None = None) -> dict[str, Any]:
    """The body of a refusal, checked to be a whole problem+json that names the field."""
    assert response.status_code == status, response.content[:500]
    assert response["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = json.loads(response.content)
    assert set(body) == {"type", "title", "status", "detail", "errors", "code"}
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    assert code is None or body["code"] == code, body
    places = {"at", "length", "suggestion"}
    assert all({"field", "message"} <= set(e) <= {"field", "message"} | places and e["message"] for e in body["errors"])
    assert field is None or field in [e["field"] for e in body["errors"]], body
    return body
