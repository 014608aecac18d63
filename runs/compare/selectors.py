"""Two runs, or two attempts of runs, and how they differ: what went in, the code, the steps, the log."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from holdfast import db
from holdfast.redaction import redacted
from holdfast.words import duration, exact, pretty_json, printable, status_words
from runs import selectors
from runs.compare import diff
from runs.errors import InvalidFilter
from runs.models import Attempt, LogLine, Run
from runs.retries.selectors import spent_words
from runs.states import Status
from runs.store import SQL

#: What is compared at most: lines of a payload, result or log, and steps; the first ones.
MAX_LINES: Final = 500
MAX_STEPS: Final = 500
#: Characters of a line that is compared.
MAX_LINE: Final = 500
#: A step whose time differs by this factor, and by so many seconds, is marked.
SLOWER, SECONDS = 1.5, 0.05
STARTED: Final = "Started"
MAX_ATTEMPT: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Side:
    """A run, or one attempt of it."""

    run: Run
    attempt: Attempt | None

    @property
    def name(self) -> str:
        """As `Asked` reads it."""
        return f"{self.run.pk}:{self.attempt.number}" if self.attempt else str(self.run.pk)

    @property
    def status(self) -> str:
        return self.attempt.status if self.attempt else self.run.status

    @property
    def completed(self) -> bool:
        return self.status == Status.COMPLETED

    @property
    def output(self) -> Any:
        """Its result. An attempt before the one that completed its run has none."""
        return self.run.output if self.completed else None

    @property
    def started_at(self) -> datetime | None:
        return self.attempt.started_at if self.attempt else self.run.started_at

    @property
    def finished_at(self) -> datetime | None:
        return self.attempt.finished_at if self.attempt else self.run.finished_at

    @property
    def error(self) -> dict[str, Any]:
        found = self.attempt.error if self.attempt else self.run.error
        return found if isinstance(found, dict) else {}


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of the table of both."""

    name: str
    a: str
    b: str

    @property
    def differs(self) -> bool:
        return self.a != self.b and self.name != STARTED  # no two runs start at once


@dataclass(slots=True)
class Done:
    """What became of a step or wait on one side."""

    seconds: float = 0.0
    failed: int = 0  # tries
    output: str | None = None  # its digest
    finished: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """A step or wait, side by side; None where it did not happen."""

    key: str
    kind: str
    a: Done | None
    b: Done | None

    @property
    def is_alone(self) -> bool:
        return self.a is None or self.b is None

    @property
    def other_result(self) -> bool:
        return bool(self.a and self.b and self.a.finished and self.b.finished and self.a.output != self.b.output)

    @property
    def slower(self) -> str:
        """`a` or `b`, the side on which it took longer by far."""
        if self.a is None or self.b is None:
            return ""
        less, more = sorted((self.a.seconds, self.b.seconds))
        if more - less < SECONDS or more < SLOWER * less:
            return ""
        return "a" if self.a.seconds > self.b.seconds else "b"

    @property
    def differs(self) -> bool:
        return self.is_alone or self.other_result or bool(self.slower) or self._tries

    @property
    def _tries(self) -> bool:
        return bool(self.a and self.b and self.a.failed != self.b.failed)


@dataclass(frozen=True, slots=True)
class Part:
    """A difference of lines. `cut`: only the first MAX_LINES of them were compared."""

    lines: list[diff.Line] = field(default_factory=list)
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both, and everything that differs."""

    a: Side
    b: Side
    facts: list[Fact]
    payload: Part
    output: Part
    steps: list[Step]
    more_steps: bool  # only the first MAX_STEPS of a side were compared
    log: Part

    @property
    def same_output(self) -> str:
        """What there is to say of results between which there is no difference."""
        if self.a.completed and self.b.completed:
            return "Both came to the same."
        ended = [name for name, side in (("A", self.a), ("B", self.b)) if side.completed]
        return f"Only {ended[0]} came to a result, and that is null." if ended else "Neither came to a result."


def side_of(name: str, text: str) -> tuple[uuid.UUID, int | None]:
    """A run's id, or `id:2` for its second attempt. Raises InvalidFilter, which names the parameter."""
    run, mark, attempt = text.strip().partition(":")
    try:
        number = int(attempt) if attempt.isascii() and attempt.isdecimal() and len(attempt) <= 10 else 0
        if mark and not 1 <= number <= MAX_ATTEMPT:
            raise ValueError
        return uuid.UUID(run), number if mark else None
    except ValueError:
        shown = printable(text[:60], "?")
        message = f"is {shown!r}; write a run's id, or id:2 for its second attempt"
        raise InvalidFilter(f"{name} {message}.", errors=[{"field": name, "message": message}]) from None


def compare(a: str, b: str) -> Comparison:
    """Compares two runs or attempts, each named as in `side_of`.

    Raises:
        InvalidFilter: one is named in no such way, or has no such attempt.
        UnknownRun: there is no such run.
    """
    asked = side_of("a", a), side_of("b", b)
    one, other = (_side(name, *who) for name, who in zip("ab", asked, strict=True))
    steps, more = _steps(one, other)
    return Comparison(
        one,
        other,
        [Fact(name, tell(one), tell(other)) for name, tell in _FACTS],
        _json_part(one.run.payload, other.run.payload),
        _json_part(one.output, other.output),
        steps,
        more,
        _log_part(one, other),
    )


