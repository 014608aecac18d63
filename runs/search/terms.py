"""Terms: what a search is made of, and the text that means them."""

import json
import re
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from runs.models import STATUSES
from runs.search import values
from runs.search.values import Json, Moment

Value = str | int | uuid.UUID | timedelta | Moment | Json
WORD: Final = "word"
PAYLOAD: Final = "payload"
#: What a run may be, whatever its status is.
STATES: Final = ("stuck", "ready")
#: An attempt's number is an integer of PostgreSQL.
MAX_ATTEMPT: Final = 2**31 - 1


class Comparing(StrEnum):
    """Whether a term takes `>` and its kin."""

    NO = "no"
    MAY = "may"
    MUST = "must"


@dataclass(frozen=True, slots=True)
class Term:
    """One condition: the field has any of the values, or compares so with the one; `negated`: it must not."""

    field: str
    values: tuple[Value, ...]
    op: str = ""
    negated: bool = False
    path: tuple[str, ...] = ()  # of payload

    def __str__(self) -> str:
        items = ",".join(_value_text(self.field, value) for value in self.values)
        head = "" if self.field == WORD else ".".join([self.field, *map(_segment, self.path)]) + ":"
        return f"{'-' if self.negated else ''}{head}{self.op}{items}"


@dataclass(frozen=True, slots=True)
class Field:
    """What may stand behind a name. `read` raises ValueError; `wants` says what it would have liked."""

    read: Callable[[str], Value]
    wants: str
    means: str
    example: str
    compares: Comparing = Comparing.NO


def _status(text: str) -> str:
    if text not in STATUSES:
        raise ValueError(text)
    return text


def _state(text: str) -> str:
    if text not in STATES:
        raise ValueError(text)
    return text


def _attempt(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) <= MAX_ATTEMPT):
        raise ValueError(text)
    return int(text)


_TIME_WANTED: Final = "a time like 2026-01-31 or 2026-01-31T09:00Z"
_SPAN_WANTED: Final = "a duration like 30s, 10m, 1h30m or 2d"
_ID_WANTED: Final = "the UUID of a run"

#: What a search can ask for, in the order in which it is offered. A bare word and `payload.…` are beside them.
FIELDS: Final[dict[str, Field]] = {
    "status": Field(_status, f"one of {', '.join(STATUSES)}", "the run's status", "status:failed,crashed"),
    "task": Field(str, "a task's id", "the task's id", "task:research-agent"),
    "queue": Field(str, "a queue's name", "the queue's name", "queue:llm-calls"),
    "tag": Field(str, "a tag", "a tag that the run has", "tag:nightly"),
    "is": Field(_state, f"one of {', '.join(STATES)}", "stuck: nothing new comes; ready: may start now", "is:stuck"),
    "age": Field(values.duration, _SPAN_WANTED, "time since it was created", "age:>10m", Comparing.MUST),
    "duration": Field(
        values.duration, _SPAN_WANTED, "from its start to its end, or to now", "duration:>30s", Comparing.MUST
    ),
    "total": Field(
        values.duration, _SPAN_WANTED, "from its creation to its end, or to now", "total:>30s", Comparing.MUST
    ),
    "created": Field(values.moment, _TIME_WANTED, "when it was created, UTC", "created:2026-01-31", Comparing.MAY),
    "started": Field(
        values.moment, _TIME_WANTED, "when its first attempt began, UTC", "started:2026-01-31T09:00Z", Comparing.MAY
    ),
    "finished": Field(values.moment, _TIME_WANTED, "when it ended, UTC", "finished:>2026-01-31T09:00Z", Comparing.MAY),
    "key": Field(str, "a concurrency key", "its concurrency key", "key:customer-42"),
    "worker": Field(str, "a worker's name", "the worker that had it last", "worker:kelp"),
    "version": Field(str, "a version", "the version of its code", "version:4f9c2a"),
    "attempt": Field(_attempt, "a whole number", "its current or last attempt", "attempt:>2", Comparing.MAY),
    "error": Field(str, "an error's fingerprint", "the fingerprint of its last error", "error:5e1fb00d"),
    "parent": Field(uuid.UUID, _ID_WANTED, "the run that started it", "parent:01985c1e-…"),
    "id": Field(uuid.UUID, _ID_WANTED, "its id", "id:01985c1e-…"),
}
NAMES: Final = (*FIELDS, f"{PAYLOAD}.…")

BARE = re.compile(r'[^\s",<>][^\s",]*')
_BARE_WORD = re.compile(r'[^\s",:<>-][^\s",:]*')
_BARE_SEGMENT = re.compile(r'[^\s",:.]+')


def text_of(terms: Iterable[Term]) -> str:
    """The search that means these terms."""
    return " ".join(map(str, terms))


def finished_since(start: datetime) -> str:
    """The term that finds what rollups count from then on: they know minutes, so it begins with the first full one."""
    first = start.replace(second=0, microsecond=0)
    first += timedelta(minutes=first < start)
    return f"finished:>={first:%Y-%m-%dT%H:%MZ}"


def quoted(text: str) -> str:
    """Text in quotes, as the grammar reads them."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _segment(text: str) -> str:
    return text if _BARE_SEGMENT.fullmatch(text) else quoted(text)


def _value_text(field: str, value: Value) -> str:
    match value:
        case timedelta():
            return values.duration_text(value)
        case Json():
            return _json_text(value)
        case str():
            bare = _BARE_WORD if field == WORD else BARE
            return value if bare.fullmatch(value) and not (field == WORD and is_id(value)) else quoted(value)
    return str(value)


def _json_text(value: Json) -> str:
    if not value.text.startswith('"'):
        return value.text
    plain: Any = json.loads(value.text)
    is_text = BARE.fullmatch(plain) and values.scalar(plain, quoted=False) == value
    return plain if is_text else quoted(plain)


def is_id(text: str) -> bool:
    """Whether a bare word is a run's id."""
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return len(text) >= 32
