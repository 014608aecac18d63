"""What a worker and the process of an isolated run say to each other: pickled messages with their length in front.

Both ends are the same program of the same version, and the child has every right that the worker has: isolation is
against accidents, not against malice.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from queues.breaker import Breaker
from runs.engine.breakers import Pass
from runs.engine.clock import Clock
from runs.engine.outcome import Outcome
from runs.store import Balance, Fact, Started, WaitFact

_HEAD: Final = struct.Struct("!I")


class Begin(NamedTuple):
    """Worker → child, first: what to execute."""

    started: Started
    facts: Sequence[Fact]
    waits: Sequence[WaitFact]
    beats: Mapping[str, str | None] | None
    worker_id: int
    clock: Clock
    memory_limit: int | None  # bytes
    balances: Sequence[Balance]  # of the budgets on which the run draws
    guard: Breaker | None  # of its queue


class Receipt(NamedTuple):
    """Stands in a `Put` for an acknowledgement that somebody in the child waits for."""

    number: int


class LetIn(NamedTuple):
    """Child → worker: the breaker of its queue lets the stay begin, perhaps as a probe."""

    passed: Pass


class Put(NamedTuple):
    """Child → worker: a call of the worker's writer."""

    method: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Settled(NamedTuple):
    """Worker → child: acknowledgements, each with why the row was not stored, or None."""

    receipts: list[tuple[int, BaseException | None]]


class HandingOver(NamedTuple):
    """Worker → child: the worker is stopping; leave at the next step boundary."""


class Look(NamedTuple):
    """Worker → child: where is the run?"""


class Seen(NamedTuple):
    """Child → worker: there; see `frames`."""

    stack: dict[str, Any]


class Done(NamedTuple):
    """Child → worker, last: how the stay ended. None: fenced."""

    outcome: Outcome | None


def pack(message: object) -> bytes:
    data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return _HEAD.pack(len(data)) + data


class Inbox:
    """Bytes in, messages out."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> Iterator[Any]:
        """The messages that are complete now."""
        self._bytes += data
        while len(self._bytes) >= _HEAD.size:
            end = _HEAD.size + _HEAD.unpack_from(self._bytes)[0]
            if len(self._bytes) < end:
                return
            message = bytes(self._bytes[_HEAD.size : end])
            del self._bytes[:end]
            yield pickle.loads(message)  # noqa: S301 - our own child's
