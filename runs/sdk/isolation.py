"""How a task is kept apart from its worker: what `@task(isolation=…, memory_limit=…)` may say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from runs.errors import DeclarationError

KiB: Final = 1024
MiB: Final = 1024 * KiB
GiB: Final = 1024 * MiB

#: Less than this and a process cannot even report what went wrong; more is no limit on any machine.
LEAST_MEMORY, MOST_MEMORY = 8 * MiB, 1024 * GiB
#: By how much the limit grows with each attempt that ran out of memory, up to `memory_limit_max`.
MEMORY_GROWTH: Final = 2


@dataclass(frozen=True, slots=True)
class Isolation:
    """A process of its own for each stay of a run.

    Args:
        memory_limit: Bytes that the run may allocate, or None.
        memory_limit_max: Bytes up to which the limit grows with attempts that ran out of memory.
    """

    memory_limit: int | None = None
    memory_limit_max: int | None = None

    def after(self, failed_at: int | None) -> int | None:
        """The limit of the next attempt, when one failed at a limit of `failed_at` bytes (None: none did)."""
        if self.memory_limit is None or failed_at is None:
            return self.memory_limit
        most = self.memory_limit_max or self.memory_limit
        return max(self.memory_limit, min(failed_at * MEMORY_GROWTH, most))


def declared(where: str, isolation: object, memory_limit: object, memory_limit_max: object) -> Isolation | None:
    """What a declaration says. None: the task runs within its worker.

    Raises:
        DeclarationError: it cannot work; says what to write instead.
    """
    if isolation is None:
        for name, value in (("memory_limit", memory_limit), ("memory_limit_max", memory_limit_max)):
            if value is not None:
                raise DeclarationError(
                    f'{where}: {name} needs isolation="process": tasks within one worker share its memory. Write '
                    f'@task(isolation="process", {name}=…), or leave {name} out.'
                )
        return None
    if isolation != "process":
        raise DeclarationError(
            f'{where}: isolation is {isolation!r}; write isolation="process" for a process of its own, or leave it out'
        )
    limit = _bytes(where, "memory_limit", memory_limit)
    most = _bytes(where, "memory_limit_max", memory_limit_max)
    if most is not None and limit is None:
        raise DeclarationError(
            f"{where}: memory_limit_max is where a growing limit ends; write memory_limit, where it begins, as well"
        )
    if most is not None and limit is not None and most < limit:
        raise DeclarationError(
            f"{where}: memory_limit_max ({most:,}) is less than memory_limit ({limit:,}); write the larger number as "
            "memory_limit_max, or leave it out"
        )
    return Isolation(limit, most)


def _bytes(where: str, name: str, value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not LEAST_MEMORY <= value <= MOST_MEMORY:
        raise DeclarationError(
            f"{where}: {name} is {value!r:.60}; write whole bytes from {LEAST_MEMORY:,} to {MOST_MEMORY:,}, as in "
            f"{name}=256 * MiB (from runs import MiB)"
        )
    return value
