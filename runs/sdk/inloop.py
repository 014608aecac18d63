"""Calls that ask the database, made in an event loop by mistake."""

from __future__ import annotations

from types import TracebackType

from django.core.exceptions import SynchronousOnlyOperation

from runs.errors import StepMisuse


class LoopGuard:
    """Says what to write instead, where Django says only that it cannot be: `name` was called, `instead` is its twin.
    (A class, because a generator would cost each enqueue a microsecond.)"""

    __slots__ = ("_instead", "_name")

    def __init__(self, name: str, instead: str) -> None:
        self._name, self._instead = name, instead

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if isinstance(error, SynchronousOnlyOperation):
            raise StepMisuse(
                f"{self._name} would block the event loop of async code. Write: await {self._instead}"
            ) from None
