"""`GET /api/v1/runs?q=`: the same searches as on the page, and errors that point at their characters."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from runs.search import plan
from tests.support import stored
from tests.support.api import Caller, problem

pytestmark = pytest.mark.django_db


def ids(response: Any) -> list[str]:
    assert response.status_code == 200, response.content
    return [item["id"] for item in response.json()["items"]]


def search(q: str, **more: str) -> str:
    rest = "".join(f"&{name}={value}" for name, value in more.items())
    return f"/runs?q={quote(q)}{rest}"


def test_a_search_and_plain_parameters_are_one_filter(api: Caller) -> None:
    wanted = stored.run("failed", tags=["x"], payload={"user": {"id": 42}})
    stored.run("failed", tags=["x"], payload={"user": {"id": 43}})
    stored.run("completed", tags=["x"], payload={"user": {"id": 42}})
    assert ids(api.get(search("payload.user.id:42 tag:x", status="failed"))) == [str(wanted.id)]
    assert ids(api.get(search("-payload.user.id:43 -status:completed"))) == [str(wanted.id)]
    assert len(ids(api.get(search("")))) == 3


def test_an_error_says_at_which_character(api: Caller) -> None:
    body = problem(api.get(search("queue:llm stauts:failed")), 422, "invalid_filter", "q")
    assert body["errors"] == [
        {
            "field": "q",
            "message": "is no term; did you mean status:?",
            "at": 10,
            "length": 7,
            "suggestion": "status:",
        }
    ]
    assert "at character 11" in body["detail"]


def test_a_page_whose_look_was_not_enough_has_a_next_one(api: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "WINDOW", 4)
    wanted = stored.run(age=100, payload={"n": 1})
    for age in range(9):
        stored.run(age=age)
    path, looks = search("payload.n:1"), 0
    while True:
        looks += 1
        response = api.get(path)
        if found := ids(response):
            break
        path = search("payload.n:1", cursor=response.json()["next"])
    assert (found, looks) == ([str(wanted.id)], 3)


@pytest.mark.parametrize("q", ["\x00", '"', "a" * 4_001, "payload.a:1e999", "age:>99999999d", "created:9999-12-31"])
def test_no_search_is_an_error_of_the_server(api: Caller, q: str) -> None:
    assert api.get(search(q)).status_code in {200, 422}


def test_a_search_stands_once(api: Caller) -> None:
    problem(api.get("/runs?q=a&q=b"), 422, "invalid_filter", "q")
