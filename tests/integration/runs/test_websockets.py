"""The two websockets on real PostgreSQL and Valkey, through the whole ASGI application."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from channels.db import database_sync_to_async
from channels.layers import channel_layers, get_channel_layer
from django.conf import settings
from django.db import connection
from django.test import Client

from holdfast.access.models import Membership
from holdfast.access.roles import Role
from holdfast.asgi import application
from queues import tickets
from runs import consumers
from runs.models import Run
from runs.watched import LISTS, WATCHED, group_of
from tests.support import stored
from tests.support.people import signed_in
from tests.support.sockets import PATIENCE, Headers, Socket

pytestmark = pytest.mark.django_db(transaction=True)
NEVER = 3600.0
VIEWERS = 200


class Watcher:
    """A page with its websocket."""

    def __init__(self, socket: Socket) -> None:
        self.socket = socket
        self.lines: list[int] = []
        self.run: dict[str, Any] = {}
        self.attempts: dict[int, dict[str, Any]] = {}
        self.snapshots: list[int] = []
        self.kinds: list[str] = []

    async def hear(self) -> dict[str, Any]:
        output = await self.socket.hear()
        assert output["type"] == "websocket.send", output
        message: dict[str, Any] = json.loads(output["text"])
        assert message["v"] == 1
        self.kinds.append(message["type"])
        if message["type"] == "logs":
            self.lines += [line["sequence"] for line in message["items"]]
            assert message["next"] == self.lines[-1]
        elif message["type"] == "snapshots":
            self.snapshots += [item["sequence"] for item in message["items"]]
        elif message["type"] == "attempts":
            self.attempts |= {item["number"]: item for item in message["items"]}
        elif message["type"] == "run":
            self.run = message["run"]
        return message

    def is_over(self) -> bool:
        return self.run.get("status") == "completed"

    async def until(self, true: Callable[[], bool]) -> None:
        while not true():
            await self.hear()


def browser(client: Client) -> Headers:
    cookie = f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}"
    return [(b"host", b"localhost"), (b"origin", b"http://localhost"), (b"cookie", cookie.encode())]


@contextlib.asynccontextmanager
async def watching(path: str, headers: Headers) -> AsyncIterator[Watcher]:
    socket = Socket(application, path, headers)
    connected, code = await socket.connect()
    assert connected, code
    try:
        yield Watcher(socket)
    finally:
        await socket.disconnect()


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
def headers(transactional_db: None) -> Headers:
    return browser(signed_in("viewer"))


@pytest.fixture
def run(transactional_db: None) -> Run:
    run = stored.run("running")
    stored.attempt(run)
    return run


@database_sync_to_async
def write(run: Run, *messages: str) -> list[int]:
    return stored.lines(run, *messages)


@database_sync_to_async
def finish(run: Run) -> None:
    Run.objects.filter(pk=run.pk).update(status="completed", finished_at=run.created_at)


async def hint(group: str) -> None:
    layer = get_channel_layer()
    assert layer is not None
    await layer.group_send(group, {"type": "hint"})


async def until_true(look: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await look():
            await asyncio.sleep(0.02)


# --- one run ----------------------------------------------------------------------------------------------------------


async def test_a_page_is_told_all_and_then_what_happens(run: Run, headers: Headers) -> None:
    before = await write(run, "one", "two")
    await database_sync_to_async(stored.snapshots)(run, 1, 2)
    async with watching(f"/ws/runs/{run.id}", headers) as page:
        await page.until(lambda: page.run.get("status") == "running")
        assert page.kinds[0] == "hello"
        assert (page.lines, page.snapshots, list(page.attempts)) == (before, [1, 2], [1])
        after = await write(run, "three")
        await finish(run)
        await page.until(lambda: page.run.get("status") == "completed")
        assert page.lines == before + after


async def test_a_hint_is_followed_at_once(run: Run, headers: Headers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "POLL", NEVER)
    async with watching(f"/ws/runs/{run.id}", headers) as page:
        await page.until(lambda: bool(page.run))
        # The page asks once more when it begins to listen, so hints before that need not be heard.
        lines = await write(run, "soon")

        async def told() -> bool:
            await hint(group_of(run.id))
            return page.socket.has_heard

        await until_true(told)
        await page.until(lambda: page.lines == lines)


async def test_resuming_leaves_neither_gap_nor_double_while_lines_pour_in(run: Run, headers: Headers) -> None:
    async def pour() -> list[int]:
        found = []
        for block in range(30):
            found += await write(run, *(f"{block}.{n}" for n in range(60)))
            await hint(group_of(run.id))
        return found

    pouring = asyncio.create_task(pour())
    seen: list[int] = []
    path = f"/ws/runs/{run.id}?after=0"
    while not (pouring.done() and seen[-1:] == pouring.result()[-1:]):
        async with watching(path, headers) as page:
            await page.until(lambda page=page: len(page.lines) >= 100 or (pouring.done() and bool(page.lines)))
            seen += page.lines
        path = f"/ws/runs/{run.id}?after={seen[-1]}"
    assert seen == await pouring


async def test_a_page_that_returns_is_not_told_again_what_it_has(run: Run, headers: Headers) -> None:
    lines = await write(run, "one", "two", "three")
    await database_sync_to_async(stored.snapshots)(run, 1, 5)
    async with watching(f"/ws/runs/{run.id}?after={lines[1]}&snapshots=4", headers) as page:
        await page.until(lambda: bool(page.run))
        assert (page.lines, page.snapshots) == (lines[2:], [5])
        assert "hello" not in page.kinds


async def test_without_redis_the_page_is_told_by_polling(
    run: Run, headers: Headers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(settings.CHANNEL_LAYERS["default"]["CONFIG"], "hosts", ["redis://127.0.0.1:1/0"])
    monkeypatch.setattr(settings, "HOLDFAST_REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setattr(consumers, "POLL", 0.2)
    tickets.connection.cache_clear()
    channel_layers.backends.clear()
    async with watching(f"/ws/runs/{run.id}", headers) as page:
        await page.until(lambda: bool(page.run))
        lines = await write(run, "in spite of it")
        await page.until(lambda: page.lines == lines)
    tickets.connection.cache_clear()
    channel_layers.backends.clear()


async def test_a_watched_run_is_marked_for_those_who_give_hints(run: Run, headers: Headers) -> None:
    async with watching(f"/ws/runs/{run.id}", headers):

        async def marked() -> bool:
            score = await asyncio.to_thread(tickets.connection().zscore, WATCHED, str(run.id))
            return score is not None and score > time.time()  # type: ignore[operator]

        await until_true(marked)


async def test_a_quiet_page_hears_a_beat(run: Run, headers: Headers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "BEAT", 0.0)
    monkeypatch.setattr(consumers, "POLL", 0.15)
    async with watching(f"/ws/runs/{run.id}", headers) as page:
        await page.until(lambda: page.kinds.count("beat") >= 2)


async def test_a_run_that_does_not_exist_is_said_to_be_gone(headers: Headers) -> None:
    async with watching(f"/ws/runs/{uuid.uuid4()}", headers) as page:
        message = await page.socket.hear()
        assert message == {"type": "websocket.close", "code": consumers.GONE}


async def test_strangers_are_refused(run: Run) -> None:
    for path in (f"/ws/runs/{run.id}", "/ws/lists"):
        socket = Socket(application, path, [(b"host", b"localhost"), (b"origin", b"http://localhost")])
        assert await socket.connect() == (False, consumers.FORBIDDEN)


async def test_people_without_the_grant_are_refused(run: Run) -> None:
    headers = browser(await database_sync_to_async(signed_in)(None))
    socket = Socket(application, f"/ws/runs/{run.id}", headers)
    assert await socket.connect() == (False, consumers.FORBIDDEN)


async def test_pages_of_other_sites_are_refused(run: Run, headers: Headers) -> None:
    foreign = [(name, b"https://evil.example" if name == b"origin" else value) for name, value in headers]
    socket = Socket(application, f"/ws/runs/{run.id}", foreign)
    connected, _ = await socket.connect()
    assert not connected


async def test_whoever_loses_the_grant_is_told_nothing_more(
    run: Run, headers: Headers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "RECHECK", 0.0)
    monkeypatch.setattr(consumers, "POLL", 0.15)
    async with watching(f"/ws/runs/{run.id}", headers) as page:
        await page.until(lambda: bool(page.run))
        await database_sync_to_async(Membership.objects.filter(role=Role.VIEWER).delete)()
        while (message := await page.socket.hear())["type"] != "websocket.close":
            pass
        assert message["code"] == consumers.FORBIDDEN


@pytest.mark.parametrize("path", ["/ws/runs/{}", "/ws/lists"])
async def test_whoever_signs_out_is_told_nothing_more(run: Run, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setattr(consumers, "RECHECK", 0.0)
    monkeypatch.setattr(consumers, "POLL", 0.15)
    person = await database_sync_to_async(signed_in)(Role.OPERATOR)
    async with watching(path.format(run.id), browser(person)) as page:
        await database_sync_to_async(person.logout)()
        while (message := await page.socket.hear())["type"] != "websocket.close":
            pass
        assert message["code"] == consumers.FORBIDDEN


async def test_a_client_that_does_not_read_is_left(run: Run, headers: Headers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "SEND_TIMEOUT", 0.2)
    accepted = asyncio.Event()
    taken: list[str] = []

    async def receive() -> dict[str, Any]:
        if not accepted.is_set():
            return {"type": "websocket.connect"}
        await asyncio.Event().wait()  # it says nothing, not even goodbye
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "websocket.accept":
            accepted.set()
            return
        taken.append(message["type"])
        await asyncio.Event().wait()  # its buffers are full

    scope = {"type": "websocket", "path": f"/ws/runs/{run.id}", "query_string": b"", "headers": headers}
    async with asyncio.timeout(PATIENCE):
        await application({**scope, "subprotocols": []}, receive, send)
    assert taken == ["websocket.send"], "nothing more was queued for it"


@database_sync_to_async
def reading() -> int:
    """How many connections of live pages PostgreSQL has in this test's database."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE application_name = 'holdfast live' AND datname = current_database()"
        )
        return int(cursor.fetchone()[0])


