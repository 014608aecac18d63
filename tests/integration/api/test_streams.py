"""Streams over HTTP: through a real web server while a real worker sends."""

from __future__ import annotations

import re
import uuid
from typing import Any

import httpx
import pytest

from tests.support.processes import Fleet
from tests.support.sse import ACCEPT, Event, follow, text


@pytest.fixture
def streaming_client(streaming: Fleet, client: httpx.Client) -> httpx.Client:
    """A program at a server whose worker streams."""
    streaming.worker("alice")
    streaming.scheduler()
    return client


def start(client: httpx.Client, task: str, **payload: Any) -> str:
    response = client.post(f"/tasks/{task}/runs", json={"payload": payload})
    assert response.status_code == 201, response.text
    run_id: str = response.json()["id"]
    return run_id


def data(events: list[Event]) -> list[Any]:
    return [event.data["data"] for event in events if event.kind == "chunk"]


def test_words_arrive_while_the_run_still_works_and_the_end_is_told(
    streaming_client: httpx.Client, streaming: Fleet
) -> None:
    run_id = start(streaming_client, "says-in-turns", words=["Hello", {"tool": "search"}, " ü€😀"], gate="turn")
    events = follow(streaming_client, f"/runs/{run_id}/streams/answer")
    first = next(events)
    assert (first.kind, first.data["data"], first.data["attempt"], first.data["step"]) == ("chunk", "Hello", 1, None)
    assert first.id == str(first.data["sequence"])
    streaming.ledger.open_gate("turn-1")
    assert next(events).data["data"] == {"tool": "search"}
    streaming.ledger.open_gate("turn-2")
    rest = list(events)
    assert [(e.kind, e.data) for e in rest[1:]] == [("end", {"status": "completed"})]
    assert rest[0].data["data"] == " ü€😀"
    assert rest[-1].id == ""


def test_a_reader_that_is_cut_off_again_and_again_misses_nothing_and_gets_nothing_twice(
    streaming_client: httpx.Client,
) -> None:
    count = 10_000
    run_id = start(streaming_client, "counts-aloud", count=count)
    seen: list[Event] = []
    while not (seen and seen[-1].kind == "end"):
        last = seen[-1].id if seen else ""
        events = follow(streaming_client, f"/runs/{run_id}/streams/numbers", last)
        for event in events:
            seen.append(event)
            if len(seen) % 1_500 == 0:
                break
        events.close()
    assert data(seen) == list(range(count))
    assert [e.kind for e in seen[-2:]] == ["closed", "end"]


def test_as_a_list_a_stream_is_read_in_pages(streaming_client: httpx.Client) -> None:
    run_id = start(streaming_client, "counts-aloud", count=700)
    list(follow(streaming_client, f"/runs/{run_id}/streams/numbers"))
    page = streaming_client.get(f"/runs/{run_id}/streams/numbers").json()
    assert (len(page["items"]), page["next"]) == (500, page["items"][-1]["sequence"])
    assert set(page["items"][0]) == {"sequence", "kind", "at", "data", "attempt", "step", "snapshot"}
    rest = streaming_client.get(f"/runs/{run_id}/streams/numbers?after={page['next']}").json()
    assert [c["data"] for c in page["items"] + rest["items"]] == [*range(700), None]
    assert rest["next"] is None
    assert streaming_client.get(f"/runs/{run_id}/streams/other").json() == {"items": [], "next": None}
    few = streaming_client.get(f"/runs/{run_id}/streams/numbers?limit=3&after={page['next']}").json()
    assert [c["data"] for c in few["items"]] == [500, 501, 502]


def test_readers_see_the_new_attempt_and_what_holds(streaming_client: httpx.Client) -> None:
    run_id = start(streaming_client, "tells-twice")
    events = list(follow(streaming_client, f"/runs/{run_id}/streams/answer"))
    chunks = [e.data for e in events if e.kind != "end"]
    assert [e.data["attempt"] for e in events if e.kind == "restart" and e.data["step"] is None] == [2]
    assert text(chunks) == "[ab|cdkeptef]"


