"""What a stay has beside its steps, each made when it is first needed.

Most runs have a few steps, no waits, no budget, no history and little to say. Such a run is in no cycle of references,
so that what it holds is free as soon as it is over; and it costs the worker no more than it uses.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn, cast

from runs import store
from runs.engine import database, showing, updating
from runs.engine.again import asked_again
from runs.engine.beats import Beats
from runs.engine.compared import Compared
from runs.engine.completing import Completions
from runs.engine.keyed import Keyed
from runs.engine.outcome import Continue, Fenced, Mismatch
from runs.engine.port import Port
from runs.engine.progress import Progress
from runs.engine.sending import Sending
from runs.engine.spending import Spending
from runs.engine.tail import LogTail
from runs.engine.waiting import Waits
from runs.errors import StepMisuse
from runs.models import SnapshotKind
from runs.sdk.context import RunContext, current_step

if TYPE_CHECKING:
    from runs.engine.context import ActiveRun
    from runs.sdk.step import Step


class Belongings(RunContext):
    """The part of `ActiveRun` that most runs do not need."""

    __slots__ = (
        "_again",
        "_beats",
        "_compared",
        "_completions",
        "_inputs",
        "_keyed",
        "_lock",
        "_named",
        "_port",
        "_said",
        "_sending",
        "_spending",
        "_tail",
        "_waits",
        "executing",
        "started",
    )

    id: uuid.UUID

    def __init__(self, port: Port, started: store.Started) -> None:
        self._port = port
        self.started = started
        self._lock = threading.Lock()  # a sync task may call steps from threads of its own
        self._compared: Compared | None = None
        self._again: dict[str, list[str]] = {}
        self._waits: Waits | None = None
        self._spending: Spending | None = None
        self._sending: Sending | None = None
        self._said: Progress | None = None
        self._beats: Beats | None = None
        self._tail: LogTail | None = None
        self._completions: Completions | None = None
        self._keyed: Keyed | None = None
        #: The steps whose functions are at work, by key.
        self.executing: dict[str, Step[Any, Any]] = {}
        #: Of steps whose functions are called, by key: what they were called with, as people are shown it.
        self._inputs: dict[str, str] = {}
        #: The function of each step that this stay has asked for, by name.
        self._named: dict[str, Callable[..., Any]] = {}

    def _take_up(
        self, facts: Sequence[store.Fact], waits: Sequence[store.WaitFact], beats: Mapping[str, str | None] | None
    ) -> None:
        """What earlier stays have left, and the budgets that count for as long as the run holds them."""
        if beats:
            self._beats = self._new_beats(beats)
        if facts:
            self._compared = Compared(self._run, facts)
            if any(fact.kind == SnapshotKind.HANDED for fact in facts):
                self._completions = Completions(self._run, facts, (wait.key for wait in waits))
            self._again = asked_again(facts, waits, self.started.attempt)
        if waits:
            self._waits = Waits(self._run, waits)
        if self.has_budget:
            self._spending = Spending(self._run, self._port.accounts, self._port.writer.put_usage)

    @property
    def _run(self) -> ActiveRun:
        return cast("ActiveRun", self)

    @property
    def waits(self) -> Waits:
        """Its waits; see `has_waits`."""
        if self._waits is None:
            with self._lock:
                self._waits = self._waits or Waits(self._run, ())
        return self._waits

    @property
    def has_waits(self) -> bool:
        return self._waits is not None and self._waits.any

    @property
    def waits_here(self) -> bool:
        """Whether a branch of it waits in this worker for something to come."""
        return self._waits is not None and self._waits.parked

    def answer_update(self, update: uuid.UUID, wait: str, outcome: str, text: str) -> Future[None] | None:
        return updating.answer(self._run, update, wait, outcome, text)

    @property
    def spending(self) -> Spending:
        """What it uses; see `has_budget`."""
        if self._spending is None:
            with self._lock:
                port = self._port
                self._spending = self._spending or Spending(self._run, port.accounts, port.writer.put_usage)
        return self._spending

    @property
    def used(self) -> str | None:
        """What it has used in this stay, by unit, as JSON; None when it has said nothing."""
        return self._spending.used if self._spending is not None else None

    @property
    def has_budget(self) -> bool:
        """Whether a budget is to be looked at before each step."""
        return bool(self.started.accounts)

    @property
    def said(self) -> Progress:
        """What it says of itself."""
        if self._said is None:
            with self._lock:
                self._said = self._said or Progress(self.id, self._port.writer.put_progress)
        return self._said

    @property
    def beats(self) -> Beats:
        """The heartbeats of its steps."""
        if self._beats is None:
            with self._lock:
                self._beats = self._beats or self._new_beats({})
        return self._beats

    def _new_beats(self, known: Mapping[str, str | None]) -> Beats:
        return Beats(self.id, self.started.attempt, self._put_beat, known)

    def _put_beat(self, row: store.BeatRow) -> None:
        with suppress(Fenced):  # what a stay that is over has not told yet is told by nobody
            self._run.while_open(lambda: self._port.writer.put_beat(row))

    def beat(self, details: str | None) -> None:
        if self._run.over:
            raise Fenced
        self.beats.beat(current_step.get(), details, self._port.clock.now())

    def last_beat(self) -> str | None:
        return self._beats.last(current_step.get()) if self._beats is not None else None

    @property
    def completions(self) -> Completions:
        """Its steps that somebody outside finishes; see `is_handed`."""
        if self._completions is None:
            with self._lock:
                self._completions = self._completions or Completions(self._run, ())
        return self._completions

    @property
    def keyed(self) -> Keyed:
        """Its calls of steps with a key of the code's own."""
        if self._keyed is None:
            with self._lock:
                self._keyed = self._keyed or Keyed()
        return self._keyed

    def asks_for(self, step: Step[Any, Any], key: str, *, again: bool) -> None:
        """The code asks for a step; `again`: a local one that has finished on another host.

        Raises:
            StepMisuse: the run has called another function under this name.
        """
        known = self._named.setdefault(step.name, step.function)
        if known is not step.function and _place(known) != _place(step.function):
            raise StepMisuse(
                f"Two functions are step {step.name!r} in this run, {_place(known)} and {_place(step.function)}: one "
                'could get the result of the other. Give one of them a name of its own: @step(name="…").'
            )
        if again:
            text = f"local step {key} is called again: its result lay on another host"
            self._run.say(logging.INFO, text, {"step": key})

    def is_handed(self, step_key: str) -> bool:
        """Whether a step's function has handed over to somebody outside."""
        return self._completions is not None and self._completions.has(step_key)

    def open_completion(self, timeout: float | None) -> tuple[uuid.UUID, str, Future[None] | None]:
        self._run.boundary()
        return self.completions.open(current_step.get(), timeout)

    def continue_as_new(self, payload: str) -> NoReturn:
        run = self._run
        run.boundary()
        if self.executing:
            raise StepMisuse(
                f"continue_as_new() was called while step {next(iter(self.executing))} is at work in another branch. "
                "Wait for the branches to end: await asyncio.gather(…) before it."
            )
        if not run.is_async and database.in_transaction():
            raise StepMisuse(
                "continue_as_new() was called inside transaction.atomic(): what the block wrote would be rolled back. "
                "End the block first."
            )
        run.check_end()
        raise run.unwind(Continue(payload, self._waits.untaken() if self._waits is not None else ()))

    def step_over(self, key: str) -> None:
        """A step has finished."""
        if self._beats is not None:
            self._beats.done(key)
        if self._completions is not None:
            self._completions.over(key)

    def step_left(self) -> None:
        """A step's function is at work no more: perhaps the run is at rest now."""
        if self._waits is not None:
            self._waits.look_soon()

    def keep_input(self, step: Step[Any, Any], key: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A step is about to be called: its function may change what it is given (a list that it empties)."""
        if args or kwargs:
            self._inputs[key] = showing.arguments(step, args, kwargs)

    def input_of(
        self, step: Step[Any, Any], key: str, args: tuple[Any, ...], kwargs: dict[str, Any], kind: SnapshotKind
    ) -> str:
        """The input that a row of a step shows: of the call, where its function was called here."""
        shown = self._inputs.pop(key, None) if kind == SnapshotKind.STEP else self._inputs.get(key)
        return showing.arguments(step, args, kwargs) if shown is None else shown

    def flush_said(self, *, now: bool = False) -> None:
        if self._said is not None:
            self._said.flush(now=now)
        if self._beats is not None:
            self._beats.flush(now=now)

    @property
    def tail(self) -> LogTail | None:
        """Its lines on their way to the writer; None when it has said nothing."""
        return self._tail

    def put_log(self, row: store.LogRow) -> None:
        """Hands a line to the writer, a late one, too."""
        if self._tail is None:
            with self._lock:
                again = self.started.attempt > 1 or self.started.active is not None
                self._tail = self._tail or LogTail(self.id, again=again)
        self._port.writer.put_log(row, self._tail)

    def unfit(self, what: str, error: ValueError) -> Mismatch | None:
        """See `Compared.unfit`."""
        return self._compared.unfit(what, error) if self._compared is not None else None

    def refuse_swapped(self, key: str, owner: str) -> NoReturn:
        """See `Compared.swapped`. A run that has only waited has no snapshots yet."""
        raise (self._compared or Compared(self._run, ())).swapped(key, owner)

    def key_now(self, key: str) -> str:
        """The key under which a wait is asked in this attempt; see `again.py`."""
        if (chain := self._again.get(key)) is None:
            return key
        if self._compared is not None:
            self._compared.again(chain[:-1])
        return chain[-1]

    def check_end(self) -> None:
        """See `Compared.end`."""
        if self._compared is not None:
            self._compared.end()


def _place(function: Callable[..., Any]) -> str:
    """Where a function is written. One that is made anew, inside another, stays the same."""
    return f"{function.__module__}.{function.__qualname__}"
