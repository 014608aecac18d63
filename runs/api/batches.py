"""Batches of up to 100,000 runs in one call: newline-delimited JSON in, and out how far it is.

Each line out says what became of some lines in:

    {"lines": [1, 1000], "created": 998, "existing": 1, "runs": ["0192…", null, …], "refused": [{"line": 2, "code": …}]}

The last one is {"done": true} with the sums, or {"done": false} with a problem and how many lines are stored.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator
from typing import Any, Final

from channels.db import database_sync_to_async
from django.http import HttpRequest
from pydantic_core import to_json

from holdfast.streaming import LiveResponse
from runs import batches, services
from runs.api import body, problems
from runs.batches import Part

CONTENT_TYPE: Final = body.NDJSON

_EXAMPLE: Final = '{"payload": {"customer": 1}}\n{"payload": {"customer": 2}, "options": {"priority": 5}}\n'
OPENAPI: Final[dict[str, Any]] = {
    "schema": {"type": "string", "description": "A line for each run, as POST /tasks/{task_id}/runs takes one."},
    "example": _EXAMPLE,
}


def response(request: HttpRequest, task_id: str, key: str | None) -> LiveResponse:
    """Stores the lines of the request while the response is sent.

    Raises:
        UnknownTask, InvalidOption (a key too long to be followed by numbers of lines).
    """
    task = services.task_get(task_id)
    batches.check_key(key)
    parts = batches.store_lines(task, _lines(request), key)
    return LiveResponse(_report(parts), content_type=CONTENT_TYPE)


def _lines(request: HttpRequest) -> Iterator[bytes]:
    """The lines of the body. Of one that is too long so much that it is seen to be."""
    most = batches.line_limit()
    while line := request.readline(most + 2):  # a longest line and its break
        yield line.rstrip(b"\r\n")
        while not line.endswith(b"\n") and (line := request.readline(most + 2)):
            pass


async def _report(parts: Iterator[Part]) -> AsyncGenerator[bytes, None]:
    following = database_sync_to_async(lambda: next(parts, None))
    sums = {"lines": 0, "created": 0, "existing": 0, "refused": 0}
    try:
        while (part := await following()) is not None:
            existing = sum(run is not None for run in part.runs) - part.created
            sums["lines"] = part.last
            sums["created"] += part.created
            sums["existing"] += existing
            sums["refused"] += len(part.refused)
            yield _line(
                {
                    "lines": [part.first, part.last],
                    "created": part.created,
                    "existing": existing,
                    "runs": part.runs,
                    "refused": [{"line": number, **problems.fields_of(error)} for number, error in part.refused],
                }
            )
    except Exception as error:
        problem = json.loads(problems.of(error).content)
        detail = f"The lines up to {sums['lines']} are dealt with, those after it are not. {problem['detail']}"
        yield _line({"done": False, **sums, **problem, "detail": detail})
    else:
        yield _line({"done": True, **sums})


def _line(value: dict[str, Any]) -> bytes:
    return to_json(value) + b"\n"
