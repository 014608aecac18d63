"""The runs of a search as a file: CSV or JSON, newest first, read page by page while it is sent, and cut at a cap.

A cell that a spreadsheet would take for a formula gets an apostrophe before it, which spreadsheets do not show.
"""

from __future__ import annotations

import csv
import io
import json
import uuid
from collections.abc import AsyncGenerator, Generator
from typing import Any, Final

from channels.db import database_sync_to_async

from holdfast.streaming import LiveResponse
from runs import columns, selectors
from runs.errors import InvalidFilter
from runs.filters import Params, RunFilter, refuse_choice
from runs.models import Run
from runs.reasons import Reason, reasons
from runs.search.terms import BARE, quoted

#: Runs of one file.
MOST: Final = 10_000
#: Runs read at a time, and looks at most: of a search that no index serves, each passes many runs and may find none.
PAGE: Final = 500
LOOKS: Final = 60
FORMATS: Final = {"csv": "text/csv; charset=utf-8", "json": "application/json"}
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
_SHORTEST: Final = 1_000  # characters of an error's message


def checked(form: str) -> str:
    """`csv` or `json`; empty is CSV. Raises InvalidFilter."""
    refuse_choice("format", form, FORMATS)
    return form or "csv"


def texts(filters: RunFilter, form: str, names: tuple[str, ...] = ()) -> Generator[str, None, None]:
    """The file in pieces. The first one holds the first page: what is wrong with a search is raised with it.

    Args:
        filters: which runs.
        form: `csv` or `json`.
        names: the columns, in their order; without any, columns.FILED.

    Raises:
        InvalidFilter: the search takes too long, before anything was written.
    """
    write = _csv if form == "csv" else _json
    yield from write(_pages(filters), names or columns.FILED)


async def parts(pieces: Generator[str, None, None], first: str) -> AsyncGenerator[bytes]:
    """The file as bytes: a first piece that is there already, and the others."""
    yield first.encode()
    try:
        while (piece := await database_sync_to_async(next)(pieces, None)) is not None:
            yield piece.encode()
    finally:
        pieces.close()


def response(params: Params) -> LiveResponse:
    """The file that query parameters ask for, as it is sent. Raises InvalidFilter."""
    filters = RunFilter.parse(params, also=("format", "columns"))
    form, names = checked(str(params.get("format", ""))), columns.asked(params, columns.FILEABLE)
    pieces = texts(filters, form, names)
    found = LiveResponse(parts(pieces, next(pieces)), content_type=FORMATS[form])
    found.headers["Content-Disposition"] = f'attachment; filename="runs.{form}"'
    return found


def _pages(filters: RunFilter) -> Generator[list[Run], None, str]:
    """Pages of runs; returns why there are no more, empty at the end."""
    cursor: uuid.UUID | None = None
    told = 0
    for look in range(LOOKS):
        try:
            page = selectors.runs_page(filters, cursor=cursor, limit=min(PAGE, MOST - told))
        except InvalidFilter as error:
            if look == 0:
                raise
            return f"Broken off after {told:,} runs: {error}"
        told, cursor = told + len(page.items), page.next
        yield page.items
        if cursor is None:
            return ""
        if told >= MOST:
            return f"Cut at {MOST:,} runs; there are older ones. Narrow the search, or add created:<TIME."
    return f"Cut after {told:,} runs: the search looks at very many. Narrow it by a task, a status or a time."


def _csv(pages: Generator[list[Run], None, str], names: tuple[str, ...]) -> Generator[str, None, None]:
    head = ",".join(names) + "\r\n"
    while True:
        try:
            runs = next(pages)
        except StopIteration as end:
            if end.value:
                yield _line([f"# {end.value}"])
            return
        yield head + "".join(_line([_cell(value) for value in row.values()]) for row in _records(runs, names))
        head = ""


def _json(pages: Generator[list[Run], None, str], names: tuple[str, ...]) -> Generator[str, None, None]:
    before = '{"items":['
    while True:
        try:
            runs = next(pages)
        except StopIteration as end:
            yield f'],"cut":{json.dumps(end.value or None)}}}\n'
            return
        items = [json.dumps(row, ensure_ascii=False) for row in _records(runs, names)]
        yield before + ",\n".join(items)
        before = ",\n" if items or before == ",\n" else before


def _records(runs: list[Run], names: tuple[str, ...]) -> Generator[dict[str, Any], None, None]:
    why = reasons(runs) if "why" in names else {}
    for run in runs:
        values = record(run, why.get(run.id))
        yield {name: values[name] for name in names}


def record(run: Run, reason: Reason | None = None) -> dict[str, Any]:
    """A run by the names of columns.FILEABLE; times in RFC 3339."""
    error = run.error if isinstance(run.error, dict) else {}
    took = (run.finished_at - run.started_at).total_seconds() if run.finished_at and run.started_at else None
    message = error.get("message")
    values = (
        str(run.pk), run.task_id, run.queue.name, run.status, run.attempt, run.max_attempts, run.priority,
        *(at.isoformat() if at else None for at in (run.created_at, run.started_at, run.finished_at)), took, run.tags,
        run.concurrency_key, run.idempotency_key, run.version or None, error.get("type"),
        str(message)[:_SHORTEST] if message else None, str(run.parent_id) if run.parent_id else None,
        columns.why(run, reason)[:_SHORTEST] or None,
    )  # fmt: skip
    return dict(zip(columns.FILEABLE, values, strict=True))


def _cell(value: Any) -> str:
    if isinstance(value, list):
        value = " ".join(one if BARE.fullmatch(one) else quoted(one) for one in value)  # as a search has them
    text = "" if value is None else str(value)
    # Numbers are ours; text may be anybody's.
    return f"'{text}" if isinstance(value, str) and text.startswith(_FORMULA) else text


def _line(cells: list[str]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()
