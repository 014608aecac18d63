"""Steps that somebody outside finishes (`runs.sdk.completion`).

A try opens a token, and its function hands over: a snapshot of kind `handed` says so, and from then on the function is
not called again, in whichever stay. The run waits for the token as for any other. What it brings is the step's result;
a token that is failed, or whose time is over, is a failed try.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final

from pydantic.errors import PydanticInvalidForJsonSchema

from runs import store, waitlinks
from runs.engine.tryrows import try_row
from runs.errors import StepMisuse
from runs.models import SnapshotKind
from runs.sdk.wait import WaitKind, WaitSpec, decoder, ordered

if TYPE_CHECKING:
    from runs.engine.context import ActiveRun
    from runs.sdk.step import Step

#: Begins the key of such a wait: the code has not asked for it, its step has.
COMPLETION: Final = "completion:"


class Completions:
    """Those of one stay of a run."""

    __slots__ = ("_handed", "_open", "_run", "_spent")

    def __init__(self, run: ActiveRun, facts: Sequence[store.Fact], waits: Iterable[str] = ()) -> None:
        self._run = run
        #: By step key, the key of the wait: of tries that have handed over, and of those whose function is at work.
        self._handed: dict[str, str] = {}
        self._open: dict[str, str] = {}
        #: Waits of tries that have failed.
        self._spent: set[str] = set()
        for fact in facts:
            if fact.kind == SnapshotKind.HANDED:
                self._handed[fact.key] = str(json.loads(fact.output or "{}")["wait"])
            elif fact.kind in (SnapshotKind.STEP, SnapshotKind.FAILURE) and fact.key in self._handed:
                self._spent.add(self._handed.pop(fact.key))
        # What was closed when the run ended is gone, and a person has retried it: a new try, with a new token.
        known = set(waits)
        for step_key in [step_key for step_key, key in self._handed.items() if key not in known]:
            self._spent.add(self._handed.pop(step_key))

    def has(self, step_key: str) -> bool:
        """Whether this step's function has handed over."""
        return step_key in self._handed

    def open(self, step_key: str, timeout: float | None) -> tuple[uuid.UUID, str, Future[None] | None]:
        """Begins the wait for the step that is being executed: its id, its address, and what is done when it is
        durable (None: it is). After a crash it is the one of the try that died.

        Raises:
            StepMisuse: nobody outside can finish such a step.
        """
        step = self._run.executing.get(step_key)
        if step is None or step.unsafe or step.transaction:
            raise StepMisuse(
                f"{step_key} cannot be finished from outside: a hook, an unsafe step and one with transaction=True end "
                "where their function returns. Write a plain step, or wait for a token after it: wait.token(…)."
            )
        key = self._key(step_key)
        self._open[step_key] = key
        _, found, stored = self._run.waits.open(_spec(step, step_key, key, timeout))
        return found, waitlinks.url(found), stored

    def hand_over(
        self, step: Step[Any, Any], step_key: str, began: float, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Its function has left: notes who finishes it."""
        key = self._open.pop(step_key)
        output = json.dumps({"wait": key})
        self._run._store(
            try_row(self._run, step, step_key, began, args, kwargs, SnapshotKind.HANDED, output=output), None
        )
        self._handed[step_key] = key

    def waited_for(self, step: Step[Any, Any], step_key: str) -> WaitSpec:
        """What such a step waits for."""
        return _spec(step, step_key, self._handed[step_key], None)

    def began(self, step_key: str) -> float:
        """When its token was opened: so long does the step last."""
        return self._run.waits.opened_at(self._handed[step_key])

    def over(self, step_key: str, *, failed: bool = False) -> None:
        """A try has ended. What was opened in it, and nobody will look at, is given up."""
        key = self._handed.pop(step_key, None) or self._open.pop(step_key, None)
        if key is None:
            return
        if failed:
            self._spent.add(key)
        if (found := self._run.waits.open_id(key)) is not None:
            self._run.put(store.GiveUpRow(self._run.id, [found]))

    def _key(self, step_key: str) -> str:
        """The wait of the present try: the first that no failed try has had."""
        number, prefix = 1, f"{COMPLETION}{step_key}{self._run.waits.round}"
        while (key := f"{prefix}:{number}") in self._spent or self._run.waits.is_void(key):
            number += 1
        return key


def _spec(step: Step[Any, Any], step_key: str, key: str, timeout: float | None) -> WaitSpec:
    detail: dict[str, Any] = {"step": step_key}
    try:
        if schema := step.output.json_schema():
            detail["schema"] = ordered(schema)
    except PydanticInvalidForJsonSchema:
        pass  # the value is checked where it is read
    decode = decoder(step.output, f"step {step.name!r}")
    return WaitSpec(WaitKind.TOKEN, step.name, delay=timeout, detail=detail, decode=decode, key=key, of_step=True)
