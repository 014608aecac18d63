"""Options of one enqueue, as `using(...)` and the API's `options` take them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any

from runs.errors import InvalidOption
from runs.sdk import debounce, usage
from runs.sdk.debounce import Debounce
from runs.sdk.retry import MAX_ATTEMPTS

MAX_TAGS = 20
MAX_TAG = 100
MAX_KEY = 200
PRIORITIES = range(-100, 101)
#: Longest delay in seconds: 5 years.
MAX_DELAY = 5 * 366 * 86_400.0
#: What a run may count in a rate that has a unit.
MAX_UNITS = 1_000_000_000
#: What an idempotency key is unique in: the task, or the run that enqueues.
SCOPES = ("task", "run")
#: A run is due before this: what PostgreSQL would store after it, Python cannot read.
END_OF_TIME = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Options:
    """How a run is enqueued. None means: as the task declares it."""

    queue_name: str | None = None
    priority: int | None = None
    run_after: datetime | None = None
    delay: float | timedelta | None = None
    idempotency_key: str | None = None
    idempotency_ttl: float | timedelta | None = None
    idempotency_scope: str | None = None
    concurrency_key: str | None = None
    tags: list[str] | None = None
    max_attempts: int | None = None
    ttl: float | timedelta | None = None
    run_timeout: float | timedelta | None = None
    budget: Mapping[str, Any] | None = None
    units: int | None = None
    debounce: Debounce | None = None

    @classmethod
    def parse(cls, data: dict[str, Any], path: str = "options") -> Options:
        """Options as they come over HTTP: times as RFC 3339 text. Raises InvalidOption."""
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(data) - known):
            raise _refusal([(f"{path}.{unknown[0]}", f"is no option; known are {', '.join(sorted(known))}")])
        values = dict(data)
        if isinstance(values.get("run_after"), str):
            try:
                values["run_after"] = datetime.fromisoformat(values["run_after"])
            except ValueError:
                raise _refusal([(f"{path}.run_after", "is no time; write it like 2026-01-31T09:00:00Z")]) from None
        if values.get("debounce") is not None:
            found = debounce.parse(values["debounce"])
            if not isinstance(found, Debounce):
                raise _refusal([(f"{path}.{found[0]}", found[1])])
            values["debounce"] = found
        options = cls(**values)
        options.check(path)
        return options

    def seconds(self, name: str) -> float | None:
        """A duration as seconds."""
        value = getattr(self, name)
        return value.total_seconds() if isinstance(value, timedelta) else value

    @property
    def delay_seconds(self) -> float | None:
        return self.seconds("delay")

    def check(self, path: str = "options") -> None:
        """Raises InvalidOption that names each field that does not fit."""
        if problems := [(f"{path}.{name}", message) for name, message in self._problems()]:
            raise _refusal(problems)

    def _problems(self) -> Any:
        for name in ("queue_name", "idempotency_key", "concurrency_key"):
            value = getattr(self, name)
            if value is not None and not is_word(value, MAX_KEY):
                yield name, f"is {value!r:.60}; write text of 1 to {MAX_KEY} characters"
        if self.priority is not None and not (_whole(self.priority) and self.priority in PRIORITIES):
            yield "priority", f"is {self.priority!r:.60}; write a whole number from -100 to 100"
        if self.units is not None and not (_whole(self.units) and 1 <= self.units <= MAX_UNITS):
            yield "units", f"is {self.units!r:.60}; write a whole number from 1 to {MAX_UNITS:,}"
        if self.max_attempts is not None and not (_whole(self.max_attempts) and 1 <= self.max_attempts <= MAX_ATTEMPTS):
            yield "max_attempts", f"is {self.max_attempts!r:.60}; write a whole number from 1 to {MAX_ATTEMPTS}"
        if self.run_after is not None and (not isinstance(self.run_after, datetime) or self.run_after.tzinfo is None):
            yield "run_after", f"is {self.run_after!r:.60}; write a time with its zone, like 2026-01-31T09:00:00Z"
        elif self.run_after is not None and self.run_after >= END_OF_TIME:
            yield "run_after", "is too far away; write a time before the year 9999"
        for name in ("ttl", "run_timeout", "idempotency_ttl"):
            value = self.seconds(name)
            if value is not None and (
                isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MAX_DELAY
            ):
                yield name, f"is {getattr(self, name)!r:.60}; write seconds greater than 0, up to {MAX_DELAY:.0f}"
        if self.delay is not None:
            seconds = self.delay_seconds
            if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= MAX_DELAY:
                yield "delay", f"is {self.delay!r:.60}; write seconds from 0 to {MAX_DELAY:.0f}"
            if self.run_after is not None:
                yield "delay", "stands beside run_after; give one of the two"
        yield from self._key_problems()
        if self.budget is not None:
            for field, message in usage.budget_problems(self.budget):
                yield f"budget{field}", message
        if self.tags is not None and not (
            isinstance(self.tags, list) and len(self.tags) <= MAX_TAGS and all(is_word(t, MAX_TAG) for t in self.tags)
        ):
            yield "tags", f"must be a list of at most {MAX_TAGS} texts of 1 to {MAX_TAG} characters"

    def _key_problems(self) -> Any:
        if self.idempotency_scope is not None and self.idempotency_scope not in SCOPES:
            yield "idempotency_scope", f"is {self.idempotency_scope!r:.60}; write one of {', '.join(SCOPES)}"
        for name in ("idempotency_ttl", "idempotency_scope"):
            if getattr(self, name) is not None and self.idempotency_key is None:
                yield name, "says something of an idempotency_key; give that as well"
        given: Any = self.debounce
        if given is None:
            return
        if not isinstance(given, Debounce):
            yield "debounce", f"is {given!r:.60}; write Debounce(key, delay)"
            return
        yield from given.problems()
        for name in ("idempotency_key", "run_after", "delay"):
            if getattr(self, name) is not None:
                yield name, "stands beside debounce, which decides about it; give one of the two"


def is_word(value: Any, limit: int) -> bool:
    """Text that PostgreSQL can hold."""
    if not isinstance(value, str) or not 0 < len(value) <= limit or "\x00" in value:
        return False
    return value.isascii() or not any("\ud800" <= c <= "\udfff" for c in value)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _refusal(problems: list[tuple[str, str]]) -> InvalidOption:
    field, message = problems[0]
    return InvalidOption(f"{field} {message}", errors=[{"field": f, "message": m} for f, m in problems])
