"""The heartbeats of a run's steps: who is late, and what the next try is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final
from uuid import UUID

from runs.store import BeatRow

if TYPE_CHECKING:
    from runs.engine.fairtime import Within

#: Seconds between two rows of one step: what is said meanwhile waits, and the latest wins.
PACE: Final = 1.0


class Beats:
    """One run's, in one stay. From any thread.

    Args:
        put: hands a row to the writer.
        known: the latest details of steps that have not finished, by key.
    """

    __slots__ = ("_attempt", "_expected", "_id", "_last", "_lock", "_put", "_told", "_waiting", "pace")

    def __init__(
        self, run_id: UUID, attempt: int, put: Callable[[BeatRow], None], known: Mapping[str, str | None]
    ) -> None:
        self._id = run_id
        self._attempt = attempt
        self._put = put
        self._lock = threading.Lock()
        self._last: dict[str, str | None] = dict(known)
        self._waiting: dict[str, BeatRow] = {}
        self._told: dict[str, float] = {}
        self._expected: dict[str, Within] = {}
        #: Seconds between two rows. 0 in the process of an isolated run, whose worker paces.
        self.pace = PACE

    @contextmanager
    def expected(self, key: str, scope: Within) -> Iterator[None]:
        """Meanwhile a beat of the step gives its scope the whole time again."""
        self._expected[key] = scope
        try:
            yield
        finally:
            self._expected.pop(key, None)

    def beat(self, key: str, details: str | None, at: float) -> None:
        """`details` None: as they were."""
        if (scope := self._expected.get(key)) is not None:
            scope.restart()
        with self._lock:
            if details is None:
                details = self._last.get(key)
            self._last[key] = details
            self._waiting[key] = BeatRow(self._id, key, self._attempt, details, at)
        self.flush()

    def take(self, row: BeatRow) -> None:
        """A row of the run's own process."""
        with self._lock:
            self._waiting[row.key] = row
        self.flush(now=row.over)

    def last(self, key: str) -> str | None:
        return self._last.get(key)

    def done(self, key: str) -> None:
        """The step has finished: nobody will ask for its details."""
        with self._lock:
            if key not in self._last:
                return
            del self._last[key]
            self._waiting[key] = BeatRow(self._id, key, self._attempt, None, 0.0, over=True)
        self.flush(now=True)

    def flush(self, *, now: bool = False) -> None:
        """Hands what waits to the writer, unless that was done a moment ago."""
        if not self._waiting:
            return
        with self._lock:
            moment = time.monotonic()
            due = [key for key in self._waiting if now or moment - self._told.get(key, float("-inf")) >= self.pace]
            rows = [self._waiting.pop(key) for key in due]
            self._told.update(dict.fromkeys(due, moment))
        for row in rows:
            self._put(row)
