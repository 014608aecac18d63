"""Which runs a list shows: query parameters become a filter, a filter becomes a keyset query.

    ?status=failed&status=crashed&task=research-agent&queue=llm-calls&tag=nightly&parent=<run id>
    &created_after=2026-01-31T09:00:00Z&created_before=2026-02-01T09:00:00Z

`status` and `tag` may stand several times (or once with commas, for status): any of the statuses, all of the tags.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Final

from django.db.models import QuerySet

from queues.models import Queue
from runs.errors import HoldfastError
from runs.models import STATUSES, Run

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 200
MAX_TEXT: Final = 200
MAX_TAGS: Final = 20

#: A run's id holds the clock of the moment it was written, `created_at` that of its statement's begin: a bulk enqueue
#: may write its last id this much later.
_ID_LAG = timedelta(minutes=1)
_NAMES: Final = ("status", "task", "queue", "tag", "parent", "created_after", "created_before")

Params = Mapping[str, str | Sequence[str]]


class InvalidFilter(HoldfastError):
    """A query parameter does not fit. `data["errors"]` is a list of {field, message}."""

    status, code = 422, "invalid_filter"


@dataclass(frozen=True, slots=True)
class RunFilter:
    """What a run must be to be listed. An empty filter lists all."""

    statuses: tuple[str, ...] = ()
    task: str | None = None
    queue: str | None = None
    tags: tuple[str, ...] = ()
    parent: uuid.UUID | None = None
    created_after: datetime | None = None  # included
    created_before: datetime | None = None  # excluded

    @classmethod
    def parse(cls, params: Params, also: Iterable[str] = ()) -> "RunFilter":
        """The filter that query parameters ask for; an empty value asks for nothing.

        Args:
            params: a QueryDict, or a mapping of names to one text or several.
            also: names of parameters that are somebody else's.

        Raises:
            InvalidFilter: names every parameter that does not fit, and what would.
        """
        reader = _Reader(params)
        reader.refuse_unknown((*_NAMES, *also))
        found = cls(
            statuses=reader.statuses(),
            task=reader.text("task"),
            queue=reader.text("queue"),
            tags=reader.tags(),
            parent=reader.run_id("parent"),
            created_after=reader.time("created_after"),
            created_before=reader.time("created_before"),
        )
        reader.done()
        return found

    def params(self) -> list[tuple[str, str]]:
        """The query parameters that make this filter, for links."""
        pairs = [("status", s) for s in self.statuses] + [("tag", t) for t in self.tags]
        for name in ("task", "queue", "parent"):
            if value := getattr(self, name):
                pairs.append((name, str(value)))
        for name in ("created_after", "created_before"):
            if at := getattr(self, name):
                pairs.append((name, at.astimezone(UTC).isoformat().replace("+00:00", "Z")))
        return pairs

    def query(self) -> QuerySet[Run]:
        """All that fits, but for the statuses: the caller applies them one at a time, each has its own index order."""
        runs = Run.objects.order_by("-id")
        if self.task:
            runs = runs.filter(task_id=self.task)
        if self.queue:
            queue_id = Queue.objects.filter(name=self.queue).values_list("id", flat=True).first()
            runs = runs.filter(queue_id=queue_id) if queue_id else runs.none()
        if self.tags:
            runs = runs.filter(tags__contains=list(self.tags)).exclude(tags=[])  # the index leaves untagged runs out
        if self.parent:
            runs = runs.filter(parent_id=self.parent)
        if self.created_after:
            runs = runs.filter(id__gte=_first_id(self.created_after), created_at__gte=self.created_after)
        if self.created_before:
            runs = runs.filter(id__lt=_first_id(self.created_before + _ID_LAG), created_at__lt=self.created_before)
        return runs


def parse_cursor(text: str | None) -> uuid.UUID | None:
    """Where a page begins: the `next` of the page before it. Raises InvalidFilter."""
    if not text:
        return None
    reader = _Reader({"cursor": text})
    cursor = reader.run_id("cursor", "is no cursor; send the `next` of the page before, unchanged")
    reader.done()
    return cursor


def parse_limit(text: str | None, *, most: int = MAX_LIMIT, default: int = DEFAULT_LIMIT) -> int:
    """How many items a page has at most. Raises InvalidFilter."""
    return parse_number("limit", text, least=1, most=most, default=default)


def parse_number(name: str, text: str | None, *, least: int, most: int, default: int) -> int:
    """A whole number of a query parameter. Raises InvalidFilter."""
    if text is None or text == "":
        return default
    if text.isascii() and text.isdecimal() and len(text) <= 20 and least <= int(text) <= most:
        return int(text)
    raise _refusal([(name, f"is {_shown(text)}; write a whole number from {least:,} to {most:,}")])


def refuse_unknown(params: Params, known: Iterable[str]) -> None:
    """Raises InvalidFilter for a parameter that is not in `known`: a misspelt filter must not list everything."""
    reader = _Reader(params)
    reader.refuse_unknown(tuple(known))
    reader.done()


class _Reader:
    """Reads parameters one by one and keeps what is wrong with them, so that all is said at once."""

    def __init__(self, params: Params) -> None:
        self.params = params
        self.faults: list[tuple[str, str]] = []

    def done(self) -> None:
        if self.faults:
            raise _refusal(self.faults)

    def refuse_unknown(self, known: tuple[str, ...]) -> None:
        for name in self.params:
            if name not in known:
                near = get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
                self.faults.append((f"{_printable(name)[:60]}", f"is no parameter here; {hint}"))

    def values(self, name: str) -> list[str]:
        """All values of one parameter, checked to be text that PostgreSQL can hold."""
        getlist = getattr(self.params, "getlist", None)
        raw = getlist(name) if getlist else self.params.get(name, ())
        found = []
        for value in [raw] if isinstance(raw, str) else raw:
            if len(value) > MAX_TEXT:
                self.faults.append((name, f"has {len(value):,} characters; write at most {MAX_TEXT}"))
            elif _printable(value) != value:
                self.faults.append((name, "holds a control character; write plain text"))
            elif value.strip():
                found.append(value.strip())
        return found

    def text(self, name: str) -> str | None:
        values = self.values(name)
        if len(values) > 1:
            self.faults.append((name, "stands more than once; write it once"))
        return values[0] if values else None

    def statuses(self) -> tuple[str, ...]:
        names = [part.strip() for value in self.values("status") for part in value.split(",") if part.strip()]
        for name in names:
            if name not in STATUSES:
                self.faults.append(("status", f"is {_shown(name)}; write one of {', '.join(STATUSES)}"))
        return tuple(dict.fromkeys(name for name in names if name in STATUSES))

    def tags(self) -> tuple[str, ...]:
        tags = tuple(dict.fromkeys(self.values("tag")))
        if len(tags) > MAX_TAGS:
            self.faults.append(("tag", f"stands {len(tags)} times; write at most {MAX_TAGS}"))
        return tags

    def run_id(self, name: str, message: str = "is no run id; write a UUID") -> uuid.UUID | None:
        if (text := self.text(name)) is None:
            return None
        try:
            return uuid.UUID(text)
        except ValueError:
            self.faults.append((name, message))
            return None

    def time(self, name: str) -> datetime | None:
        if (text := self.text(name)) is None:
            return None
        try:
            # A plus sign that was not percent-encoded arrives as a space.
            at = datetime.fromisoformat(text.replace(" ", "+") if text.count(" ") == 1 and "T" in text else text)
            if at.tzinfo is None:
                at = at.replace(tzinfo=UTC)
            _first_id(at + _ID_LAG)
            return at.astimezone(UTC)
        except (ValueError, OverflowError):
            self.faults.append((name, f"is {_shown(text)}; write a time like 2026-01-31T09:00:00Z"))
            return None


def _first_id(at: datetime) -> uuid.UUID:
    """The lowest UUIDv7 of a moment. Raises ValueError before 1970."""
    milliseconds = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    if milliseconds < 0:
        raise ValueError("before 1970")
    return uuid.UUID(int=milliseconds << 80)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "…")


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


def _refusal(faults: list[tuple[str, str]]) -> InvalidFilter:
    field, message = faults[0]
    more = f"; {len(faults) - 1} more like it" if len(faults) > 1 else ""
    return InvalidFilter(f"{field} {message}{more}.", errors=[{"field": f, "message": m} for f, m in faults])
