"""What an open page of a run has not seen yet, read by cursor and told as messages of version 1:

    hello      first of a stream: `earlier` says whether there are log lines before those that follow, `first` which is
               the first of them, `lines` how many they are (one more than EXACT_UP_TO: more than that)
    run        the run's summary, when it changed
    attempts   attempts that are new or changed
    steps      for who asked for the last ones: `after` is the sequence behind which they are told
    snapshots  steps, checkpoints and failed tries after the last one told
    chunks     pieces of streams after the last one told; `earlier` names streams that are shown from their middle
    logs       log lines after the last one told; `next` is the cursor to come back with
    beat       nothing changed; the stream is alive

`read` knows no driver: it yields statements and is sent their rows. `Readers.read` runs it on the connections of the
websockets, `reads` on that of a request, so that polling tells exactly what the websocket tells.
"""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections.abc import AsyncIterator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from django.db import connection, connections
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from holdfast.redaction import redacted
from queues.selectors import EXACT_UP_TO
from runs import levels, streams
from runs.store import SQL

VERSION: Final = 1
#: Rows of one kind in one batch.
BATCH: Final = 500
#: A page that opens gets this many of the last log lines; it asks for earlier ones.
TAIL: Final = 1_000
#: A page that asks for the last snapshots gets this many; it asks for others when they come in sight.
LAST_STEPS: Final = 400
#: Characters of one log line that are told live; the download has all, in batches of fewer lines.
LINE: Final = 8_000
#: Snapshots of a run that are looked for a second time.
MISSING: Final = 100
WHOLE_LINE, WHOLE_BATCH = 1_000_000, 50
MAX_ATTEMPTS_TOLD: Final = 1_000
_SAFE_INTEGER: Final = 2**53 - 1
_CONNECTIONS: Final = 4

Message = dict[str, Any]
Row = dict[str, Any]
Query = tuple[str, dict[str, Any]]
Read = Generator[Query, list[Row], "Batch"]


@dataclass(slots=True)
class Cursor:
    """What one page has seen of one run. `logs` None: nothing yet, begin with the last lines. `last`: of the
    snapshots, too, it wants only the last ones to begin with."""

    run_id: uuid.UUID
    logs: int | None = None
    snapshots: int = 0
    chunks: streams.LiveCursor = field(default_factory=streams.LiveCursor)
    run: Message | None = None
    attempts: dict[int, Message] = field(default_factory=dict)
    #: Snapshots below `snapshots` that were not there yet; some never will be, so only the latest are looked for.
    missing: list[int] = field(default_factory=list)
    last: bool = False

    def become(self, other: Cursor) -> None:
        """Has seen what the other has."""
        for name in self.__slots__:
            setattr(self, name, getattr(other, name))

    def passed(self, found: list[int]) -> None:
        """Notes sequences that were found, and those that were passed over on the way to the last one."""
        known = set(found)
        expected = range(max(self.snapshots + 1, found[-1] - BATCH), found[-1])
        self.missing = [n for n in (*self.missing, *expected) if n not in known][-MISSING:]
        self.snapshots = max(self.snapshots, found[-1])


def cursor_from(run_id: uuid.UUID, after: str, snapshots: str, chunks: str = "") -> Cursor:
    """The cursor a page comes with, as texts of its address; what is no sequence means "from the start"; of
    snapshots, `last` means the last ones, and `9,7,4` that up to 9 those are known but for 7 and 4."""
    told = streams.LiveCursor(_sequence(chunks))
    known, *passed = map(_sequence, snapshots.split(","))
    seen = known or 0
    missing = sorted({n for n in passed if n is not None and n < seen})[-MISSING:]
    last = snapshots == "last"
    return Cursor(run_id, logs=_sequence(after), snapshots=seen, chunks=told, missing=missing, last=last)


