"""The database's time, read from this process's monotonic clock: a worker whose own clock is an hour off writes
times that are right."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime


class Clock:
    """`now()` is the database's Unix time. `set` is called with each heartbeat. Tests of users have one that jumps."""

    __slots__ = ("_offset",)

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def set(self, database_now: datetime, asked: float) -> None:
        """`database_now` was read at some time after `asked`, by `time.monotonic()`, and before now. As long as what is
        known lies within that, it stays: an answer that was slow says little."""
        then = database_now.timestamp()
        self._offset = min(max(self._offset, then - time.monotonic()), then - asked)

    def now(self) -> float:
        return time.monotonic() + self._offset

    def sleep(self, seconds: float) -> None:
        """Holds this thread: for delays that are too short to leave the worker for."""
        time.sleep(seconds)

    async def asleep(self, seconds: float) -> None:
        """`sleep` for coroutines."""
        await asyncio.sleep(seconds)
