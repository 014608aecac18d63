"""A clock that the test moves: waits and retry delays pass at once, and say that they took their time."""

from __future__ import annotations

import asyncio
import math
import time
from datetime import UTC, datetime, timedelta

from holdfast.testing.errors import BadCall
from runs.engine.clock import Clock as EngineClock


class Clock(EngineClock):
    """Stands where the database's clock stands for a worker. It stands still until it is moved.

    Args:
        start: a time with its zone; now, unless given.
    """

    __slots__ = ("_at", "slept")

    def __init__(self, start: datetime | None = None) -> None:
        super().__init__()
        if start is not None and (not isinstance(start, datetime) or start.tzinfo is None):
            raise BadCall(
                f"Clock: start is {start!r}; write a datetime with a zone, such as datetime(2026, 1, 1, tzinfo=UTC)"
            )
        self._at = time.time() if start is None else start.timestamp()
        #: Seconds that it was moved by, in all.
        self.slept = 0.0

    def now(self) -> float:
        """Unix time."""
        return self._at

    @property
    def time(self) -> datetime:
        """The same as a datetime, in UTC."""
        return datetime.fromtimestamp(self._at, UTC)

    def advance(self, by: float | timedelta) -> None:
        """Moves it on, by seconds or a timedelta. Runs notice when they are asked next."""
        seconds = by.total_seconds() if isinstance(by, timedelta) else by
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
            raise BadCall(f"Clock.advance: {by!r} cannot be passed; write seconds from 0, or a timedelta")
        self._at += seconds
        self.slept += seconds

    def move_to(self, at: float) -> None:
        """Moves it on to a Unix time; not back."""
        if at > self._at:
            self.advance(at - self._at)

    # ── what the engine asks ─────────────────────────────────────────────────────────────────────────────────────

    def sleep(self, seconds: float) -> None:
        self.move_to(self._at + seconds)

    async def asleep(self, seconds: float) -> None:
        until = self._at + seconds  # before others have their turn: branches that pause side by side take the longest
        await asyncio.sleep(0)
        self.move_to(until)
