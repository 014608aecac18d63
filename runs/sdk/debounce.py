"""`using(debounce=Debounce(…))`: calls that come close upon each other are one run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal

#: Longest delay in seconds: a day.
MAX_DEBOUNCE: Final = 86_400.0
MAX_KEY: Final = 200
MODES: Final = ("trailing", "leading")
_FIELDS: Final = ("key", "delay", "mode", "max_wait")


@dataclass(frozen=True, slots=True)
class Debounce:
    """Calls of a task under one key, each less than `delay` after the one before, are one run.

    Args:
        key: What they have in common, such as the customer whose row was saved.
        delay: Seconds of quiet that end them.
        mode: "trailing": one run, when it is quiet, with the payload of the last call. "leading": one run, at once,
            with the payload of the first.
        max_wait: Seconds after the first call at which the run starts (trailing), or the next call starts another
            (leading), though it is never quiet.
    """

    key: str
    delay: float | timedelta
    mode: Literal["trailing", "leading"] = "trailing"
    max_wait: float | timedelta | None = None

    @property
    def seconds(self) -> float:
        return _seconds(self.delay)

    @property
    def longest(self) -> float | None:
        """`max_wait` in seconds."""
        return None if self.max_wait is None else _seconds(self.max_wait)

    def problems(self) -> Iterator[tuple[str, str]]:
        """(field, what is wrong and what to write) for each field that does not fit."""
        if not isinstance(self.key, str) or not 0 < len(self.key) <= MAX_KEY or not self.key.isprintable():
            yield "debounce.key", f"is {self.key!r:.60}; write text of 1 to {MAX_KEY} characters"
        if not _is_time(self.delay):
            yield "debounce.delay", f"is {self.delay!r:.60}; write seconds greater than 0, up to {MAX_DEBOUNCE:.0f}"
        if self.mode not in MODES:
            yield "debounce.mode", f"is {self.mode!r:.60}; write one of {', '.join(MODES)}"
        if self.max_wait is not None and not _is_time(self.max_wait):
            message = f"is {self.max_wait!r:.60}; write seconds greater than 0, up to {MAX_DEBOUNCE:.0f}"
            yield "debounce.max_wait", message
        elif self.max_wait is not None and _is_time(self.delay) and _seconds(self.max_wait) < self.seconds:
            yield "debounce.max_wait", "is less than delay; write at least as many seconds"


def parse(value: Any) -> Debounce | tuple[str, str]:
    """The debounce of an object {key, delay, mode, max_wait}, or (field, what is wrong)."""
    if not isinstance(value, dict):
        return "debounce", 'must be an object such as {"key": "customer-42", "delay": 5}'
    if unknown := sorted(set(value) - set(_FIELDS)):
        return f"debounce.{unknown[0]}", f"is no field here; known are {', '.join(_FIELDS)}"
    if missing := [name for name in ("key", "delay") if name not in value]:
        return f"debounce.{missing[0]}", "is missing"
    return Debounce(**value)


def _is_time(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | timedelta):
        return False
    return 0 < _seconds(value) <= MAX_DEBOUNCE


def _seconds(value: float | timedelta) -> float:
    return value.total_seconds() if isinstance(value, timedelta) else float(value)
