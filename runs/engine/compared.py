"""A stay's comparison with its history: every step and wait that the code asks for goes by here, until everything that
was expected has been asked for. What is expected is `history.py`'s."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from runs.engine.completing import COMPLETION
from runs.engine.history import History
from runs.engine.outcome import Mismatch
from runs.sdk.hooks import PREFIX

if TYPE_CHECKING:
    from runs.engine.context import ActiveRun
    from runs.sdk.step import Step
    from runs.store import Fact

OTHER_ARGUMENTS: Final = (
    "step {0} is answered by what it returned earlier, although it was called with other arguments then. If the code "
    "has changed, that may be the result of another call: see platform/docs/versions.md. (Said once.)"
)
#: Waits that the engine has inserted: the code has not asked for them.
_OURS: Final = ("retry:", "budget:", COMPLETION)


class Compared:
    """One stay's. Whatever does not fit is noted as the way the stay ends, and raised."""

    __slots__ = ("_history", "_is_other_code", "_run")

    def __init__(self, run: ActiveRun, facts: Sequence[Fact]) -> None:
        self._run = run
        # Hooks are called by what the run has come to, not by its code.
        asked = [fact for fact in facts if not fact.key.startswith(PREFIX)]
        #: What earlier stays asked for; None when there is, or is left, nothing to compare.
        self._history = History.of(run.task, run.started, asked)
        before = run.started.before
        #: There is a history, and another version of the task executed the stay before this one.
        self._is_other_code = self._history is not None and before not in ("", run.task.version)

    def step(
        self, step: Step[Any, Any], key: str, is_done: bool, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """The code asks for a step."""
        if (history := self._history) is None:
            return
        if not is_done:
            self._check(lambda: self._beyond(history, key))
        elif self._check(lambda: history.met_step(step, key, args, kwargs)):
            self._run.say(logging.WARNING, OTHER_ARGUMENTS.format(key), {"step": key})

    def wait(self, key: str, is_done: bool, blocking: bool) -> None:
        """The code asks for a wait. A branch that waits (`blocking`) has asked for all that came before; one that opens
        a token, perhaps anew, has not: finished steps that handed it out may stand behind it."""
        if (history := self._history) is None:
            return
        if is_done:
            history.met(key)
        elif not key.startswith(_OURS) and blocking:
            self._check(lambda: self._beyond(history, key))

    def again(self, keys: Sequence[str]) -> None:
        """The code asks for a wait that raised under these keys, and is asked again."""
        if self._history is not None:
            for key in keys:
                self._history.met(key)

    def end(self) -> None:
        """The function has returned: notes that the stay ends otherwise when it has left finished steps out."""
        if self._history is not None and self._run.unwound is None:
            try:
                self._history.ended(self._run.branches)
            except Mismatch as mismatch:
                self._run.unwind(mismatch)

    def unfit(self, what: str, error: ValueError) -> Mismatch | None:
        """What to raise when something that is stored does not fit the annotations of this code. None: the code is
        the same, so that other code would not fit either."""
        if not self._is_other_code:
            return None
        mismatch = self._told().unfit(what, str(error))
        self._run.unwind(mismatch)
        return mismatch

    def swapped(self, key: str, owner: str) -> Mismatch:
        """What to raise when children are asked for with the payloads of others of this run."""
        mismatch = self._told().swapped(key, owner)
        self._run.unwind(mismatch)
        return mismatch

    def _told(self) -> History:
        return self._history or History(self._run.task, self._run.started, ())

    def _beyond(self, history: History, key: str) -> None:
        history.beyond(key, self._run.branch)
        if self._run._replay_left <= 0 and history.is_complete:
            self._history = None

    def _check(self, compare: Callable[[], bool | None]) -> bool | None:
        try:
            return compare()
        except Mismatch as mismatch:
            raise self._run.unwind(mismatch) from None
