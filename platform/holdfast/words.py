"""Numbers, times and statuses as people read them. Pure: the template tags and the commands share it."""

import json
from datetime import UTC, datetime
from typing import Any, Final

from holdfast.redaction import redacted

MINUTE: Final = 60
HOUR: Final = 3600
DAY: Final = 86400

#: Unlike `completed`, some statuses are not written as they are stored.
STATUS_WORDS: Final = {"timed_out": "timed out"}


def status_words(status: str) -> str:
    """A status in words."""
    return STATUS_WORDS.get(status, status)


def duration(seconds: float | None) -> str:
    """A duration in seconds with the two units that matter: `340 ms`, `12.5 s`, `2 m 05 s`, `3 h 12 m`, `2 d 4 h`."""
    if seconds is None:
        return "–"
    if seconds < 0.00005:
        return "0 ms"
    if seconds < 0.0095:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < HOUR:
        return f"{whole // MINUTE} m {whole % MINUTE:02} s"
    if whole < DAY:
        return f"{whole // HOUR} h {whole % HOUR // MINUTE:02} m"
    return f"{whole // DAY} d {whole % DAY // HOUR} h"


def printable(text: str, instead: str = " ") -> str:
    """Without line ends and other characters that are not shown; `instead` stands for each."""
    return "".join(c if c.isprintable() else instead for c in text)


def share(part: float) -> str:
    """A part of 1 as `12 %`; what is little but not nothing is `under 1 %`."""
    return "under 1 %" if 0 < part < 0.01 else f"{100 * part:.0f} %"


def relative(at: datetime, now: datetime) -> str:
    """`at` as seen from `now`: `just now`, `40 s ago`, `5 m ago`, `in 3 h`; whole units, so that it rarely changes."""
    seconds = (now - at).total_seconds()
    if abs(seconds) < 2:
        return "just now"
    size = abs(seconds)
    unit, name = next((u, n) for u, n in ((DAY, "d"), (HOUR, "h"), (MINUTE, "m"), (1, "s")) if size >= u)
    text = f"{int(size // unit)} {name}"
    return f"{text} ago" if seconds > 0 else f"in {text}"


def exact(at: datetime) -> str:
    """`2026-11-23 12:00:01.250 UTC`."""
    at = at.astimezone(UTC)
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03} UTC"


def count(number: float | None) -> str:
    """A count with separators: `12,345`."""
    return "–" if number is None else f"{number:,}"


def pretty_json(value: Any) -> str:
    """JSON for reading, without what is shown to nobody. Integers of any size keep every digit."""
    return json.dumps(redacted(value), indent=2, ensure_ascii=False, default=str)
