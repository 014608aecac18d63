"""The heartbeats of a run's steps: who is late, and what the next try is told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final
from uuid import UUID

from runs.engine.paced import Paced
from runs.store import BeatRow

if TYPE_CHECKING:
    from runs.engine.fairtime import Within

#: Seconds between two rows of one step. Less than `HOLDFAST_STUCK_FLOOR` may be, or a step that beats counts as stuck.
PACE: Final = 1.0


class Beats:
    """One run's, in one stay. From any thread.

    Args:
        put: hands a row to the writer.
        known: the latest details of steps that have not finished, by key.
    """

    __slots__ = ("_attempt", "_expected", "_id", "_last", "_lock", "_put", "_steps", "pace")

    def __init__(
        self, run_id: UUID, attempt: int, put: Callable[[BeatRow], None], known: Mapping[str, str | None]
    ) -> None:
        self._id = run_id
        self._attempt = attempt
        self._put = put
        self._lock = threading.Lock()
        self._last: dict[str, str | None] = dict(known)
        self._steps: dict[str, Paced[BeatRow]] = {}
        self._expected: dict[str, Within] = {}
        #: Seconds between two rows of one step. 0 in the process of an isolated run, whose worker paces.
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
        self.take(BeatRow(self._id, key, self._attempt, details, at))

    def take(self, row: BeatRow) -> None:
        """A row, also of the run's own process."""
        with self._lock:
            if row.over:
                self._steps.pop(row.key, None)
                step = None
            elif (step := self._steps.get(row.key)) is None:
                step = self._steps[row.key] = Paced(self._put, self.pace)
        if step is None:
            self._put(row)
        else:
            step.take(row)

    def last(self, key: str) -> str | None:
        return self._last.get(key)

    def done(self, key: str) -> None:
        """The step has finished: nobody will ask for its details."""
        with self._lock:
            if key not in self._last:
                return
            del self._last[key]
        self.take(BeatRow(self._id, key, self._attempt, None, 0.0, over=True))

    def flush(self, *, now: bool = False) -> None:
        """See `Paced.flush`."""
        for step in tuple(self._steps.values()):
            step.flush(now=now)
