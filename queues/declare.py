"""Queues and rates as code declares them: `llm = Queue("llm-calls", concurrency_limit=10)`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from queues.breaker import Breaker
from queues.editable import SETTINGS
from queues.naming import NAME, QueueDeclarationError
from queues.rate import Rate


@dataclass(frozen=True)
class Queue:
    """A named queue. What is written here are defaults: an admin's edit in the dashboard overrides a limit.

    Args:
        name: 1 to 100 letters, digits, dots, dashes, underscores.
        concurrency_limit: At most so many runs at once, over all workers and hosts; None for no limit.
        pool: The worker pool that serves it.
        rate: At most so many starts in any window of time, over all workers and hosts: `Rate(10, per="minute")`. A run
            that comes back from a wait or for another attempt starts again.
        key_concurrency_limit: At most so many runs at once of each `concurrency_key` (a tenant, an account); runs
            without a key are not counted.
        key_weights: How many runs of a key start in one turn, 1 to 100, where that is not one: `{"gold": 3}`.
        key_rate: At most so many starts of each `concurrency_key` in any window of time.
        breaker: What all its runs need, as a `Breaker` or by its name: while too many of them fail, over all workers,
            none begins but a few probes; the others spend no try and come back later.
    """

    name: str
    concurrency_limit: int | None = None
    pool: str = "default"
    rate: Rate | None = None
    key_concurrency_limit: int | None = None
    key_weights: Mapping[str, int] = field(default_factory=dict, hash=False)
    key_rate: Rate | None = None
    breaker: Breaker | str | None = None

    declared: ClassVar[dict[str, Queue]] = {}

    def __post_init__(self) -> None:
        for what in ("name", "pool"):
            if not isinstance(getattr(self, what), str) or not NAME.fullmatch(getattr(self, what)):
                raise QueueDeclarationError(
                    f"Queue {self.name!r}: {what} is {getattr(self, what)!r}; use 1 to 100 letters, digits, dots, "
                    "dashes or underscores, beginning with a letter or digit"
                )
        for setting in SETTINGS.values():
            try:
                object.__setattr__(self, setting.name, setting.check(getattr(self, setting.name)))
            except ValueError as error:
                raise QueueDeclarationError(f"Queue {self.name!r}: {setting.name} {error}") from None
        if self.breaker is not None:
            try:
                object.__setattr__(self, "breaker", Breaker.of(self.breaker).name)
            except QueueDeclarationError as error:
                raise QueueDeclarationError(f"Queue {self.name!r}: {error}") from None
        other = Queue.declared.get(self.name)
        if other is not None and other != self:
            raise QueueDeclarationError(
                f"Queue {self.name!r} is declared twice, as {other!r} and as {self!r}. Declare it once and import it."
            )
        Queue.declared[self.name] = self

    @property
    def guard(self) -> Breaker | None:
        """Its breaker, as it is declared by now."""
        return None if self.breaker is None else Breaker.of(self.breaker)

    @property
    def settings(self) -> dict[str, Any]:
        """What it declares, as JSON."""
        return {name: setting.json(getattr(self, name)) for name, setting in SETTINGS.items()}


def by_name(name: str) -> Queue:
    """The queue that code has declared by this name, or else a plain one. That one is not entered as declared: whoever
    only names a queue must not stand in the way of its declaration, which may be imported later."""
    known = Queue.declared.get(name)
    if known is None:
        known = Queue(name)
        del Queue.declared[name]
    return known


def guards() -> dict[str, Breaker]:
    """By the name of a queue, the breaker that code declares for it."""
    return {name: queue.guard for name, queue in Queue.declared.items() if queue.guard is not None}
