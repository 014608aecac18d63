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
NO_PERIOD: Final = f"has no period, such as 10 per minute; {PERIOD_WORDS}"
UNIT_WORDS: Final = "a unit is 1 to 60 letters, digits or underscores, beginning with a letter, such as tokens"
RATE_WORDS: Final = "write a rate such as 10 per minute, 9000 tokens per minute, 100 per 30 s, or nothing for no rate"

#: What stands at the number itself is no unit if it is a part of the number: 1e12, 10k.
_TEXT: Final = re.compile(
    r"(?P<amount>[0-9][0-9,_]*)(?!e[0-9]|[a-z]\b)\s*(?P<unit>[a-z][a-z0-9_]*?)?\s*(?:/|\bper\b)\s*"
    r"(?P<per>[a-z]+|[0-9.]+\s*(?:s|seconds?)?)",
    re.I,
)
_SHORT: Final = {"s": "second", "sec": "second", "m": "minute", "min": "minute", "h": "hour", "d": "day"}
_UNIT: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,59}")
_NO_PERIOD: Final = re.compile(r"[0-9][0-9,_]*\s*(?:[a-z][a-z0-9_]*)?", re.I)


class RateError(ValueError):
    """A rate that cannot be; its text says what to write."""


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `amount` starts in any window of `per`: `Rate(10, per="minute")`.

    Args:
        amount: 1 to 1,000,000,000.
        per: "second", "minute", "hour", "day", or a length in seconds (0.1 to 31 days) or as a timedelta.
        unit: What is counted in place of starts: a run counts as many as it was enqueued with (`using(units=1200)`, one
            unless it says so), and is settled by what it has used of that unit (`usage(…)`): "tokens".

    Raises:
        RateError: one of them is not so.
    """

    amount: int
    per: str | float | timedelta | None = None  # it is refused here, and not by Python, to say what to write
    unit: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.amount, bool) or not isinstance(self.amount, int) or not 1 <= self.amount <= MAX_AMOUNT:
            raise RateError(f"amount is {shown(self.amount)}; {AMOUNT_WORDS}")
        if self.unit is not None and not (isinstance(self.unit, str) and _UNIT.fullmatch(self.unit)):
            raise RateError(f"unit is {shown(self.unit)}; {UNIT_WORDS}")
        object.__setattr__(self, "per", _seconds(self.per))

    @property
    def period(self) -> float:
        """The window in seconds."""
        assert isinstance(self.per, float)
        return self.per

    @classmethod
    def of(cls, amount: int | None, period: float | None, unit: str | None) -> Rate | None:
        """The rate of these columns; None when there is none. Raises RateError."""
        return None if amount is None or period is None else cls(amount, period, unit)

    @property
    def columns(self) -> tuple[int, float, str | None]:
        """What `of` reads back."""
        return self.amount, self.period, self.unit

    @property
    def words(self) -> str:
        """`10 per minute`, which `parse` reads back."""
        named = next((name for name, length in PERIODS.items() if length == self.period), None)
        return f"{self.amount:,} {f'{self.unit} ' if self.unit else ''}per {named or f'{self.period:g} s'}"

    def as_json(self) -> dict[str, Any]:
        """{"amount": 10, "per": 60.0}, and "unit" if it has one."""
        return {"amount": self.amount, "per": self.period, **({"unit": self.unit} if self.unit else {})}

    @classmethod
    def parse(cls, text: str) -> Rate:
        """Reads `10 per minute`, `10/min`, `100 per 30 s` or `9,000 tokens per minute`. Raises RateError."""
        found = _TEXT.fullmatch(text.strip())
        if len(text) <= 120 and _NO_PERIOD.fullmatch(text.strip()):
            raise RateError(NO_PERIOD)
        if found is None or len(text) > 120:
            raise RateError(f"is {text[:60]!r}; {RATE_WORDS}")
        per = found["per"].lower()
        amount = int(re.sub("[,_]", "", found["amount"]))
        if per[0].isalpha():
            return cls(amount, _SHORT.get(per, per.removesuffix("s")), found["unit"])
        try:
            return cls(amount, float(re.sub("[a-z ]", "", per)), found["unit"])
        except ValueError as error:
            raise error if isinstance(error, RateError) else RateError(f"is {text!r}; {RATE_WORDS}") from None

    @classmethod
    def from_json(cls, value: Any) -> Rate:
        """Reads {"amount": 10, "per": "minute"}, with a "unit" or without, or the text of `parse`. Raises RateError."""
        if isinstance(value, str):
            return cls.parse(value)
        if not isinstance(value, dict) or not {"amount"} <= set(value) <= {"amount", "per", "unit"}:
            raise RateError(
                f'is {shown(value)}; write "10 per minute", {{"amount": 10, "per": "minute"}}, in code '
                'Rate(10, per="minute"), or null for no rate'
            )
        return cls(value["amount"], value.get("per"), value.get("unit"))


def shown(value: Any) -> str:
    """A value for an error's text; an integer of thousands of digits cannot be printed."""
    return "too large" if isinstance(value, int) and abs(value) > 10**18 else f"{value!r:.60}"


def _seconds(per: Any) -> float:
    if per is None:
        raise RateError(NO_PERIOD)
    if isinstance(per, str):
        if per in PERIODS:
            return PERIODS[per]
        raise RateError(f"per is {shown(per)}; {PERIOD_WORDS}")
    number = per.total_seconds() if isinstance(per, timedelta) else per
    if isinstance(number, bool) or not isinstance(number, int | float) or not MIN_PERIOD <= number <= MAX_PERIOD:
        raise RateError(f"per is {shown(per)}; {PERIOD_WORDS}")
    return float(number)
