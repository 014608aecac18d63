"""Values of terms, from text and back: times, durations, JSON. Each reader raises ValueError for what does not fit."""

import json
import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

_TIME = re.compile(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(:\d\d)?(\.\d{1,6})?(Z|[+-]\d\d:\d\d)?)?", re.ASCII)
_DURATION = re.compile(r"(?:\d{1,9}(?:\.\d{1,3})?(?:ms|[smhdw]))+", re.ASCII)
_PART = re.compile(r"([\d.]+)(ms|[smhdw])", re.ASCII)
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d{1,3})?", re.ASCII)
_MILLISECONDS: Final = {"w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
LONGEST: Final = timedelta(days=36_500)
_SPANS: Final = (timedelta(days=1), timedelta(minutes=1), timedelta(seconds=1), timedelta(microseconds=1))
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Moment:
    """A day, a minute, a second or a microsecond: `start` is in it, `end` is not."""

    start: datetime
    end: datetime

    def __str__(self) -> str:
        day, minute, second, _ = _SPANS
        match self.end - self.start:
            case span if span == day:
                return f"{self.start:%Y-%m-%d}"
            case span if span == minute:
                return f"{self.start:%Y-%m-%dT%H:%MZ}"
            case span if span == second:
                return f"{self.start:%Y-%m-%dT%H:%M:%SZ}"
        return f"{self.start:%Y-%m-%dT%H:%M:%S.%fZ}"


@dataclass(frozen=True, slots=True)
class Json:
    """A scalar of JSON, as its text."""

    text: str

    @property
    def number(self) -> bool:
        return _NUMBER.fullmatch(self.text) is not None


def moment(text: str) -> Moment:
    """`2026-01-31`, `2026-01-31T09:00`, with seconds, fractions and a zone; UTC without one."""
    found = _TIME.fullmatch(text)
    if not found or (found[4] and not found[3]):
        raise ValueError(text)
    start = datetime.fromisoformat(text.replace(" ", "T"))
    start = (start if start.tzinfo else start.replace(tzinfo=UTC)).astimezone(UTC)
    shape = 0 if not found[2] else 1 if not found[3] else 2 if not found[4] else 3
    # 64-bit ids hold times from 1970 on; a day more than the last one cannot be said.
    if start < _EPOCH:
        raise ValueError("before 1970")
    try:
        return Moment(start, start + _SPANS[shape])
    except OverflowError:
        raise ValueError(text) from None


def instant(at: datetime) -> Moment:
    """A moment with the precision of the database's clock, or the shortest text that means it."""
    at = at.astimezone(UTC)
    return Moment(at, at + timedelta(microseconds=1))


def duration(text: str) -> timedelta:
    """`250ms`, `30s`, `10m`, `1h30m`, `1.5d`, `2w`."""
    if not _DURATION.fullmatch(text):
        raise ValueError(text)
    whole = sum(Decimal(number) * _MILLISECONDS[unit] for number, unit in _PART.findall(text))
    found = timedelta(milliseconds=int(whole))
    if found > LONGEST:
        raise ValueError(text)
    return found


def duration_text(span: timedelta) -> str:
    """The shortest text that `duration` reads as this."""
    left, parts = span // timedelta(milliseconds=1), []
    for unit, size in _MILLISECONDS.items():
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def scalar(text: str, *, quoted: bool) -> Json:
    """`42`, `true`, `null` as JSON has them; any other text, and all that is in quotes, is text."""
    if not quoted and (text in {"true", "false", "null"} or _NUMBER.fullmatch(text)):
        return Json(text)
    return Json(json.dumps(text, ensure_ascii=False))


def first_id(at: datetime) -> uuid.UUID:
    """The lowest UUIDv7 of a moment. Raises ValueError before 1970."""
    milliseconds = (at - _EPOCH) // timedelta(milliseconds=1)
    if milliseconds < 0:
        raise ValueError("before 1970")
    return uuid.UUID(int=milliseconds << 80)


def time_of(run_id: uuid.UUID) -> datetime:
    """When an id was made."""
    return _EPOCH + timedelta(milliseconds=run_id.int >> 80)
