"""Rows of which only the latest counts, on their way to the writer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, Protocol, Self, TypeVar


class Said(Protocol):
    """A row that may be followed by a newer one about the same thing."""

    def followed_by(self, newer: Self, /) -> Self:
        """Both in one."""


R = TypeVar("R", bound=Said)


class Paced(Generic[R]):
    """One thing's rows. What comes within `pace` seconds of the last waits, and the latest wins. From any thread."""

    __slots__ = ("_lock", "_put", "_row", "_told", "pace")

    def __init__(self, put: Callable[[R], None], pace: float) -> None:
        self._put = put
        self._lock = threading.Lock()
        self._row: R | None = None
        self._told = float("-inf")
        #: 0 in the process of an isolated run, whose worker paces.
        self.pace = pace

    def take(self, new: R) -> None:
        with self._lock:
            self._row = new if self._row is None else self._row.followed_by(new)
        self.flush()

    def flush(self, *, now: bool = False) -> None:
        """Hands what waits to the writer, unless that was done a moment ago. The leaser looks again; the end of the
        stay does not wait."""
        if self._row is None:
            return
        with self._lock:
            if self._row is None or (not now and time.monotonic() - self._told < self.pace):
                return
            row, self._row, self._told = self._row, None, time.monotonic()
        self._put(row)
