"""A clock that stands still while the machine does, for promises of seconds."""

from __future__ import annotations

import threading
import time
from bisect import bisect
from types import TracebackType
from typing import Self

#: Seconds between two ticks, at least: a machine that is busy lets fewer of them through.
TICK = 0.05


class Ticker:
    """`with Ticker() as ticker`: ticks in a thread of its own, and knows how often it did between two Unix times."""

    def __init__(self) -> None:
        self._at: list[float] = []
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._tick, name="ticker", daemon=True)

    def seconds(self, begin: float, end: float) -> float:
        """How long it was by this clock: never more than by the wall's."""
        return (bisect(self._at, end) - bisect(self._at, begin)) * TICK

    def _tick(self) -> None:
        while not self._ending.wait(TICK):
            self._at.append(time.time())

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ending.set()
        self._thread.join(60)
