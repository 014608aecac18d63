"""Readers of a stream in this process: woken by hints, polling without them, and gone without a trace."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import psycopg
import pytest
from asgiref.testing import ApplicationCommunicator
from channels.db import database_sync_to_async
from channels.layers import channel_layers, get_channel_layer
from django.conf import settings
from django.db import OperationalError
from psycopg.errors import AdminShutdown
from psycopg_pool import PoolTimeout

from holdfast.asgi import application
from queues import tickets
from runs import feed, live
from runs.api import problems
from runs.models import Run
from runs.sdk import streamtoken
from runs.watched import group_of
from tests.support import stored
from tests.support.sockets import PATIENCE

pytestmark = pytest.mark.django_db(transaction=True)
NEVER = 3600.0


@pytest.fixture(autouse=True)
def valkey(servers: object) -> Iterator[None]:
    """Clients of this test's Valkey; the layer forgets the loops of earlier tests."""
    tickets.connection.cache_clear()
    channel_layers.backends.clear()
    tickets.connection().flushdb()
    yield
    tickets.connection().close()
    tickets.connection.cache_clear()


@pytest.fixture
def run(transactional_db: None) -> Run:
    run = stored.run("running")
    stored.attempt(run)
    return run


class Reader(ApplicationCommunicator):
    """A client of `/streams/<token>`."""

    def __init__(self, token: str) -> None:
        scope = {
            "type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "path": f"/streams/{token}",
            "raw_path": f"/streams/{token}".encode(), "query_string": b"", "root_path": "",
            "headers": [(b"host", b"localhost"), (b"accept", b"text/event-stream")],
            "server": ("localhost", 80), "client": ("127.0.0.1", 1),
        }  # fmt: skip
        super().__init__(application, scope)
        self.heard = ""
        self.headers: dict[str, str] = {}

    async def begin(self) -> int:
        await self.send_input({"type": "http.request", "body": b"", "more_body": False})
        answer = await self.receive_output(PATIENCE)
        self.headers = {name.decode().lower(): value.decode() for name, value in answer["headers"]}
        return int(answer["status"])

    async def until(self, words: str) -> None:
        while words not in self.heard:
            self.heard += (await self.receive_output(PATIENCE)).get("body", b"").decode()

    async def leave(self) -> None:
        await self.send_input({"type": "http.disconnect"})
        await self.wait(PATIENCE)


@contextlib.asynccontextmanager
async def reading(run: Run) -> AsyncIterator[Reader]:
    reader = Reader(streamtoken.issue(run.id, "answer"))
    assert await reader.begin() == 200
    yield reader
    await reader.leave()


@database_sync_to_async
def send(run: Run, *data: Any) -> list[int]:
    return stored.chunks(run, *data)


async def nothing_is_left() -> None:
    """Whatever a reader had is freed: its place, its tasks, and with the last one the connections."""

    def tasks() -> list[str]:
        names = [getattr(t.get_coro(), "__qualname__", "") for t in asyncio.all_tasks()]
        return [n for n in names if n.startswith(("Listener", "keep_marked", "events", "_parts"))]

    async with asyncio.timeout(PATIENCE):
        while feed.OPEN.count or live.READERS._pool is not None or tasks():
            await asyncio.sleep(0.02)


async def test_a_hint_is_followed_at_once_and_a_client_that_leaves_frees_everything(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "POLL", NEVER)
    layer = get_channel_layer()
    assert layer is not None
    async with reading(run) as reader:
        await send(run, "first")
        async with asyncio.timeout(PATIENCE):
            while "first" not in reader.heard:
                await layer.group_send(group_of(run.id), {"type": "hint"})
                with contextlib.suppress(asyncio.TimeoutError):
                    if not await reader.receive_nothing(0.2):
                        await reader.until("\n\n")
                        reader.heard += (await reader.receive_output(PATIENCE)).get("body", b"").decode()
        assert feed.OPEN.count == 1
    await nothing_is_left()