async def test_two_hundred_viewers_of_one_busy_run_are_each_told_all_of_it_once(run: Run, headers: Headers) -> None:
    written: list[int] = []
    most = 0

    async def gone() -> bool:
        return await reading() == 0

    await until_true(gone)  # those of the test before
    async with contextlib.AsyncExitStack() as open_pages:
        path = f"/ws/runs/{run.id}?after=0"
        pages = [await open_pages.enter_async_context(watching(path, headers)) for _ in range(VIEWERS)]
        watched = [
            asyncio.ensure_future(page.until(lambda page=page: page.run.get("status") == "completed")) for page in pages
        ]
        for block in range(20):
            written += await write(run, *(f"{block}.{n}" for n in range(40)))
            await database_sync_to_async(stored.snapshots)(run, 5 * block + 1, 5 * block + 5)
            await hint(group_of(run.id))
            most = max(most, await reading())
        await finish(run)
        await asyncio.gather(*watched)
    assert [page.lines for page in pages] == [written] * VIEWERS
    assert [page.snapshots for page in pages] == [list(range(1, 101))] * VIEWERS
    assert most <= consumers.live._CONNECTIONS, "the viewers share a few connections"


async def test_one_viewer_that_does_not_read_holds_nobody_else_up(
    run: Run, headers: Headers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "SEND_TIMEOUT", NEVER)
    stuck = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if not stuck.is_set():
            return {"type": "websocket.connect"}
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        stuck.set()
        if message["type"] == "websocket.send":
            await asyncio.Event().wait()

    scope = {"type": "websocket", "path": f"/ws/runs/{run.id}", "query_string": b"", "headers": headers}
    slow = [asyncio.ensure_future(application({**scope, "subprotocols": []}, receive, send)) for _ in range(10)]
    await stuck.wait()
    async with watching(f"/ws/runs/{run.id}?after=0", headers) as page:
        lines = await write(run, "told", "in spite of them")
        await page.until(lambda: page.lines == lines)
    assert not any(one.done() for one in slow), "they were still there, and nobody waited for them"
    for one in slow:
        one.cancel()
    await asyncio.gather(*slow, return_exceptions=True)


