"""Rates: how much may start in any window of time. Written in code, in forms and over the API in the same words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

#: Most that a window may let through, and the shortest and longest window, in seconds.
MAX_AMOUNT: Final = 1_000_000_000
MIN_PERIOD, MAX_PERIOD = 0.1, 31 * 86_400.0
PERIODS: Final = {"second": 1.0, "minute": 60.0, "hour": 3_600.0, "day": 86_400.0}

AMOUNT_WORDS: Final = f"an amount is a whole number from 1 to {MAX_AMOUNT:,}"
PERIOD_WORDS: Final = "a period is second, minute, hour, day, or seconds from 0.1 to 2,678,400 (31 days)"
RATE_WORDS: Final = "write a rate such as 10 per minute, 100 per 30 s, or nothing for no rate"

_TEXT: Final = re.compile(r"(?P<amount>[0-9][0-9,_]*)\s*(?:/|per\b)\s*(?P<per>[a-z]+|[0-9.]+\s*(?:s|seconds?)?)", re.I)
_SHORT: Final = {"s": "second", "sec": "second", "m": "minute", "min": "minute", "h": "hour", "d": "day"}


class RateError(ValueError):
    """A rate that cannot be; its text says what to write."""


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `amount` starts in any window of `per`: `Rate(10, per="minute")`.

    Args:
        amount: 1 to 1,000,000,000.
        per: "second", "minute", "hour", "day", or a length in seconds (0.1 to 31 days) or as a timedelta.

    Raises:
        RateError: one of them is not so.
    """

    amount: int
    per: str | float | timedelta = "minute"

    def __post_init__(self) -> None:
        if isinstance(self.amount, bool) or not isinstance(self.amount, int) or not 1 <= self.amount <= MAX_AMOUNT:
            raise RateError(f"amount is {shown(self.amount)}; {AMOUNT_WORDS}")
        object.__setattr__(self, "per", _seconds(self.per))

    @property
    def period(self) -> float:
        """The window in seconds."""
        assert isinstance(self.per, float)
        return self.per

    @property
    def words(self) -> str:
        """`10 per minute`, which `parse` reads back."""
        named = next((name for name, length in PERIODS.items() if length == self.period), None)
        return f"{self.amount:,} per {named or f'{self.period:g} s'}"

    def as_json(self) -> dict[str, Any]:
        """{"amount": 10, "per": 60.0}"""
        return {"amount": self.amount, "per": self.period}

    @classmethod
    def parse(cls, text: str) -> Rate:
        """Reads `10 per minute`, `10/min` or `100 per 30 s`. Raises RateError."""
        found = _TEXT.fullmatch(text.strip())
        if found is None or len(text) > 60:
            raise RateError(f"is {text[:60]!r}; {RATE_WORDS}")
        per = found["per"].lower()
        amount = int(re.sub("[,_]", "", found["amount"]))
        if per[0].isalpha():
            return cls(amount, _SHORT.get(per, per.removesuffix("s")))
        try:
            return cls(amount, float(re.sub("[a-z ]", "", per)))
        except ValueError as error:
            raise error if isinstance(error, RateError) else RateError(f"is {text!r}; {RATE_WORDS}") from None

    @classmethod
    def from_json(cls, value: Any) -> Rate:
        """Reads {"amount": 10, "per": "minute"} or the text of `parse`. Raises RateError."""
        if isinstance(value, str):
            return cls.parse(value)
        if not isinstance(value, dict) or not {"amount"} <= set(value) <= {"amount", "per"}:
            raise RateError(f'is {shown(value)}; write {{"amount": 10, "per": "minute"}}, "10 per minute" or null')
        return cls(value["amount"], value.get("per", "minute"))


def shown(value: Any) -> str:
    """A value for an error's text; an integer of thousands of digits cannot be printed."""
    return "too large" if isinstance(value, int) and abs(value) > 10**18 else f"{value!r:.60}"


def _seconds(per: Any) -> float:
    if isinstance(per, str):
        if per in PERIODS:
            return PERIODS[per]
        raise RateError(f"per is {shown(per)}; {PERIOD_WORDS}")
    number = per.total_seconds() if isinstance(per, timedelta) else per
    if isinstance(number, bool) or not isinstance(number, int | float) or not MIN_PERIOD <= number <= MAX_PERIOD:
        raise RateError(f"per is {shown(per)}; {PERIOD_WORDS}")
    return float(number)
