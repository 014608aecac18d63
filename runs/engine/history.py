"""What a run's history expects of its code, compared with what the code asks for now (FAULTS 29).

A run that is entered again is to ask for the steps and waits that it asked for before. Where it does not, its code has
changed, or decides by something that is in no step. The run is then parked, before anything else of it is executed:
going on would leave finished steps out, or give one step the result of another.

Silence is better than a false alarm. So a fact is expected (*firm*) only when nothing but code could have led away from
it:

- Each branch is compared by itself, as a set: branches take turns as they like, a swap of two finished steps does no
  harm.
- After a failed try that may have been raised into the code, nothing is firm: the next try may well succeed.
- What lies before the last checkpoint is not firm: the code may go on from its state instead.
- Code that mentions what else may lead it away (`runs.sdk.fingerprint.LOOSE`) has no firm facts.
- Code may always ask for more after its finished steps, and do anything else within them.

That a step is asked for with the arguments of another finished step of its name is always told: it would get the result
of the wrong one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from pydantic_core import to_json

from runs.engine.outcome import Mismatch
from runs.models import SnapshotKind

if TYPE_CHECKING:
    from runs.sdk.step import Step
    from runs.sdk.task import Task
    from runs.store import Fact, Started

#: Steps of each list that are shown: the ones next to the difference.
MAX_LISTED: Final = 100
#: The branch of a step with a key of its own: any.
ANY: Final = "*"
#: Begins the keys of replies to updates. Whichever branch gives one, it is not missed: its caller was told already.
REPLY: Final = "reply:"
_KINDS: Final = (SnapshotKind.STEP, SnapshotKind.WAIT)


class History:
    """The facts of one stay. Call under the run's lock, where branches may be threads."""

    __slots__ = ("_asked", "_before", "_expected", "_inputs", "_left", "_same", "_told", "_version")

    def __init__(self, task: Task[..., Any], started: Started, facts: Sequence[Fact]) -> None:
        self._version = task.version
        self._before = started.before or task.version
        self._expected = [fact.key for fact in facts if fact.kind in _KINDS]
        self._asked: list[str] = []
        #: By branch, the firm facts that were not asked for yet.
        self._left: dict[str, dict[str, None]] = {}
        accepted = started.accepted or 0
        if not task.fingerprint.loose:
            for fact in _firm(facts):
                if fact.sequence > accepted and not fact.key.startswith(REPLY):
                    self._left.setdefault(branch_of(fact), {})[fact.key] = None
        #: Inputs of finished steps by name and key.
        self._inputs: dict[str, dict[str, str]] = {}
        for fact in facts:
            if fact.kind == SnapshotKind.STEP and fact.input is not None and fact.sequence > accepted:
                self._inputs.setdefault(fact.name, {})[fact.key] = fact.input
        self._same: dict[str, dict[str, str]] = {}
        self._told = False

    @classmethod
    def of(cls, task: Task[..., Any], started: Started, facts: Sequence[Fact]) -> History | None:
        """None where there is nothing to compare."""
        return cls(task, started, facts) if any(fact.kind in _KINDS for fact in facts) else None

    def met(self, key: str) -> None:
        """The code asks for something that the history has."""
        self._asked.append(key)
        for left in self._left.values():
            left.pop(key, None)

    def met_step(self, step: Step[Any, Any], key: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """`met`, with the arguments of the call. True when they are others than before, the first time.

        Raises:
            Mismatch: they are those of another finished step of this name.
        """
        inputs, owner = self._inputs.get(step.name), key
        if inputs is not None and key in inputs:
            owner = self._owner(step, key, inputs, args, kwargs)
        if owner not in ("", key):
            self._asked.append(f"{key} with the arguments of {owner}")
            raise self._mismatch(f"{key} was called with the arguments that {owner} had")
        self.met(key)
        news, self._told = not owner and not self._told, self._told or not owner
        return news

    def beyond(self, key: str, branch: str) -> None:
        """The code asks for something new in a branch.

        Raises:
            Mismatch: finished steps of this branch were left out.
        """
        self._asked.append(key)
        if left := self._left.get(branch):
            raise self._mismatch(f"{key} was asked for where the history has {next(iter(left))}")

    def ended(self, branches: int) -> None:
        """The function has returned, having started so many branches (asyncio tasks) itself.

        Raises:
            Mismatch: other code than that of the history has left finished steps out.
        """
        if self._before == self._version:
            return  # the same code has its reasons, a clock for one; and nothing was executed that should not be
        for branch, left in self._left.items():
            # A branch that was begun may have been given up, as in the history it was not.
            gone = not branches if branch == ANY else branch == "" or (branch.isdecimal() and int(branch) > branches)
            if left and gone:
                raise self._mismatch(f"the run ended where the history has {next(iter(left))}")

    def swapped(self, key: str, owner: str) -> Mismatch:
        """Children were asked for with the payloads of others."""
        self._asked.append(f"{key} with the payloads of {owner}")
        return self._mismatch(f"{key} was asked for with the payloads that {owner} had")

    def unfit(self, what: str, why: str) -> Mismatch:
        """Something that is stored does not fit the annotations of this code."""
        return self._mismatch(f"{what} does not fit its annotation: {why}")

    @property
    def is_complete(self) -> bool:
        """Everything that is expected was asked for."""
        return not any(self._left.values())

    def _mismatch(self, what: str) -> Mismatch:
        told = {
            "kind": "version",
            "what": f"code that fits its history: {what}",
            "expected": _window(self._expected, self._asked),
            "asked": _window(self._asked, self._expected),
            "ran": self._before,
            "version": self._version,
            "deferred": 0,  # how often it was offered to this code again
        }
        return Mismatch(json.dumps(told))

    def _owner(
        self, step: Step[Any, Any], key: str, inputs: dict[str, str], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> str:
        """The key of the finished step that had these arguments, its own if it can; empty: none had. Arguments that
        JSON cannot hold exactly are its own."""
        try:
            asked = _canonical(json.loads(to_json(step.bind(args, kwargs), inf_nan_mode="strings")))
        except Exception:
            return key
        same = self._same.get(step.name)
        if same is None:
            same = self._same[step.name] = {}
            for other, text in inputs.items():
                same.setdefault(_canonical(json.loads(text)), other)
        if _canonical(json.loads(inputs[key])) == asked:
            return key
        return same.get(asked, "")


def branch_of(fact: Fact) -> str:
    """The branch whose count is in the fact's key (see `ActiveRun.number`)."""
    if fact.kind == SnapshotKind.STEP and not fact.key.startswith(f"{fact.name}#"):
        return ANY
    _, _, count = fact.key.rpartition("#")
    return count.partition("~")[0].partition("@")[2]


def _firm(facts: Sequence[Fact]) -> list[Fact]:
    firm: list[Fact] = []
    failing: dict[str, int] = {}  # steps whose last try failed, and in which attempt
    doubt = False
    for fact in facts:
        if fact.kind == SnapshotKind.CHECKPOINT:
            firm.clear()
        elif fact.kind == SnapshotKind.FAILURE:
            failing[fact.key] = fact.attempt
        elif fact.kind in _KINDS:
            # Its own next try, in the same attempt and with nothing in between: the code has seen no exception.
            if failing == {fact.key: fact.attempt}:
                failing.clear()
            doubt = doubt or bool(failing)
            if not doubt:
                firm.append(fact)
    return firm


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _window(keys: list[str], others: list[str]) -> list[str]:
    """The part of a list from which on it differs from the other, with some of what is the same before."""
    same = 0
    for one, other in zip(keys, others, strict=False):
        if one != other:
            break
        same += 1
    if len(keys) <= MAX_LISTED:
        return list(keys)
    begin = max(0, min(same - MAX_LISTED // 2, len(keys) - MAX_LISTED))
    shown = keys[begin : begin + MAX_LISTED]
    before = [f"… ({begin:,} before)"] if begin else []
    after = len(keys) - begin - len(shown)
    return [*before, *shown, *([f"… ({after:,} more)"] if after else [])]