def _side(name: str, run_id: uuid.UUID, number: int | None) -> Side:
    run = selectors.run_get(run_id)
    if number is None:
        return Side(run, None)
    found = Attempt.objects.select_related("worker").filter(run_id=run_id, number=number).first()
    if found is None:
        message = f"has no attempt {number}; run {run_id} has {run.attempt}"
        raise InvalidFilter(f"{name} {message}.", errors=[{"field": name, "message": message}])
    return Side(run, found)


def _took(side: Side) -> str:
    if side.started_at is None:
        return "not started"
    if side.finished_at is None:
        return "not over"
    return duration((side.finished_at - side.started_at).total_seconds())


def _origin(side: Side) -> str:
    run = side.run
    if run.fork_of:
        return f"fork of {run.fork_of} after #{run.fork_sequence}"
    return f"replay of {run.replay_of}" if run.replay_of else ""


_FACTS: Final[list[tuple[str, Callable[[Side], str]]]] = [
    ("Task", lambda side: str(side.run.task_id)),
    ("Status", lambda side: status_words(side.status)),
    ("Code version", lambda side: side.run.version),
    ("Queue", lambda side: str(side.run.queue.name)),
    ("Attempts", lambda side: f"{side.run.attempt} of {max(side.run.max_attempts, side.run.attempt)}"),
    (STARTED, lambda side: exact(side.started_at) if side.started_at else "not yet"),
    ("Took", _took),
    ("Worker", lambda side: side.attempt.worker.name if side.attempt and side.attempt.worker else ""),
    ("Error", lambda side: f"{side.error['type']}: {side.error.get('message', '')}"[:300] if side.error else ""),
    ("Used", lambda side: spent_words(side.run.usage or {})),
    ("Tags", lambda side: ", ".join(side.run.tags)),
    ("Priority", lambda side: str(side.run.priority)),
    ("Concurrency key", lambda side: side.run.concurrency_key or ""),
    ("Came from", _origin),
]


def _json_part(a: Any, b: Any) -> Part:
    a, b = redacted(a), redacted(b)
    if a == b:
        return Part()
    sides = [[line[:MAX_LINE] for line in pretty_json(value).split("\n", MAX_LINES + 1)] for value in (a, b)]
    return _part(*sides)


def _log_part(one: Side, other: Side) -> Part:
    return _part(_log(one), _log(other), loosely=True)


def _log(side: Side) -> list[str]:
    found = LogLine.objects.filter(run_id=side.run.pk).order_by("sequence")
    if side.attempt:
        found = found.filter(attempt=side.attempt.number)
    rows = found.values_list("level", "step", "message")[: MAX_LINES + 1]
    return [_log_line(*row) for row in rows]


def _log_line(level: int, step: str, message: str) -> str:
    mark = "" if level < 30 else ("warning " if level < 40 else "error ")
    return f"{mark}{f'[{step}] ' if step else ''}{message}"[:MAX_LINE]


def _part(a: list[str], b: list[str], *, loosely: bool = False) -> Part:
    cut = max(len(a), len(b)) > MAX_LINES
    return Part(diff.lines(a[:MAX_LINES], b[:MAX_LINES], loosely=loosely), cut)


def _steps(one: Side, other: Side) -> tuple[list[Step], bool]:
    """In the order of the first; what only the second has stands behind what came before it there."""
    ours, theirs = _done(one), _done(other)
    more = max(ours[1], theirs[1]) > MAX_STEPS
    order = list(ours[0])
    known = set(order)
    place = 0 if known & theirs[0].keys() else len(order)
    for key in theirs[0]:
        if key in known:
            place = order.index(key) + 1
        else:
            order.insert(place, key)
            place += 1
    found = [Step(key[1], key[0], ours[0].get(key), theirs[0].get(key)) for key in order]
    return found, more


def _done(side: Side) -> tuple[dict[tuple[str, str], Done], int]:
    """By kind and key, and how many rows there were."""
    asked = {"run": side.run.pk, "attempt": side.attempt.number if side.attempt else None, "limit": MAX_STEPS + 1}
    with db.callers() as conn:
        rows = conn.execute(SQL.compared_steps, asked).fetchall()
    found: dict[tuple[str, str], Done] = {}
    for key, _, kind, seconds, output in rows[:MAX_STEPS]:
        done = found.setdefault(("wait" if kind == "wait" else "step", key), Done())
        done.seconds += max(0.0, seconds)
        if kind == "failure":
            done.failed += 1
        else:
            done.finished, done.output = True, output
    return found, len(rows)


def as_json(found: Comparison) -> dict[str, Any]:
    """The comparison by the names of the API."""

    def of(done: Done | None) -> dict[str, Any] | None:
        return (
            done if done is None else {"seconds": done.seconds, "failed_tries": done.failed, "finished": done.finished}
        )

    def part(of: Part) -> dict[str, Any]:
        return {
            "same": not of.lines,
            "lines": [{"kind": line.kind, "text": line.text} for line in of.lines],
            "cut": of.cut,
        }

    return {
        "a": found.a.name,
        "b": found.b.name,
        "facts": [{"name": f.name, "a": f.a, "b": f.b, "differs": f.differs} for f in found.facts],
        "payload": part(found.payload),
        "output": part(found.output),
        "steps": [
            {
                "key": s.key,
                "kind": s.kind,
                "a": of(s.a),
                "b": of(s.b),
                "other_result": s.other_result,
                "differs": s.differs,
            }
            for s in found.steps
        ],
        "more_steps": found.more_steps,
        "log": part(found.log),
    }
