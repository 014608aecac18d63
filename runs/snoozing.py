"""For how long somebody wants no word of something: errors and causes share it."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from runs.errors import InvalidOption
from runs.search import values

#: The longest snooze.
MAX_SNOOZE: Final = timedelta(days=90)
#: What forms offer.
DURATIONS: Final = (("1h", "an hour"), ("4h", "four hours"), ("1d", "a day"), ("7d", "a week"), ("30d", "30 days"))


def span(text: str) -> timedelta:
    """`4h`, `1d12h`, at most MAX_SNOOZE. Raises InvalidOption."""
    try:
        found = values.duration(text)
    except ValueError:
        raise fault("duration", f"is {text!r:.60}; write a duration like 4h or 1d") from None
    if not timedelta() < found <= MAX_SNOOZE:
        raise fault("duration", f"is {text!r:.60}; write at most {MAX_SNOOZE.days}d, and more than nothing")
    return found


def fault(field: str, message: str) -> InvalidOption:
    """The error that says what is wrong at a field."""
    return InvalidOption(f"{field} {message}.", errors=[{"field": field, "message": message}])
