"""Looking again and again at something that PostgreSQL is to say: quickly at first, then with patience."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

#: Seconds between the first two looks and at most between others; and by what the pause grows.
_FIRST: Final = 0.01
_SLOWEST: Final = 0.5
_FACTOR: Final = 1.5


def looks(timeout: float | None) -> Iterator[None]:
    """Yields for each look: at once, then after pauses that grow, the last time when `timeout` seconds are over. None
    goes on for ever."""
    deadline = None if timeout is None else time.monotonic() + timeout
    pause = _FIRST
    while True:
        yield
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                return
            pause = min(pause, left)
        time.sleep(pause)
        pause = min(pause * _FACTOR, _SLOWEST)