async def test_without_redis_a_reader_is_told_by_polling(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(settings.CHANNEL_LAYERS["default"]["CONFIG"], "hosts", ["redis://127.0.0.1:1/0"])
    monkeypatch.setattr(settings, "HOLDFAST_REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setattr(feed, "POLL", 0.2)
    tickets.connection.cache_clear()
    channel_layers.backends.clear()
    async with reading(run) as reader:
        await reader.until(": stream")
        await send(run, "in spite of it")
        await reader.until("in spite of it")
    await nothing_is_left()
    tickets.connection.cache_clear()
    channel_layers.backends.clear()


async def test_an_idle_reader_holds_no_connection_and_hears_a_beat(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "BEAT", 0.1)
    monkeypatch.setattr(feed, "POLL", 0.2)
    async with contextlib.AsyncExitStack() as stack:
        readers = [await stack.enter_async_context(reading(run)) for _ in range(12)]
        for reader in readers:
            await reader.until(": beat")
        assert live.READERS._pool is not None
        assert live.READERS._pool.get_stats()["pool_size"] <= live._CONNECTIONS
    await nothing_is_left()


async def test_an_open_reader_is_told_nothing_more_once_its_token_has_expired(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "RECHECK", 0.0)
    monkeypatch.setattr(feed, "POLL", 0.15)
    reader = Reader(streamtoken.issue(run.id, "answer", ttl=60))
    assert await reader.begin() == 200
    later = time.time() + 62
    with monkeypatch.context() as hour_hand:
        hour_hand.setattr(time, "time", lambda: later)
        await reader.wait(PATIENCE)  # the server ends it
    assert "event: end" not in reader.heard
    await nothing_is_left()


async def test_a_reader_that_takes_nothing_is_left(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "SEND_TIMEOUT", 0.2)
    await send(run, "a")
    asked = asyncio.Event()
    bodies: list[bytes] = []

    async def receive() -> dict[str, Any]:
        if not asked.is_set():
            asked.set()
            return {"type": "http.request", "body": b"", "more_body": False}
        await asyncio.Event().wait()  # it says nothing, not even goodbye
        raise AssertionError

    async def blocked(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body":
            bodies.append(message["body"])
            await asyncio.Event().wait()  # its buffers are full

    scope = Reader(streamtoken.issue(run.id, "answer")).scope
    async with asyncio.timeout(PATIENCE):
        await application(scope, receive, blocked)
    assert bodies == [b": stream\n\n"], "nothing more was queued for it"
    await nothing_is_left()


async def test_more_readers_than_a_process_takes_are_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "MAX_READERS", 1)
    async with reading(run) as first:
        await first.until(": stream")
        second = Reader(streamtoken.issue(run.id, "answer"))
        assert await second.begin() == 503
        assert second.headers["retry-after"] == "5"
        await second.until('"code":"too_many_readers"')
        await second.wait(PATIENCE)
        assert problems.of(feed.TooManyReaders()).headers["Retry-After"] == "5", "under /api/v1, too"
    await nothing_is_left()


@pytest.mark.parametrize("says", [PoolTimeout("no connection after 5 s"), AdminShutdown("10.0.0.7 ends the session")])
async def test_a_reader_that_comes_while_postgresql_is_away_is_told_to_try_again(
    run: Run, monkeypatch: pytest.MonkeyPatch, says: psycopg.Error
) -> None:
    async def away(*args: Any) -> list[Any]:
        raise says

    monkeypatch.setattr(live.Readers, "rows", away)
    reader = Reader(streamtoken.issue(run.id, "answer"))
    assert await reader.begin() == 503
    await reader.until('"code":"database_unavailable"')
    assert str(says) not in reader.heard
    assert reader.headers["retry-after"]
    assert reader.headers["content-type"] == "application/problem+json"
    assert reader.headers["access-control-allow-origin"] == "*", "the pages of others may learn of it, too"
    await reader.wait(PATIENCE)
    await nothing_is_left()


async def test_a_reader_is_let_go_when_nobody_can_tell_whether_it_may_still_read(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def unknown() -> bool:
        raise OperationalError("the server closed the connection")

    monkeypatch.setattr(feed, "RECHECK", 0.0)
    assert [part async for part in feed.events(run.id, "answer", 0, unknown)] == [b": stream\n\n"]
    assert "PostgreSQL does not answer: the server closed the connection" in caplog.text
    await nothing_is_left()
