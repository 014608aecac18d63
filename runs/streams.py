"""What a reader of streams has not seen yet, read by cursor: one stream of a run, or all of them for the run's page.

Like `runs.live`, this knows no driver: it yields statements and is sent their rows.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Generator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Final

from holdfast import db
from runs.errors import StreamMisuse, UnknownRun
from runs.sdk.stream import NAME
from runs.states import FINAL
from runs.store import SQL

#: Chunks, and bytes of their JSON, of one page.
BATCH, MAX_BYTES = 500, 1024 * 1024
#: A run's page that opens gets this many of the last chunks of each stream, and shows this many streams.
TAIL, MAX_SHOWN = 2_000, 20
_FINAL: Final = frozenset(str(status) for status in FINAL)

Row = dict[str, Any]
Query = tuple[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a stream, or a mark in it: see `runs.engine.sending`."""

    sequence: int
    kind: str
    at: datetime
    data: Any
    attempt: int
    step: str | None
    snapshot: int

    @classmethod
    def of(cls, row: Row) -> Chunk:
        return cls(
            row["sequence"],
            row["kind"],
            row["at"],
            None if row["data"] is None else json.loads(row["data"]),
            row["attempt"],
            row["step"] or None,
            row["snapshot"],
        )


@dataclass(frozen=True, slots=True)
class Page:
    """`more`: read again soon. `ended`: the run's final status when nothing of the stream is left to read."""

    items: list[Chunk]
    more: bool
    ended: str | None


def stream_name(text: str) -> str:
    """A stream's name as it stands in an address. Raises StreamMisuse."""
    if not NAME.fullmatch(text):
        raise StreamMisuse(
            f"{text!r:.120} is no name of a stream: write 1 to 100 letters, digits, '.', '_' and '-', beginning with a "
            "letter or digit."
        )
    return text


def query(run_id: uuid.UUID, stream: str, after: int, limit: int = BATCH) -> Query:
    """The statement whose rows `page` understands."""
    return SQL.stream_page, {"run": run_id, "stream": stream, "after": after, "limit": limit, "bytes": MAX_BYTES}


def page(run_id: uuid.UUID, rows: list[Row], limit: int = BATCH) -> Page:
    """Raises UnknownRun."""
    if not rows:
        raise UnknownRun(f"There is no run {run_id}.")
    status, found = rows[0]["status"], rows[0]["found"] or 0
    items = [Chunk.of(row) for row in rows if row["sequence"] is not None]
    more = found > len(items) or found == limit
    return Page(items, more, status if status in _FINAL and not more else None)


def read(run_id: uuid.UUID, stream: str, *, after: int = 0, limit: int = BATCH) -> Page:
    """A page on the connection of a request. Raises UnknownRun."""
    statement, params = query(run_id, stream, after, limit)
    return page(run_id, db.rows(statement, **params), limit)


@dataclass(slots=True)
class LiveCursor:
    """What a run's page has seen of all streams. `after` None: nothing yet, begin with the last chunks of each."""

    after: int | None = None
    starts: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LivePage:
    items: list[Row]
    more: bool
    earlier: list[str]


def read_live(run_id: uuid.UUID, cursor: LiveCursor) -> Generator[Query, list[Row], LivePage]:
    """Reads what is new of all streams and moves the cursor past it."""
    earlier: list[str] = []
    if cursor.after is None:
        rows = yield SQL.live_chunk_starts, {"run": run_id, "streams": MAX_SHOWN, "limit": TAIL}
        if not rows:
            return LivePage([], False, [])  # most runs have no streams, and cost one statement
        cursor.starts = {row["stream"]: row["sequence"] for row in rows if row["sequence"]}
        cursor.after, earlier = 0, sorted(cursor.starts)
    rows = yield (
        SQL.live_chunks,
        {
            "run": run_id,
            "streams": MAX_SHOWN,
            "after": cursor.after,
            "starts": json.dumps(cursor.starts),
            "limit": BATCH,
            "bytes": MAX_BYTES,
        },
    )
    if not rows:
        return LivePage([], False, earlier)
    cursor.after = rows[-1]["sequence"]
    found = rows[0]["found"]
    items = [{**asdict(Chunk.of(row)), "stream": row["stream"]} for row in rows]
    return LivePage(items, found > len(items) or found == BATCH, earlier)
