"""Steps with a key of the code's own (`step.using(key=…)`): one key, one result.

A second call with the same key is answered by the first, as it would be when the run is entered again. Where it cannot
mean the same, it is refused: with other arguments it would get the result of another call, and beside a first call that
is at work both would be executed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from runs.errors import StepMisuse

if TYPE_CHECKING:
    from runs.sdk.step import Step


class Keyed:
    """The keyed calls of one stay."""

    __slots__ = ("_answered", "_asked", "_at_work")

    def __init__(self) -> None:
        #: By key, a hash of the arguments; None: JSON cannot hold them.
        self._asked: dict[str, int | None] = {}
        self._at_work: set[str] = set()
        self._answered: set[str] = set()

    @contextmanager
    def call(self, step: Step[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[None]:
        """For as long as the call lasts.

        Raises:
            StepMisuse: the key belongs to another call of this stay.
        """
        key = f"{step.name}:{step.key}"
        if key in self._at_work:
            raise StepMisuse(
                f"Step {step.name!r} was called with the key {step.key!r} while another call with this key is at work: "
                "both would be executed. Wait for the first, or give each call a key of its own."
            )
        asked = _hash(step, args, kwargs)
        before = self._asked.setdefault(key, asked)
        if asked is not None and before is not None and asked != before:
            raise StepMisuse(
                f"Step {step.name!r} was called twice with the key {step.key!r}, and with other arguments: the second "
                "call would get the result of the first. Give each call a key of its own, of all that tells them apart."
            )
        self._at_work.add(key)
        try:
            yield
        finally:
            self._at_work.discard(key)

    def answered(self, key: str) -> bool:
        """Notes that the code has its result. True the first time."""
        if key in self._answered:
            return False
        self._answered.add(key)
        return True


def _hash(step: Step[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> int | None:
    try:
        return hash(to_json(step.bind(args, kwargs), inf_nan_mode="strings"))
    except Exception:
        return None
