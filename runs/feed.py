"""A stream of a run as server-sent events, for programs and for pages of others.

    id: 4711                     the chunk's sequence: a reader that comes back sends it as Last-Event-ID
    event: chunk                 or `restart`, `closed`: the kinds of `runs.models.ChunkKind`
    data: {"sequence": 4711, "kind": "chunk", "at": …, "data": "tok", "attempt": 1, "step": "write#1", "snapshot": 2}

Last comes `event: end` with the run's status. Silence is broken by comments. Whoever reads slowly is read for slowly:
the next page is taken from PostgreSQL when the last one is gone, and who takes none of it in SEND_TIMEOUT is left.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final

import psycopg
from django.db import DatabaseError
from django.http import StreamingHttpResponse
from pydantic_core import to_json

from holdfast.streaming import LiveResponse
from runs import live, streams
from runs.errors import HoldfastError
from runs.listening import Listener, keep_marked
from runs.watched import group_of

logger = logging.getLogger("holdfast.live")

#: Seconds: shortest between two reads for one reader; longest without a read; of silence until a comment; for a page of
#: chunks to be taken; between two looks whether the reader may still read.
PACE, POLL, BEAT, SEND_TIMEOUT, RECHECK = 0.1, 2.0, 15.0, 30.0, 60.0
#: Readers of one web process.
MAX_READERS: Final = 2_000
CONTENT_TYPE: Final = "text/event-stream"

Allowed = Callable[[], Awaitable[bool]]


class TooManyReaders(HoldfastError):
    """So many readers are connected that no more are taken. Try again in a moment, or start another web process."""

    status, code, retry_after = 503, "too_many_readers", 5


class _Open:
    """How many feeds are being read in this process."""

    count = 0


OPEN: Final = _Open()


def response(run_id: uuid.UUID, stream: str, after: int, allowed: Allowed) -> StreamingHttpResponse:
    """The stream from its chunk after `after` on. The caller has made sure that the run exists.

    Raises:
        TooManyReaders: MAX_READERS are connected.
    """
    if OPEN.count >= MAX_READERS:
        raise TooManyReaders
    return LiveResponse(events(run_id, stream, after, allowed), content_type=f"{CONTENT_TYPE}; charset=utf-8")


async def events(run_id: uuid.UUID, stream: str, after: int, allowed: Allowed) -> AsyncGenerator[bytes, None]:
    """The events, until the run has ended, or the reader may read no longer, or has gone."""
    listener = Listener()
    helpers = [
        asyncio.create_task(listener.listen(group_of(run_id))),
        asyncio.create_task(keep_marked(run_id)),
    ]
    OPEN.count += 1
    try:
        async with (
            live.READERS.open() as readers,
            aclosing(_parts(readers, listener, run_id, stream, after, allowed)) as parts,
        ):
            async for part in parts:
                # Whoever sends this waits here for a client that does not take it.
                timer = asyncio.get_running_loop().call_later(SEND_TIMEOUT, _leave, asyncio.current_task(), run_id)
                try:
                    yield part
                finally:
                    timer.cancel()
    except (psycopg.Error, DatabaseError) as error:
        logger.warning("a reader of a stream is let go, PostgreSQL does not answer: %s", error)
    finally:
        OPEN.count -= 1
        for helper in helpers:
            helper.cancel()
        await asyncio.gather(*helpers, return_exceptions=True)


async def _parts(
    readers: live.Readers, listener: Listener, run_id: uuid.UUID, stream: str, after: int, allowed: Allowed
) -> AsyncGenerator[bytes, None]:
    yield b": stream\n\n"  # the headers go out with it: the reader sees that it is connected
    told_at = checked_at = time.monotonic()
    while True:
        now = time.monotonic()
        if now - checked_at >= RECHECK:
            checked_at = now
            if not await allowed():
                return
        rows = await readers.rows(*streams.query(run_id, stream, after))
        if not rows:  # retention, or somebody, has deleted the run
            return
        page = streams.page(run_id, rows)
        if page.items:
            after = page.items[-1].sequence
            yield b"".join(map(event, page.items))
            told_at = time.monotonic()
        if page.ended is not None:
            yield _event("end", {"status": page.ended})
            return
        if now - told_at >= BEAT:
            yield b": beat\n\n"
            told_at = now
        await asyncio.sleep(PACE)
        if not page.more:
            await listener.wait(POLL - PACE)


def event(chunk: streams.Chunk) -> bytes:
    """One chunk as it goes out. JSON has no line breaks of its own, so none can end the field early."""
    return f"id: {chunk.sequence}\n".encode() + _event(chunk.kind, chunk)


def _event(kind: str, data: Any) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + to_json(data) + b"\n\n"


def last_event_id(text: str | None) -> int | None:
    """The sequence that a reader comes back with. None: it has none, or none of ours."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else None


def _leave(task: asyncio.Task[Any] | None, run_id: uuid.UUID) -> None:
    logger.info("a reader of a stream of run %s took nothing for %s s; it is left", run_id, SEND_TIMEOUT)
    if task is not None:
        task.cancel()
