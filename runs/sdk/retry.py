"""Retry policies, and how a function says that trying again is of no use."""

from __future__ import annotations

import math
import random
from dataclasses import asdict, dataclass
from typing import Any

from runs.errors import DeclarationError

MAX_ATTEMPTS = 1_000
#: Longest delay of a policy, in seconds: 30 days.
MAX_DELAY = 30 * 86_400.0


class Abort(Exception):
    """Raise it to fail at once, whatever retries are left: the error cannot heal."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and when to try again.

    Args:
        max_attempts: Tries in all, the first included.
        factor: The ceiling of the delay grows by it with each failure.
        min_delay: Shortest delay, in seconds.
        max_delay: Longest delay, in seconds.
        jitter: Draw the delay evenly between `min_delay` and the ceiling ("full jitter"), so that many failures of one
            moment do not come back in one moment. False: the ceiling itself.
        retry_on: Only these exception types (and their subclasses) are worth another try.
        abort_on: These are not. `Abort` never is. Both hold within an `ExceptionGroup`, too.
    """

    max_attempts: int = 1
    factor: float = 2.0
    min_delay: float = 1.0
    max_delay: float = 60.0
    jitter: bool = True
    retry_on: tuple[type[BaseException], ...] = (Exception,)
    abort_on: tuple[type[BaseException], ...] = ()

    def __post_init__(self) -> None:
        if not _is_number(self.max_attempts, int) or not 1 <= self.max_attempts <= MAX_ATTEMPTS:
            raise DeclarationError(
                f"Retry: max_attempts is {self.max_attempts!r}; write a number from 1 to {MAX_ATTEMPTS}"
            )
        if not (_is_number(self.factor) and 1 <= self.factor < math.inf):
            raise DeclarationError(f"Retry: factor is {self.factor!r}; write a number of at least 1")
        delays = _is_number(self.min_delay) and _is_number(self.max_delay)
        if not (delays and 0 <= self.min_delay <= self.max_delay <= MAX_DELAY):
            raise DeclarationError(
                f"Retry: min_delay is {self.min_delay!r} and max_delay {self.max_delay!r}; "
                f"write seconds with 0 ≤ min_delay ≤ max_delay ≤ {MAX_DELAY:.0f}"
            )
        for name in ("retry_on", "abort_on"):
            types = getattr(self, name)
            if not isinstance(types, tuple) or not all(
                isinstance(t, type) and issubclass(t, BaseException) for t in types
            ):
                raise DeclarationError(
                    f"Retry: {name} is {types!r:.80}; write a tuple of exception classes, such as (ConnectionError,)"
                )

    def allows(self, error: BaseException, failures: int, *, max_attempts: int | None = None) -> bool:
        """True when another try may follow after `failures` failures, the last of which was `error`. A group, as
        `asyncio.TaskGroup` raises it, is not tried again when one of its exceptions is not."""
        if failures >= (max_attempts or self.max_attempts) or _holds(error, (Abort, *self.abort_on)):
            return False
        return isinstance(error, self.retry_on)

    def ceiling(self, failures: int) -> float:
        """Longest delay in seconds after so many failures: min_delay · factor^failures, at most max_delay."""
        # In logarithms: factor ** 1000 is no float.
        if self.min_delay <= 0:
            return 0.0
        grown = math.log(self.min_delay) + failures * math.log(self.factor)
        return self.max_delay if grown >= math.log(self.max_delay) else math.exp(grown)

    def delay(self, failures: int, error: BaseException | None = None, uniform: Any = random.uniform) -> float:
        """Seconds to wait after the `failures`-th failure. An error with a `retry_after` (seconds) is obeyed."""
        try:
            told = getattr(error, "retry_after", None)
        except Exception:  # a property of theirs, which cannot tell: the policy does
            told = None
        if isinstance(told, int | float) and not isinstance(told, bool) and 0 <= told <= MAX_DELAY:
            return float(told)
        ceiling = max(self.min_delay, self.ceiling(failures))
        return float(uniform(self.min_delay, ceiling)) if self.jitter else ceiling

    def describe(self) -> dict[str, Any]:
        """As JSON, for the dashboard."""
        data = asdict(self)
        for name in ("retry_on", "abort_on"):
            data[name] = [t.__qualname__ for t in getattr(self, name)]
        return data


def _holds(error: BaseException, types: tuple[type[BaseException], ...]) -> bool:
    if isinstance(error, types):
        return True
    return isinstance(error, BaseExceptionGroup) and error.subgroup(types) is not None


def is_abort(error: BaseException) -> bool:
    """`Abort`, or a group of nothing else: what was called is not to blame."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(Abort)[1] is None
    return isinstance(error, Abort)


def _is_number(value: object, kinds: Any = (int, float)) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)


NO_RETRY = Retry()
