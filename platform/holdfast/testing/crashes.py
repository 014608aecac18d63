"""Points at which an attempt can be made to die, as if its worker were killed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final

from holdfast.testing.errors import BadCall
from runs.engine.outcome import PutDown

#: The points by name. `platform/docs/testing.md` has the same table.
POINTS: Final[dict[str, str]] = {
    "before-step": "the step's function is about to be called",
    "step-called": "the step's function has returned; nothing of it is stored",
    "snapshot-written": "the step's result is stored; step() has not returned yet",
    "failure-written": "a failed try of the step is stored",
    "intent-written": "an unsafe step's intent is stored; its function has not been called",
    "handed-written": "it is stored that somebody outside finishes the step",
    "checkpoint-written": "a checkpoint is stored; checkpoint() has not returned yet",
    "wait-opened": "a wait is stored, and its children with it; the run has not come to rest yet",
    "answer-written": "what a wait has brought is stored, or the reply to an update",
    "before-finish": "the task's function has returned or failed; nothing of that is stored",
    "finish-written": "the end of the attempt is stored",
}
_OF_STEPS: Final = frozenset(
    ("before-step", "step-called", "snapshot-written", "failure-written", "intent-written", "handed-written")
)
_OF_WAITS: Final = frozenset(("wait-opened", "answer-written"))


class Died(PutDown):
    """The attempt is over as if by `kill -9`: nothing that it still does is stored."""

    def __init__(self) -> None:
        super().__init__(float("-inf"))  # before every other way in which the stay may be unwound


@dataclass(slots=True)
class CrashPoint:
    """One place to die at, once."""

    point: str
    step: str | None
    wait: str | None
    nth: int
    seen: int = field(default=0, init=False)

    @property
    def label(self) -> str:
        """As the test wrote it."""
        chosen = "".join(f", {k}={v!r}" for k, v in (("step", self.step), ("wait", self.wait)) if v is not None)
        return f"crash_at({self.point!r}{chosen}{f', nth={self.nth}' if self.nth > 1 else ''})"

    @property
    def fired(self) -> bool:
        return self.seen >= self.nth


def crash_at(point: str, *, step: str | None = None, wait: str | None = None, nth: int = 1) -> CrashPoint:
    """The attempt dies at this point, and the run is entered again.

    Args:
        point: one of POINTS.
        step: only at this step: its name (`fetch`), or its identity (`fetch#2`).
        wait: only at this wait: what it waits for (an approval's title, a signal's name), or its kind.
        nth: at the how-manieth time that it comes there, over all attempts.
    """
    if point not in POINTS:
        near = get_close_matches(str(point), POINTS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"write one of {', '.join(POINTS)}"
        raise BadCall(f"crash_at: there is no point {point!r}; {hint}")
    if step is not None and point not in _OF_STEPS:
        raise BadCall(f"crash_at: {point!r} is no point of a step; leave out step={step!r}")
    if wait is not None and point not in _OF_WAITS:
        raise BadCall(f"crash_at: {point!r} is no point of a wait; leave out wait={wait!r}")
    if isinstance(nth, bool) or not isinstance(nth, int) or nth < 1:
        raise BadCall(f"crash_at: nth is {nth!r}; write a whole number from 1")
    return CrashPoint(point, step, wait, nth)


class Crashes:
    """The crash points of one inline run."""

    __slots__ = ("_points",)

    def __init__(self, points: Iterable[CrashPoint]) -> None:
        self._points = tuple(points)
        for point in self._points:
            if not isinstance(point, CrashPoint):
                raise BadCall(f"crashes: {point!r:.60} is no crash point; write crash_at('snapshot-written', step=…)")
            if point.seen:
                raise BadCall(f"crashes: {point.label} was used in another run; make a new one for each run")

    def strike(self, point: str, *names: str) -> bool:
        """A run is at a point: whether it is to die here. `names` are those that the thing goes by."""
        struck = False
        for wanted in self._points:
            chosen = wanted.step if wanted.step is not None else wanted.wait
            if wanted.point == point and not wanted.fired and (chosen is None or chosen in names):
                wanted.seen += 1
                struck = struck or wanted.fired
        return struck

    @property
    def missed(self) -> list[CrashPoint]:
        return [point for point in self._points if not point.fired]
