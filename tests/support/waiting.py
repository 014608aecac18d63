"""Waiting for something to become true, instead of for time to pass."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: Seconds between two looks.
LOOK = 0.02


def eventually(look: Callable[[], T], what: str, timeout: float = 60.0) -> T:
    """Looks until the answer is true, and returns it. Fails, saying what was waited for, after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"after {timeout} s still not: {what} (last answer: {found!r})")
        time.sleep(LOOK)
