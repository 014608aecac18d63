"""Which runs a list shows: query parameters become a filter, a filter becomes a keyset query.

    ?q=queue:llm -task:sync status:retrying age:>10m tag:x payload.user.id:42
    ?status=failed&status=crashed&task=research-agent&queue=llm-calls&tag=nightly&parent=<run id>
    &created_after=2026-01-31T09:00:00Z&created_before=2026-02-01T09:00:00Z

`status` and `tag` may stand several times (or once with commas, for status): any of the statuses, all of the tags.
`q` is a search (`runs.search`); what stands beside it has to be so as well.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Final
from urllib.parse import urlencode

from holdfast.words import printable
from runs.errors import InvalidFilter as InvalidFilter
from runs.models import STATUSES
from runs.search import grammar
from runs.search.conditions import ID_LAG
from runs.search.terms import Term, text_of
from runs.search.values import duration, instant
from runs.search.values import first_id as first_id

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 200
MAX_TEXT: Final = 200
#: How like a name has to be to be meant by another, from 0 to 1: `taks` is like `task`, `period` is not like `version`.
NEAR: Final = 0.7
MAX_TAGS: Final = 20

_NAMES: Final = ("q", "status", "task", "queue", "tag", "parent", "created_after", "created_before")

Params = Mapping[str, str | Sequence[str]]


@dataclass(frozen=True, slots=True)
class RunFilter:
    """What a run must be to be listed: the plain parameters, and the terms of a search. An empty one lists all."""

    statuses: tuple[str, ...] = ()
    task: str | None = None
    queue: str | None = None
    tags: tuple[str, ...] = ()
    parent: uuid.UUID | None = None
    created_after: datetime | None = None  # included
    created_before: datetime | None = None  # excluded
    search: tuple[Term, ...] = ()

    @classmethod
    def parse(cls, params: Params, also: Iterable[str] = ()) -> "RunFilter":
        """The filter that query parameters ask for; an empty value asks for nothing.

        Args:
            params: a QueryDict, or a mapping of names to one text or several.
            also: names of parameters that are somebody else's.

        Raises:
            InvalidFilter: names every parameter that does not fit, and what would.
        """
        reader = Reader(params)
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
        return replace(found, search=grammar.parse(reader.search()))

    @property
    def terms(self) -> tuple[Term, ...]:
        """All of it as terms."""
        plain: list[Term] = []
        for name, values in (("queue", self.queue), ("task", self.task), ("status", self.statuses)):
            if values:
                plain.append(Term(name, values if isinstance(values, tuple) else (values,)))
        plain += [Term("tag", (tag,)) for tag in self.tags]
        if self.parent:
            plain.append(Term("parent", (self.parent,)))
        if self.created_after:
            plain.append(Term("created", (instant(self.created_after),), ">="))
        if self.created_before:
            plain.append(Term("created", (instant(self.created_before),), "<"))
        return tuple(dict.fromkeys([*plain, *self.search]))

    @property
    def text(self) -> str:
        """The search that means this filter."""
        return text_of(self.terms)

    def only(self, field: str) -> tuple[str, ...]:
        """The values of the one term that says what a field is, for tabs and choices; none if there is no such term."""
        found = [term for term in self.terms if term.field == field]
        return tuple(map(str, found[0].values)) if len(found) == 1 and not found[0].negated else ()

    def having(self, field: str, values: tuple[str, ...]) -> "RunFilter":
        """This search with another value for a field, or with none."""
        others = tuple(term for term in self.terms if term.field != field)
        return RunFilter(search=(*others, Term(field, values)) if values else others)

    def params(self) -> list[tuple[str, str]]:
        """The query parameters that make this filter, for links."""
        return [("q", self.text)] if self.terms else []

    @staticmethod
    def link(text: str) -> str:
        """The query of an address that asks for a search, as people can read it."""
        return f"?{urlencode({'q': text}, safe=':,')}"

    def address(self, *more: tuple[str, str]) -> str:
        """Those and others, as the query of an address that people can read."""
        return f"?{urlencode([*self.params(), *more], safe=':,')}"


def parse_cursor(text: str | None) -> uuid.UUID | None:
    """Where a page begins: the `next` of the page before it. Raises InvalidFilter."""
    if not text:
        return None
    reader = Reader({"cursor": text})
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
    reader = Reader({})
    number = reader.whole(name, text, least, most)
    reader.done()
    return default if number is None else number


def refuse_choice(name: str, text: str, known: Iterable[str]) -> None:
    """Raises InvalidFilter for a value that is not one of these; empty is none."""
    if text and text not in (choices := list(known)):
        raise _refusal([(name, f"is {_shown(printable(text, '?'))}; write one of {', '.join(choices)}")])


def refuse_unknown(params: Params, known: Iterable[str]) -> None:
    """Raises InvalidFilter for a parameter that is not in `known`: a misspelt filter must not list everything."""
    reader = Reader(params)
    reader.refuse_unknown(tuple(known))
    reader.done()


class Reader:
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
                near = get_close_matches(name, known, n=1, cutoff=NEAR)
                hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
                self.faults.append((printable(name, "?")[:60], f"is no parameter here; {hint}"))

    def values(self, name: str) -> list[str]:
        """All values of one parameter, checked to be text that PostgreSQL can hold."""
        getlist = getattr(self.params, "getlist", None)
        raw = getlist(name) if getlist else self.params.get(name, ())
        found = []
        for value in [raw] if isinstance(raw, str) else raw:
            if len(value) > MAX_TEXT:
                self.faults.append((name, f"has {len(value):,} characters; write at most {MAX_TEXT}"))
            elif printable(value, "?") != value:
                self.faults.append((name, "holds a control character; write plain text"))
            elif value.strip():
                found.append(value.strip())
        return found

    def search(self) -> str:
        """The search as it was sent, for errors that point at its characters."""
        getlist = getattr(self.params, "getlist", None)
        raw = getlist("q") if getlist else self.params.get("q", "")
        texts = [raw] if isinstance(raw, str) else list(raw)
        if len(texts) > 1:
            raise _refusal([("q", "stands more than once; write one search")])
        return texts[0] if texts else ""

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
            first_id(at + ID_LAG)
            return at.astimezone(UTC)
        except (ValueError, OverflowError):
            self.faults.append((name, f"is {_shown(text)}; write a time like 2026-01-31T09:00:00Z"))
            return None

    def duration(self, name: str) -> timedelta | None:
        if (text := self.text(name)) is None:
            return None
        try:
            return duration(text)
        except (ValueError, OverflowError):
            self.faults.append((name, f"is {_shown(text)}; write a duration like 250ms, 30s or 1h30m"))
            return None

    def number(self, name: str, *, least: int = 0, most: int) -> int | None:
        """A whole number."""
        text = self.text(name)
        return None if text is None else self.whole(name, text, least, most)

    def whole(self, name: str, text: str, least: int, most: int) -> int | None:
        digits = text.removeprefix("-") if least < 0 else text
        if digits.isascii() and digits.isdecimal() and len(digits) <= 20 and least <= int(text) <= most:
            return int(text)
        self.faults.append((name, f"is {_shown(text)}; write a whole number from {least:,} to {most:,}"))
        return None

    def choice(self, name: str, known: Iterable[str]) -> str | None:
        text, choices = self.text(name), list(known)
        if text is not None and text not in choices:
            self.faults.append((name, f"is {_shown(text)}; write one of {', '.join(choices)}"))
            return None
        return text


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "…")


def _refusal(faults: list[tuple[str, str]]) -> InvalidFilter:
    field, message = faults[0]
    more = f"; {len(faults) - 1} more like it" if len(faults) > 1 else ""
    text = f"{field} {message}{more}"
    text += "" if text.endswith("?") else "."
    return InvalidFilter(text, errors=[{"field": f, "message": m} for f, m in faults])
