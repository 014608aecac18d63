"""Queues and rates as code declares them: `llm = Queue("llm-calls", concurrency_limit=10)`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from queues.rate import Rate, shown

#: Longest name, and highest limit, of a queue.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
MAX_LIMIT = 1_000_000
LIMIT_WORDS = f"a concurrency limit is a whole number from 1 to {MAX_LIMIT:,}, or empty for no limit"


class QueueDeclarationError(ValueError):
    """A queue is declared in a way that cannot work."""


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
    """

    name: str
    concurrency_limit: int | None = None
    pool: str = "default"
    rate: Rate | None = None
    key_concurrency_limit: int | None = None

    declared: ClassVar[dict[str, Queue]] = {}

    def __post_init__(self) -> None:
        for what in ("name", "pool"):
            if not isinstance(getattr(self, what), str) or not NAME.fullmatch(getattr(self, what)):
                raise QueueDeclarationError(
                    f"Queue {self.name!r}: {what} is {getattr(self, what)!r}; use 1 to 100 letters, digits, dots, "
                    "dashes or underscores, beginning with a letter or digit"
                )
        for what in ("concurrency_limit", "key_concurrency_limit"):
            if not is_limit(limit := getattr(self, what)):
                raise QueueDeclarationError(f"Queue {self.name!r}: {what} is {shown(limit)}; {LIMIT_WORDS}")
        if self.rate is not None and not isinstance(self.rate, Rate):
            raise QueueDeclarationError(f"Queue {self.name!r}: rate is {self.rate!r:.60}; write Rate(10, per='minute')")
        other = Queue.declared.get(self.name)
        if other is not None and other != self:
            raise QueueDeclarationError(
                f"Queue {self.name!r} is declared twice, as {other!r} and as {self!r}. Declare it once and import it."
            )
        Queue.declared[self.name] = self


def is_limit(limit: object) -> bool:
    """Whether it is a limit, or none."""
    return limit is None or (isinstance(limit, int) and not isinstance(limit, bool) and 1 <= limit <= MAX_LIMIT)
