"""Many runs of one task in one call: a line of JSON for each, stored part by part.

A line is {"payload": {…}, "options": {…}}, as one enqueue takes it. A line that cannot be stored is reported and holds
up no other; what is stored stands, whatever comes later.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from runs import enqueue, jsonvalue, services
from runs.errors import HoldfastError, InvalidOption, InvalidPayload, PayloadTooLarge
from runs.sdk.options import MAX_KEY
from runs.sdk.task import Task

#: Lines of one call.
MAX_LINES: Final = 100_000
#: Lines of one transaction, and of one report.
PART: Final = 1_000
#: Bytes of a line beyond its payload: options, names, quotes.
ENVELOPE: Final = 64 * 1024
_FIELDS: Final = frozenset({"payload", "options"})


class TooManyLines(HoldfastError):
    """The batch has more lines than one call takes. Those up to the limit are stored; send the rest in another call."""

    status, code = 413, "too_many_lines"


@dataclass(slots=True)
class Part:
    """What became of some lines; numbers begin at 1."""

    first: int
    last: int
    runs: list[uuid.UUID | None]  # of each line in order; None where it was refused or is empty
    created: int = 0
    refused: list[tuple[int, HoldfastError]] = field(default_factory=list)


def check_key(key: str | None) -> None:
    """Raises InvalidOption for a batch's key that is too long to be followed by line numbers."""
    most = MAX_KEY - len(f":{MAX_LINES}")
    if key is not None and len(key) > most:
        message = f"must be 1 to {most} characters: the number of the line is added"
        raise InvalidOption(f"Idempotency-Key {message}", errors=[{"field": "Idempotency-Key", "message": message}])


def store_lines(task: Task[..., Any], lines: Iterable[bytes], key: str | None = None) -> Iterator[Part]:
    """Stores a run for each line; yields after each PART of them, when it is committed.

    Args:
        lines: each with or without its line break; empty ones are passed over.
        key: makes the batch one that may be sent again: a line that has no key of its own gets this one and its number.

    Raises:
        TooManyLines: after the last part that is stored.
    """
    numbered = enumerate(lines, 1)
    while taken := list(islice(numbered, PART)):
        kept = [(number, line) for number, line in taken if number <= MAX_LINES]
        if kept:
            yield _store(task, kept, key)
        if len(kept) < len(taken):
            raise TooManyLines(
                f"The batch has more than {MAX_LINES:,} lines. The first {MAX_LINES:,} are stored; send the rest in "
                "another call."
            )


def _store(task: Task[..., Any], lines: list[tuple[int, bytes]], key: str | None) -> Part:
    part = Part(lines[0][0], lines[-1][0], [None] * len(lines))
    items: dict[int, enqueue.Item] = {}
    for place, (number, line) in enumerate(lines):
        if not line.strip():
            continue
        try:
            items[place] = _read(task, line, None if key is None else f"{key}:{number}")
        except HoldfastError as error:
            part.refused.append((number, error))
    for place, found in zip(items, enqueue.enqueue_items(task, list(items.values())), strict=True):
        if isinstance(found, HoldfastError):
            part.refused.append((lines[place][0], found))
        else:
            part.runs[place] = found.id
            part.created += found.created
    part.refused.sort(key=lambda refused: refused[0])
    return part


def _read(task: Task[..., Any], line: bytes, key: str | None) -> enqueue.Item:
    if len(line) > (most := line_limit()):
        message = f"is over the limit of {most:,} bytes. Store the data elsewhere and send a reference"
        raise PayloadTooLarge(f"The line {message}.", errors=[{"field": "", "message": message}])
    value = jsonvalue.parse(line)
    if not isinstance(value, dict):
        raise _refusal("", 'must be an object such as {"payload": {}, "options": {}}')
    if unknown := sorted(set(value) - _FIELDS):
        raise _refusal(unknown[0][:60], "is no field here; known are payload, options")
    options = {} if value.get("options") is None else value["options"]
    if key is not None and isinstance(options, dict) and not {"idempotency_key", "debounce"} & set(options):
        options = {**options, "idempotency_key": key}
    return services.read_item(task, value.get("payload", {}), options)


def line_limit() -> int:
    """Bytes that a line may have."""
    return enqueue.payload_limit() + ENVELOPE


def _refusal(name: str, message: str) -> InvalidPayload:
    return InvalidPayload(f"{name or 'The line'} {message}", errors=[{"field": name, "message": message}])
