"""What could be typed next in a search: names of terms, and values that are there or were lately.

Values come from small tables, or from the newest runs: RECENT of them, and FURTHER where none of these has what was
typed.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from django.db.models import Case, QuerySet, When
from django.utils import timezone

from holdfast.redaction import hides
from queues.models import Queue, Worker
from runs.models import STATUSES, Run, Task
from runs.search.grammar import MAX_SEARCH
from runs.search.terms import BARE, FIELDS, PAYLOAD, quoted

MOST: Final = 15
#: Runs, the newest, whose tags, keys and versions are offered.
RECENT: Final = 1_000
#: And where none of these has what was typed: of thousands of tags, most are of earlier runs.
FURTHER: Final = 10_000
#: Failures, the newest, whose fingerprints are.
FAILURES: Final = 200
#: Rows of small tables that are read.
ROWS: Final = 500
MAX_DEPTH: Final = 4


@dataclass(frozen=True, slots=True)
class Choice:
    """`text` is what is written; `note` says what it is. `open`: more has to follow, so no space is written behind."""

    text: str
    note: str = ""
    open: bool = False


@dataclass(frozen=True, slots=True)
class Suggestions:
    """Choices for what stands from `start` up to `end`."""

    start: int
    end: int
    choices: list[Choice]

    def as_json(self) -> dict[str, Any]:
        items = [{"text": one.text, "note": one.note, "open": one.open} for one in self.choices]
        return {"start": self.start, "end": self.end, "items": items}


def suggest(text: str, at: int) -> Suggestions:
    """Choices for the part of a search that ends at a cursor."""
    text = text[:MAX_SEARCH]
    at = max(0, min(at, len(text)))
    begin, colon = _part(text, at)
    end = at
    while end < len(text) and not text[end].isspace() and text[end] != ",":
        end += 1
    if begin < at and text[begin] == "-":
        begin += 1
    if colon is None:
        return Suggestions(begin, end, _names(text[begin:at]))
    name, start = text[begin:colon], colon + 1
    while start < at and text[start] in "<>=":
        start += 1
    for index in range(start, at):
        if text[index] == ",":
            start = index + 1
    found = _values(name, text[start:at].strip('"'), compared=text[colon + 1 : colon + 2] in ("<", ">"))
    return Suggestions(start, end, found[:MOST])


def _part(text: str, at: int) -> tuple[int, int | None]:
    """Where the term at the cursor begins, and its colon if that is behind us; quotes may hold spaces and colons."""
    begin, colon, inside = 0, None, False
    for index, character in enumerate(text[:at]):
        if character == '"' and text[index - 1 : index] != "\\":
            inside = not inside
        elif inside:
            continue
        elif character.isspace():
            begin, colon = index + 1, None
        elif character == ":" and colon is None:
            colon = index
    return begin, colon


def _names(typed: str) -> list[Choice]:
    if typed.startswith(f"{PAYLOAD}."):
        return list(_paths(typed))[:MOST]
    fields = [Choice(f"{name}:", field.means, open=True) for name, field in FIELDS.items()]
    fields.append(Choice(f"{PAYLOAD}.", "a value in its payload, as in payload.user.id:42", open=True))
    fitting = [one for one in fields if one.text.startswith(typed.lower())]
    if not typed:
        return fitting
    tasks = [Choice(f"task:{_written(one.text)}", "task") for one in _tasks(typed)]
    tasks.sort(key=lambda one: not one.text.lower().startswith(f"task:{typed.lower()}"))  # stable
    return [*fitting, *tasks][:MOST]


def _values(name: str, typed: str, *, compared: bool) -> list[Choice]:
    source = _SOURCES.get(name)
    if source is None:
        return []
    choices = [one for one in source(typed) if typed.lower() in one.text.lower()]
    if name in {"age", "duration", "total"} and not compared:
        return [Choice(f"{sign}{one.text}", one.note) for one in choices for sign in "><"]
    choices.sort(key=lambda one: not one.text.lower().startswith(typed.lower()))  # stable
    return [Choice(_written(one.text), one.note) for one in choices]


def _written(text: str) -> str:
    return text if BARE.fullmatch(text) or text[:1] in "<>" else quoted(text)


def _tasks(typed: str) -> list[Choice]:
    return _named(Task.objects.all(), "id", typed)


def _queues(typed: str) -> list[Choice]:
    return _named(Queue.objects.all(), "name", typed)


def _named(rows: QuerySet[Any], column: str, typed: str) -> list[Choice]:
    """Those that begin so come first: of very many that have it somewhere, they would be beyond ROWS."""
    begins = Case(When(**{f"{column}__istartswith": typed}, then=0), default=1)
    found = rows.filter(**{f"{column}__icontains": typed}).order_by(begins, column).values_list(column, flat=True)
    return [Choice(one) for one in found[:ROWS]]


def _workers(_: str) -> list[Choice]:
    newest = Worker.objects.order_by("-id").values_list("name", "stopped_at", "lost_at")[:ROWS]
    found: dict[str, str] = {}
    for name, stopped, lost in newest:
        found.setdefault(name, "lost" if lost else "stopped" if stopped else "alive")
    return [Choice(name, state) for name, state in found.items()]


def _seen(column: str) -> Callable[[str], list[Choice]]:
    def seen(typed: str) -> list[Choice]:
        runs, counts = recently(column)
        if typed and runs == RECENT and not any(typed.lower() in value.lower() for value in counts):
            runs, counts = recently(column, FURTHER)
        return [Choice(value, f"{number:,} of the last {runs:,} runs") for value, number in counts.most_common()]

    return seen


def recently(column: str, most: int | None = None) -> tuple[int, Counter[str]]:
    """How many runs are the newest, `most` (or RECENT) at most, and how many of these have each tag, key or version."""
    rows = Run.objects.order_by("-id").values_list(column, flat=True)[: RECENT if most is None else most]
    return len(rows), Counter(value for row in rows for value in (row if isinstance(row, list) else [row]) if value)


def _errors(_: str) -> list[Choice]:
    failures = Run.objects.filter(status="failed").order_by("-id").values_list("error", flat=True)[:FAILURES]
    found: dict[str, str] = {}
    for error in failures:
        if error and error.get("fingerprint"):
            kind = str(error.get("type", "")).rpartition(".")[2]
            found.setdefault(error["fingerprint"], f"{kind}: {error.get('message', '')}"[:80])
    return [Choice(fingerprint, words) for fingerprint, words in found.items()]


def _times(_: str) -> list[Choice]:
    today = timezone.now().date()
    days = ((today, "today"), (today - timedelta(days=1), "yesterday"), (today - timedelta(days=7), "a week ago"))
    return [Choice(text, words) for day, words in days for text in (f"{day}", f">={day}")]


def _paths(typed: str) -> Iterator[Choice]:
    """Of the payloads of tasks, by their schemas."""
    seen: dict[str, Choice] = {}
    for schema in Task.objects.order_by("-registered_at").values_list("payload_schema", flat=True)[:ROWS]:
        for path, kind in _leaves(schema, schema, PAYLOAD, 0):
            if hides(path.split(".")[1:]):
                continue
            seen.setdefault(path, Choice(f"{path}:", kind, open=True))
    return (one for path, one in sorted(seen.items()) if path.lower().startswith(typed.lower()))


def _leaves(schema: Any, root: Any, path: str, depth: int) -> Iterator[tuple[str, str]]:
    if not isinstance(schema, Mapping):
        return
    if str(schema.get("$ref", "")).startswith("#/$defs/"):
        schema = root.get("$defs", {}).get(schema["$ref"].removeprefix("#/$defs/"), {})
    inner = schema.get("properties")
    if isinstance(inner, Mapping) and depth < MAX_DEPTH:
        for name, part in inner.items():
            if not set(name) & set('".:, '):
                yield from _leaves(part, root, f"{path}.{name}", depth + 1)
    elif depth:
        yield path, str(schema.get("type", ""))


def _fixed(*pairs: tuple[str, str]) -> Callable[[str], Iterable[Choice]]:
    return lambda _: [Choice(*pair) for pair in pairs]


_SPANS: Final = _fixed(("1m", "a minute"), ("10m", ""), ("1h", "an hour"), ("1d", "a day"), ("7d", "a week"))
_SOURCES: Final[dict[str, Callable[[str], Iterable[Choice]]]] = {
    "status": _fixed(*((status, "") for status in STATUSES)),
    "is": _fixed(("stuck", "nothing new comes of it for too long"), ("ready", "it waits for a worker")),
    "task": _tasks,
    "queue": _queues,
    "worker": _workers,
    "tag": _seen("tags"),
    "key": _seen("concurrency_key"),
    "version": _seen("version"),
    "error": _errors,
    "age": _SPANS,
    "duration": _SPANS,
    "total": _SPANS,
    "attempt": _fixed((">1", "tried again"), (">2", ""), ("1", "")),
    "created": _times,
    "started": _times,
    "finished": _times,
}