# --- lists ------------------------------------------------------------------------------------------------------------


async def test_lists_are_told_of_hints_and_no_faster_than_four_times_a_second(
    headers: Headers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "POLL", NEVER)
    async with watching("/ws/lists", headers) as page:
        assert (await page.hear())["type"] == "changed"  # what happened before it listened
        began = time.monotonic()
        for _ in range(3):
            for _ in range(20):
                await hint(LISTS)
            assert (await page.hear())["type"] == "changed"
        assert time.monotonic() - began >= 2 * consumers.LIST_PACE


async def test_lists_are_told_of_new_runs_without_any_hint(headers: Headers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "POLL", 0.2)
    async with watching("/ws/lists", headers) as page:
        await page.hear()
        await database_sync_to_async(stored.run)("queued")
        assert (await page.hear())["type"] == "changed"


async def test_a_page_that_leaves_while_it_arrives_is_let_go(run: Run, headers: Headers) -> None:
    """Once, a cancellation got lost in Redis' client, and the page's task stayed for ever."""
    for turns in range(0, 120, 4):
        async with watching(f"/ws/runs/{run.id}", headers):
            for _ in range(turns):
                await asyncio.sleep(0)


async def test_connections_are_closed_with_the_last_page(run: Run, headers: Headers) -> None:
    async with watching(f"/ws/runs/{run.id}", headers) as one, watching("/ws/lists", headers):
        await one.until(lambda: bool(one.run))
        assert consumers.live.READERS._pool is not None

    async def closed() -> bool:
        return consumers.live.READERS._pool is None

    await until_true(closed)


async def test_the_log_is_downloaded_whole_as_text(run: Run, headers: Headers) -> None:
    await write(run, *(f"line {n}" for n in range(consumers.live.BATCH + 7)))
    text = "".join([part async for part in consumers.live.log_text(run.id)])
    lines = text.splitlines()
    assert len(lines) == consumers.live.BATCH + 7
    assert lines[-1].endswith(f" INFO     1 - line {consumers.live.BATCH + 6}")
