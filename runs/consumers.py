"""The two websockets: `/ws/runs/<id>?after=<sequence>` tells what one run does, `/ws/lists` that lists changed.

Channels messages are hints only; what is told is read from PostgreSQL by cursor (`runs.live`), so a lost hint, or
Redis itself lost, costs at most POLL seconds. Nothing is queued for a client: the next rows are read when the last
ones have gone out, and a client that does not take a message within SEND_TIMEOUT is left.

These are plain ASGI applications and not subclasses of a consumer: those end with their channel layer's connection,
and these must outlive Redis.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from importlib import import_module
from typing import Any, Final
from urllib.parse import parse_qs

import psycopg
from channels.db import database_sync_to_async
from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest
from psycopg_pool import PoolTimeout

from holdfast.access.grants import allows
from runs import live
from runs.listening import Listener, keep_marked
from runs.watched import LISTS, group_of

logger = logging.getLogger("holdfast.live")

#: Seconds: shortest between two reads for one page; longest without a read; of silence until a beat; for one message
#: to be taken; between two checks of the grant.
PACE, POLL, BEAT, SEND_TIMEOUT, RECHECK = 0.1, 2.0, 5.0, 10.0, 60.0
#: Seconds between two "changed" of lists.
LIST_PACE: Final = 0.25
#: Lists ask again after so many seconds though nothing was said: workers die in silence.
LIST_POLL: Final = 15.0
GRANT: Final = "runs.view"

#: Close codes: not allowed (any more), no such run, the server cannot read. Of these a page retries only the last.
FORBIDDEN, GONE, BROKEN = 4403, 4404, 1011

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Part = Callable[[live.Readers], Coroutine[Any, Any, None]]


class Left(Exception):
    """The page went away, or is to go; `code` is told it unless it does not listen."""

    def __init__(self, code: int | None = None) -> None:
        super().__init__(code)
        self.code = code


class Page(Listener):
    """One websocket: its messages out, its hints in."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        super().__init__()
        self.scope = scope
        self.receive = receive
        self.send = send
        self._told_at = time.monotonic()
        self._checked_at = time.monotonic()

    async def tell(self, message: live.Message) -> None:
        """Raises Left when the client does not take it in time."""
        await self.say(live.text_of(message))

    async def say(self, text: str) -> None:
        """`tell` of a message that is written already."""
        try:
            async with asyncio.timeout(SEND_TIMEOUT):
                await self.send({"type": "websocket.send", "text": text})
        except TimeoutError:
            logger.info("a page did not take a message within %s s; it is left", SEND_TIMEOUT)
            raise Left from None
        except OSError:  # how the server says that the client is gone
            raise Left from None
        self._told_at = time.monotonic()

    async def beat(self) -> None:
        """Says something if nothing was said for a while, and looks whether the user may still watch."""
        now = time.monotonic()
        if now - self._told_at >= BEAT:
            await self.tell(live.beat())
        if now - self._checked_at >= RECHECK:
            self._checked_at = now
            if not await may_watch(self.scope.get("session")):
                raise Left(FORBIDDEN)

    async def until_left(self) -> None:
        """What a client sends means nothing here; it is read so that its goodbye is."""
        while (await self.receive())["type"] != "websocket.disconnect":
            pass
        raise Left

    async def close(self, code: int) -> None:
        try:
            async with asyncio.timeout(1):
                await self.send({"type": "websocket.close", "code": code})
        except (TimeoutError, OSError, RuntimeError):
            pass


async def run_socket(scope: Scope, receive: Receive, send: Send) -> None:
    """`/ws/runs/<id>?after=<log>&snapshots=<snapshot>&chunks=<chunk>`: what comes after these sequences;
    `snapshots=last` begins with the last ones."""
    page = Page(scope, receive, send)
    cursor = _cursor(scope)
    await _serve(page, group_of(cursor.run_id), partial(_tell_run, page, cursor), partial(_mark_run, cursor.run_id))


async def lists_socket(scope: Scope, receive: Receive, send: Send) -> None:
    """`/ws/lists`: says "changed" when lists should be asked again, at most four times a second."""
    page = Page(scope, receive, send)
    await _serve(page, LISTS, partial(_tell_lists, page))


async def may_watch(session: Any) -> bool:
    """Whether whoever has this session may watch now: it is read anew, because a socket outlives roles and sessions.
    Who has signed out, or whose session is over or was ended by a new password, may not."""
    key = None if session is None else session.session_key
    return key is not None and await database_sync_to_async(_may_watch)(key)


def _may_watch(session_key: str) -> bool:
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    return allows(get_user(request), GRANT)


def _cursor(scope: Scope) -> live.Cursor:
    asked = parse_qs(scope.get("query_string", b"").decode("latin-1"))
    run_id = uuid.UUID(scope["url_route"]["kwargs"]["run_id"])
    return live.cursor_from(run_id, *(asked.get(name, [""])[-1] for name in ("after", "snapshots", "chunks")))


async def _serve(page: Page, group: str, *parts: Part) -> None:
    """Runs the parts of a page until one of them ends it."""
    await page.receive()  # websocket.connect
    if not await may_watch(page.scope.get("session")):
        await page.close(FORBIDDEN)
        return
    await page.send({"type": "websocket.accept"})
    code: int | None = None
    try:
        async with live.READERS.open() as readers, asyncio.TaskGroup() as tasks:
            tasks.create_task(page.until_left())
            tasks.create_task(page.listen(group))
            for part in parts:
                tasks.create_task(part(readers))
    except* Left as endings:
        code = next((e.code for e in _flat(endings) if e.code is not None), None)
    except* (psycopg.Error, PoolTimeout) as errors:
        logger.warning("a live page ends, PostgreSQL does not answer: %s", errors.exceptions[0])
        code = BROKEN
    if code is not None:
        await page.close(code)


def _flat(group: BaseExceptionGroup[Left]) -> list[Left]:
    return [e for e in group.exceptions if isinstance(e, Left)]


async def _tell_run(page: Page, cursor: live.Cursor, readers: live.Readers) -> None:
    while True:
        batch = await readers.read(cursor)
        if batch.gone:
            raise Left(GONE)
        for text in batch.texts:
            await page.say(text)
        await page.beat()
        await asyncio.sleep(PACE)
        if not batch.more:
            await page.wait(POLL - PACE)


async def _tell_lists(page: Page, readers: live.Readers) -> None:
    known = await readers.pulse()
    told_at = time.monotonic()
    while True:
        if not (changed := await page.wait(POLL)):
            pulse = await readers.pulse()
            changed = pulse != known or not page.listening or time.monotonic() - told_at >= LIST_POLL
            known = pulse
        if changed:
            await page.tell(live.changed())
            told_at = time.monotonic()
        await page.beat()
        await asyncio.sleep(LIST_PACE)


async def _mark_run(run_id: uuid.UUID, readers: live.Readers) -> None:
    del readers
    await keep_marked(run_id)