def _sequence(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


@dataclass(slots=True)
class Batch:
    """`more`: there was more than fits into one batch, so read again soon. `gone`: there is no such run. `texts`: the
    messages as they are sent, written once for all pages that share a read."""

    messages: list[Message]
    more: bool = False
    gone: bool = False
    texts: list[str] = field(default_factory=list)


def read(cursor: Cursor) -> Read:
    """Reads what is new and moves the cursor past it."""
    messages: list[Message] = []
    if cursor.logs is None:
        rows = yield SQL.live_log_tail, {"run": cursor.run_id, "limit": TAIL}
        cursor.logs = rows[0]["sequence"] if rows else 0
        before = {"first": None, "lines": 0}
        if rows:
            counted = {"run": cursor.run_id, "after": cursor.logs, "most": EXACT_UP_TO + 1}
            before = (yield SQL.log_begin, counted)[0]
        messages.append(_message("hello", after=cursor.logs, earlier=bool(rows), **before))
    if cursor.last:
        rows = yield SQL.live_snapshot_tail, {"run": cursor.run_id, "limit": LAST_STEPS}
        cursor.last, cursor.snapshots = False, rows[0]["sequence"] if rows else 0
        messages.append(_message("steps", after=cursor.snapshots))
    # The run last: when it says "completed", everything that it did before has been told.
    snapshots = yield SQL.live_snapshots, {"run": cursor.run_id, "after": cursor.snapshots, "limit": BATCH}
    late: list[Row] = []
    if cursor.missing:
        late = yield SQL.live_snapshots_late, {"run": cursor.run_id, "missing": cursor.missing}
    chunks = yield from streams.read_live(cursor.run_id, cursor.chunks)
    logs = yield SQL.live_logs, {"run": cursor.run_id, "after": cursor.logs, "limit": BATCH, "most": LINE}
    attempts = yield (
        SQL.live_attempts,
        {"run": cursor.run_id, "attempt": max(cursor.attempts, default=0), "limit": MAX_ATTEMPTS_TOLD},
    )
    runs = yield SQL.live_run, {"run": cursor.run_id}
    if not runs:
        return Batch([], gone=True)
    if changed := _changed(cursor.attempts, attempts):
        messages.append(_message("attempts", items=changed))
    if found := [*late, *snapshots]:
        cursor.passed([row["sequence"] for row in found])
        messages.append(_message("snapshots", items=[plain(row) for row in found], next=cursor.snapshots))
    if logs:
        cursor.logs = logs[-1]["sequence"]
        messages.append(_message("logs", items=[log_line(row) for row in logs], next=cursor.logs))
    if chunks.items:
        items = [plain(item) for item in chunks.items]
        messages.append(_message("chunks", items=items, next=cursor.chunks.after, earlier=chunks.earlier))
    more = max(len(snapshots), len(logs)) == BATCH or chunks.more
    run = plain(runs[0])
    if run != cursor.run and not more:
        cursor.run = run
        messages.append(_message("run", run=run))
    return Batch(messages, more)


def reads(cursor: Cursor) -> Batch:
    """`read` on the connection of a request."""
    steps = read(cursor)
    query, params = next(steps)
    with connection.cursor() as db:
        while True:
            db.execute(query, params)
            names = [column[0] for column in db.description]
            rows = [dict(zip(names, row, strict=True)) for row in db.fetchall()]
            try:
                query, params = steps.send(rows)
            except StopIteration as end:
                return _batch(end)


def pulse() -> Message:
    """What changes when lists may have changed, on the connection of a request."""
    with connection.cursor() as db:
        db.execute(SQL.live_pulse)
        names = [column[0] for column in db.description]
        return plain(dict(zip(names, db.fetchone(), strict=True)))


@dataclass(slots=True, eq=False)
class _Shared:
    """A read that has not begun, and for whom: every page that has seen just this much may join."""

    cursor: Cursor
    reading: asyncio.Future[tuple[Batch, Cursor]]


class Readers:
    """The PostgreSQL connections of this process's live pages: a few, shared; opened by the first page, closed
    after the last. Pages of one run that have seen the same share a read, so that hundreds of viewers of a busy run
    cost what a few do."""

    def __init__(self) -> None:
        self._pool: AsyncConnectionPool[Any] | None = None
        self._pages = 0
        self._waiting: dict[uuid.UUID, list[_Shared]] = {}

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Readers]:
        """For as long as a page is open."""
        self._pages += 1
        try:
            if self._pool is None:
                self._pool = _pool()
            await self._pool.open()
            yield self
        finally:
            self._pages -= 1
            if not self._pages and self._pool is not None:
                pool, self._pool = self._pool, None
                await pool.close()

    async def read(self, cursor: Cursor) -> Batch:
        """`read` on a connection of the pool. Raises psycopg.Error or PoolTimeout when PostgreSQL does not answer."""
        waiting = self._waiting.setdefault(cursor.run_id, [])
        shared = next((one for one in waiting if one.cursor == cursor), None)
        if shared is None:
            shared = _Shared(deepcopy(cursor), asyncio.get_running_loop().create_future())
            waiting.append(shared)
            task = asyncio.ensure_future(self._read(shared))
            task.add_done_callback(partial(self._settle, shared))
        # Whoever leaves meanwhile must not take the read away from the others.
        batch, moved = await asyncio.shield(shared.reading)
        cursor.become(deepcopy(moved))
        return batch

    async def _read(self, shared: _Shared) -> tuple[Batch, Cursor]:
        assert self._pool is not None
        async with self._pool.connection() as conn:
            # From here on nobody joins: they may have been told of something that this read does not see any more.
            self._leave(shared)
            cursor = deepcopy(shared.cursor)
            steps = read(cursor)
            query, params = next(steps)
            while True:
                found = await conn.execute(query, params)
                try:
                    query, params = steps.send(await found.fetchall())
                except StopIteration as end:
                    batch = _batch(end)
                    break
        batch.texts = [text_of(message) for message in batch.messages]
        return batch, cursor

    def _settle(self, shared: _Shared, task: asyncio.Task[tuple[Batch, Cursor]]) -> None:
        self._leave(shared)
        if shared.reading.done():
            return
        if task.cancelled():
            shared.reading.cancel()
        elif error := task.exception():
            shared.reading.set_exception(error)
            shared.reading.exception()  # nobody may be left to be told
        else:
            shared.reading.set_result(task.result())

    def _leave(self, shared: _Shared) -> None:
        waiting = self._waiting.get(shared.cursor.run_id, [])
        if shared in waiting:
            waiting.remove(shared)
        if not waiting:
            self._waiting.pop(shared.cursor.run_id, None)

    async def pulse(self) -> Row:
        """What changes when lists may have changed."""
        return (await self.rows(SQL.live_pulse, {}))[0]

    async def rows(self, query: str, params: dict[str, Any]) -> list[Row]:
        """The rows of one statement."""
        assert self._pool is not None
        async with self._pool.connection() as conn:
            rows: list[Row] = await (await conn.execute(query, params)).fetchall()
            return rows


