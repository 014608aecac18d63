"""What a run says of itself, the latest alone: how far it is, and its metadata."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final
from uuid import UUID

from runs.store import ProgressRow

#: Seconds between two rows of one run: what is said meanwhile waits, and the latest wins.
PACE: Final = 0.25


class Progress:
    """One run's, in one stay. From any thread."""

    __slots__ = ("_id", "_lock", "_put", "_row", "_told", "pace")

    def __init__(self, id: UUID, put: Callable[[ProgressRow], None]) -> None:  # noqa: A002
        self._id = id
        self._put = put
        self._lock = threading.Lock()
        self._row: ProgressRow | None = None
        self._told = 0.0
        #: Seconds between two rows. 0 in the process of an isolated run, whose worker paces.
        self.pace = PACE

    def say(self, value: float | None = None, words: str | None = None, metadata: str | None = None) -> None:
        """None: as it was."""
        self.take(ProgressRow(self._id, value, words, metadata))

    def take(self, new: ProgressRow) -> None:
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