def test_an_address_that_cannot_be_is_refused(streaming_client: httpx.Client) -> None:
    unknown = f"/runs/{uuid.uuid4()}/streams/answer"
    for headers in ({}, ACCEPT):
        assert streaming_client.get(unknown, headers=headers).json()["code"] == "unknown_run"
        assert streaming_client.get(unknown, headers=headers).status_code == 404
    assert streaming_client.get("/runs/x/streams/answer").status_code == 422
    run_id = start(streaming_client, "counts-aloud", count=1)
    assert streaming_client.get(f"/runs/{run_id}/streams/%20").json()["code"] == "stream_misuse"
    assert streaming_client.get(f"/runs/{run_id}/streams/answer?after=x").status_code == 422


def test_a_token_reads_its_run_and_nothing_else(streaming_client: httpx.Client, server: str) -> None:
    from runs.sdk import streamtoken
    from runs.sdk.handle import RunHandle

    run_id = start(streaming_client, "says-in-turns", words=["for ", "you"])
    other = start(streaming_client, "says-in-turns", words=["for others"])
    handle: RunHandle[Any] = RunHandle(uuid.UUID(run_id))
    with httpx.Client(base_url=f"http://{server}", timeout=30) as page:
        token = handle.stream_token("answer")
        events = list(follow(page, f"/streams/{token}"))
        assert (data(events), events[-1].kind) == (["for ", "you"], "end")
        assert data(list(follow(page, f"/streams/{token}", events[0].id))) == ["you"]
        assert data(list(follow(page, f"/streams/{handle.stream_token()}?stream=answer"))) == ["for ", "you"]

        def refused(address: str, status: int = 403, code: str = "stream_token_refused") -> None:
            response = page.get(address, headers=ACCEPT)
            assert (response.status_code, response.json()["code"]) == (status, code)
            assert response.headers["content-type"] == "application/problem+json"
            assert response.headers["access-control-allow-origin"] == "*"
            assert run_id not in response.text
            assert other not in response.text

        foreign = RunHandle[Any](uuid.UUID(other)).stream_token("answer")
        spliced = foreign.partition(":")[0] + ":" + token.partition(":")[2]
        for wrong in (spliced, token[:-2], "nonsense", run_id):
            refused(f"/streams/{wrong}")
        refused(f"/streams/{token}?stream=secrets")
        refused(f"/streams/{handle.stream_token()}", 400, "stream_misuse")
        refused(f"/streams/{streamtoken.issue(uuid.uuid4(), 'answer')}", 404, "unknown_run")
        # It opens no other door.
        bearer = {"Authorization": f"Bearer {token}"}
        assert page.get(f"/api/v1/runs/{run_id}/streams/answer", headers=bearer).status_code == 401
        assert page.get(f"/api/v1/runs/{run_id}", headers=bearer).status_code == 401


def test_an_expired_token_is_refused_and_ends_what_it_had_opened(
    streaming_client: httpx.Client, streaming: Fleet, server: str
) -> None:
    from runs.sdk import streamtoken
    from tests.support.waiting import eventually

    run_id = start(streaming_client, "says-in-turns", words=["a", "b"], gate="never")
    token = streamtoken.issue(uuid.UUID(run_id), "answer", ttl=0.2)

    def refused() -> bool:
        with httpx.stream("GET", f"http://{server}/streams/{token}", headers=ACCEPT, timeout=30) as response:
            return response.status_code == 403

    eventually(refused, "the token expires")
    streaming.ledger.open_gate("never-1")


def test_the_template_tag_gives_an_address_for_one_stream_and_no_inline_code() -> None:
    from django.template import Context, Template

    run_id = uuid.uuid4()
    drawn = Template('{% load holdfast_streams %}{% holdfast_stream run "answer" %}').render(Context({"run": run_id}))
    from runs.sdk import streamtoken

    address = re.search(r'data-holdfast-stream="/streams/([^"]+)"', drawn)
    assert address is not None
    assert streamtoken.check(address[1]) == streamtoken.Grant(run_id, "answer")
    assert re.search(r'<script src="/static/holdfast/stream\.js\?v=\w+" defer></script>', drawn)
    assert "style=" not in drawn
