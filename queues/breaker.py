"""Circuit breakers as code declares them: `openai = Breaker("openai", failure_rate=0.5, cooldown=30)`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Final

from queues.naming import NAME, QueueDeclarationError
from queues.rate import shown

#: What each number may be: lowest, highest, and whether it is a whole one.
RANGES: Final[dict[str, tuple[float, float, bool]]] = {
    "failure_rate": (0.01, 1.0, False),
    "min_calls": (1, 10_000, True),
    "window": (1.0, 3_600.0, False),
    "slow": (0.001, 86_400.0, False),
    "slow_rate": (0.01, 1.0, False),
    "cooldown": (0.1, 3_600.0, False),
    "probes": (1, 100, True),
    "retry_budget": (0.0, 10.0, False),
}
_OPTIONAL: Final = ("slow", "retry_budget")


@dataclass(frozen=True)
class Breaker:
    """Protects something that steps call, over all workers: `@step(breaker=openai)`, or by its name.

    Closed, it lets calls through and counts them. It opens when too many of a window fail, or are slow: then a step
    does not call, its run leaves the worker and comes back later. After the cooldown it is half open: a few probes are
    let through. When all of them succeed it closes; when one fails it is open for another cooldown.

    Args:
        name: 1 to 100 letters, digits, dots, dashes, underscores.
        failure_rate: Share of the calls in a window that have to fail, 0.01 to 1. `Abort` is no failure.
        min_calls: Calls that a window has to have, 1 to 10,000.
        window: Its length in seconds, 1 to 3,600.
        slow: Seconds from which a call is slow; None: none is.
        slow_rate: Share of slow calls in a window that opens it as well.
        cooldown: Seconds for which it is open, 0.1 to 3,600. What waits comes back spread over as many seconds again.
        probes: Calls that are let through to find out, 1 to 100.
        retry_budget: Second and later tries in a window are at most this share of the first ones (0.2), and ten; those
            over it come later. None: no budget.

    Raises:
        QueueDeclarationError: one of them is not so, or another breaker has this name.
    """

    name: str
    failure_rate: float = 0.5
    min_calls: int = 10
    window: float = 30.0
    slow: float | None = None
    slow_rate: float = 1.0
    cooldown: float = 30.0
    probes: int = 3
    retry_budget: float | None = None

    declared: ClassVar[dict[str, Breaker]] = {}

    def __post_init__(self) -> None:
        self._check()
        other = Breaker.declared.get(self.name)
        if other is not None and other != self:
            raise QueueDeclarationError(
                f"Breaker {self.name!r} is declared twice, as {other!r} and as {self!r}. Declare it once and import it."
            )
        Breaker.declared[self.name] = self

    def _check(self) -> None:
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise QueueDeclarationError(
                f"Breaker {shown(self.name)}: a name is 1 to 100 letters, digits, dots, dashes or underscores, "
                "beginning with a letter or digit"
            )
        for field, (lowest, highest, whole) in RANGES.items():
            value = getattr(self, field)
            if value is None and field in _OPTIONAL:
                continue
            kind = int if whole else (int, float)
            if isinstance(value, bool) or not isinstance(value, kind) or not lowest <= value <= highest:
                number = "a whole number" if whole else "a number"
                raise QueueDeclarationError(
                    f"Breaker {self.name!r}: {field} is {shown(value)}; write {number} from {lowest:g} to {highest:g}"
                )

    @property
    def numbers(self) -> dict[str, Any]:
        """Its columns."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def named(cls, name: str) -> Breaker:
        """The one that code declares by this name, or else one with the usual numbers."""
        return Breaker.declared.get(name) or NamedBreaker(name)

    @property
    def current(self) -> Breaker:
        """As it is declared by now. Ask anew for each use: its declaration may be imported after its name was used."""
        return Breaker.declared.get(self.name, self)

    @classmethod
    def of(cls, given: object) -> Breaker:
        """The one that code means, by itself or by its name. Raises QueueDeclarationError."""
        found = cls.named(given) if isinstance(given, str) else given
        if not isinstance(found, Breaker):
            raise QueueDeclarationError(f'breaker is {given!r:.60}; write Breaker("name"), or the name of one')
        return found


class NamedBreaker(Breaker):
    """One that code only names. It is not entered as declared, and does not change its row: it must not stand in the
    way of its declaration, which another module or another process may import."""

    def __post_init__(self) -> None:
        self._check()