#: Shared by every live page of this process.
READERS: Final = Readers()


async def log_text(run_id: uuid.UUID) -> AsyncIterator[str]:
    """The whole log as text, a batch at a time: `2026-03-01T12:00:00.000Z INFO 1 search#2 message key=value`."""
    after = 0
    params = {"run": run_id, "limit": WHOLE_BATCH, "most": WHOLE_LINE}
    async with READERS.open() as readers:
        while rows := await readers.rows(SQL.live_logs, {**params, "after": after}):
            after = rows[-1]["sequence"]
            yield "".join(map(_text_line, rows))


def _text_line(row: Row) -> str:
    line = plain(row)
    head = f"{line['at']} {levels.nearest(row['level']).upper():<8} {row['attempt']} {row['step'] or '-'}"
    extra = "".join(f" {name}={json.dumps(value)}" for name, value in (redacted(line["fields"]) or {}).items())
    return f"{head} {row['message']}{extra}\n"


def _pool() -> AsyncConnectionPool[Any]:
    params = dict(connections["default"].get_connection_params())
    for ours in ("cursor_factory", "context", "pool", "server_side_binding"):
        params.pop(ours, None)
    params |= {"application_name": "holdfast live", "autocommit": True, "prepare_threshold": 1, "row_factory": dict_row}
    # The pool's own warnings repeat every second while PostgreSQL is away; the pages say so themselves.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    return AsyncConnectionPool(kwargs=params, min_size=0, max_size=_CONNECTIONS, timeout=5, max_idle=60, open=False)


def _batch(end: StopIteration) -> Batch:
    assert isinstance(end.value, Batch)
    return end.value


def _message(kind: str, **content: Any) -> Message:
    return {"v": VERSION, "type": kind, **content}


def text_of(message: Message) -> str:
    """A message as it goes over a websocket."""
    return json.dumps(message, ensure_ascii=False, separators=(",", ":"))


def beat() -> Message:
    """What a quiet stream says, so that the page knows that it is not cut off."""
    return _message("beat")


def changed() -> Message:
    """What a list's page is told: ask again."""
    return _message("changed")


def _changed(known: dict[int, Message], rows: Sequence[Row]) -> list[Message]:
    told = []
    for row in rows:
        item = plain(row)
        if known.get(item["number"]) != item:
            told.append(item)
    # Only the latest can still change, so only it needs to be remembered.
    for item in told:
        known.clear()
        known[item["number"]] = item
    return told


def log_line(row: Row) -> Message:
    """A log line as pages take it."""
    line = plain(row)
    line["level"] = levels.nearest(row["level"])
    if isinstance(line["fields"], str):  # Django's connections leave jsonb as text
        line["fields"] = _plain(json.loads(line["fields"]))
    line["fields"] = redacted(line["fields"])
    if (more := line.pop("length") - LINE) > 0:
        line["message"] += f"… ({more:,} more characters in the download)"
    return line


def plain(row: Mapping[str, Any]) -> Message:
    """A row as JSON: times in RFC 3339, and integers that a browser would round as text."""
    return {name: _plain(value) for name, value in row.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _SAFE_INTEGER:
        return str(value)
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return str(value) if isinstance(value, uuid.UUID) else value
