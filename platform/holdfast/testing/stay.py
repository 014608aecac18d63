"""One stay of an inline run: the engine's own context, which can be made to die."""

from __future__ import annotations

import asyncio
import copy
import functools
import json
import logging
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any, Final, NoReturn, cast

from asgiref.sync import sync_to_async
from django.db import transaction

from holdfast.errors import HoldfastError
from holdfast.testing.crashes import Died
from holdfast.testing.errors import NotTheSameSteps
from holdfast.testing.memory import Kept, Memory
from runs import store
from runs.engine import hooks
from runs.engine.acks import Ack
from runs.engine.capture import RunLogHandler, RunStdout
from runs.engine.context import ActiveRun
from runs.engine.execute import execute_async, execute_sync
from runs.engine.loop import end_tasks, remember_task
from runs.engine.outcome import Fenced, Mismatch, Outcome
from runs.engine.port import Port, Sample
from runs.engine.spending import Accounts
from runs.engine.writer import Writer
from runs.models import SnapshotKind
from runs.sdk.context import current, current_step, set_executing
from runs.sdk.safety import AT_LEAST_ONCE
from runs.sdk.step import Step
from runs.sdk.wait import WaitKind

#: Real seconds after which a branch that waits beside one that works is brought its answers, as a worker would. Before,
#: the run is given the time to come to rest: then it is entered again, and its replay is tested.
BRING: Final = 0.05
_OF_KIND: Final = {
    SnapshotKind.STEP: "snapshot-written",
    SnapshotKind.FAILURE: "failure-written",
    SnapshotKind.INTENT: "intent-written",
    SnapshotKind.HANDED: "handed-written",
    SnapshotKind.CHECKPOINT: "checkpoint-written",
    SnapshotKind.WAIT: "answer-written",
}


class InlineRun(ActiveRun):
    """Adds to the engine's context: counts of calls, points to die at, and transactions without a lease."""

    __slots__ = ("_kept", "_memory")

    def __init__(self, memory: Memory, kept: Kept) -> None:
        self._memory = memory
        self._kept = kept
        port = Port(
            cast(Writer, memory),
            memory.clock,
            lambda: False,
            watch=self._bring,
            worker_id=0,
            touch=lambda run_id: None,
            step_threads=cast(ThreadPoolExecutor, None),  # steps with transaction=True do not come there: see below
            accounts=Accounts(),
            hold=0.0,
        )
        super().__init__(port, kept.task, *memory.begin(kept))
        self.beats.pace = 0.0  # no second of the test's own time

    # ── steps ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def step_async(self, step: Step[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        watched = copy.copy(step)

        @functools.wraps(step.function)
        async def function(*args: Any, **kwargs: Any) -> Any:
            self._called(step)
            value = await step.function(*args, **kwargs)
            self._at("step-called", step.name, current_step.get())
            return value

        watched.function = function
        return await super().step_async(watched, args, kwargs)

    def step_sync(self, step: Step[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        watched = copy.copy(step)

        @functools.wraps(step.function)
        def function(*args: Any, **kwargs: Any) -> Any:
            self._called(step)
            value = step.function(*args, **kwargs)
            self._at("step-called", step.name, current_step.get())
            return value

        watched.function = function
        if step.transaction:
            # There is no lease to be fenced and no snapshot to be committed with: a transaction of Django's is what
            # is left. It may lie in that of a test case.
            watched.transaction, watched.promise = False, AT_LEAST_ONCE
            watched.function = transaction.atomic(function)
            if self.is_async and _in_event_loop():
                watched.function = sync_to_async(watched.function)
                return super().step_async(watched, args, kwargs)
        return super().step_sync(watched, args, kwargs)

    def _called(self, step: Step[Any, Any]) -> None:
        self._at("before-step", step.name, current_step.get())
        self._kept.calls[step.name] += 1

    # ── what is stored ───────────────────────────────────────────────────────────────────────────────────────────

    def _store(self, row: store.SnapshotRow, ack: Ack, *samples: Sample) -> None:
        super()._store(row, ack, *samples)
        if point := _OF_KIND.get(cast(SnapshotKind, row.kind)):
            self._at(point, row.name, row.key)

    def put(self, row: store.WaitsRow, ack: Ack = None) -> None:
        super().put(row, ack)
        if isinstance(row, store.ReplyRow) and row.snapshot is not None:
            self._at("answer-written", row.snapshot.name, row.snapshot.key)
        wait = row.wait if isinstance(row, store.SpawnRow) else row
        if isinstance(wait, store.WaitRow) and wait.kind != WaitKind.RETRY:
            self._at("wait-opened", wait.name, str(wait.kind), wait.key)

    def _bring(self, run: ActiveRun) -> None:
        def bring() -> None:
            if self.over or self.unwound is not None:
                return
            try:
                self._memory.match()
            except HoldfastError:
                return  # it does not fit; whoever drives the run finds out the same, and says so
            self.waits.deliver(self._memory.facts(self._kept))
            asyncio.get_running_loop().call_later(BRING, bring)

        asyncio.get_running_loop().call_later(BRING, bring)

    # ── dying ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _at(self, point: str, *names: str) -> None:
        if self._memory.crashes.strike(point, *names):
            self.die()

    def die(self) -> NoReturn:
        """Nothing that the run's code still does, in `finally` for one, is stored."""
        died = self.unwind(Died())
        self.close()
        if self.main is not None and _current_task() is not self.main:
            self.main.get_loop().call_soon_threadsafe(self.main.cancel)
        raise died

    @property
    def died(self) -> bool:
        return isinstance(self.unwound, Died)


async def execute(memory: Memory, kept: Kept) -> None:
    """Enters a run, and stores how the stay ends."""
    run = InlineRun(memory, kept)
    began = run.began
    outcome = await (_in_loop(run) if run.is_async else sync_to_async(_in_thread)(run))
    run.flush_print()
    run.said.flush(now=True)
    if outcome is not None and outcome.attempt is not None and not run.died:
        _strike(run, memory, "before-finish")
    run.close()
    if run.died or outcome is None:
        memory.crash(kept)
        return
    if isinstance(run.unwound, Mismatch):
        what = str(json.loads(run.unwound.waiting_for or "{}").get("what", ""))
        raise NotTheSameSteps(
            f"The run of {kept.task.id} was entered again and its code did not fit its history: "
            f"{what.partition(': ')[2]}. A worker would park it. What decides between steps has to come from a step, a "
            "wait, the payload or the checkpoint: see platform/docs/versions.md."
        )
    memory.finish(kept, outcome, memory.clock.now() - began)
    if outcome.attempt is not None:
        memory.crashes.strike("finish-written")  # the worker has nothing of the run any more: nobody notices


def _strike(run: InlineRun, memory: Memory, point: str) -> None:
    if memory.crashes.strike(point):
        run.unwind(Died())


async def _in_loop(run: InlineRun) -> Outcome | None:
    loop = asyncio.get_running_loop()
    context, factory = copy_context(), loop.get_task_factory()
    context.run(current.set, run)
    loop.set_task_factory(remember_task)  # type: ignore[arg-type]  # `context` by name is 3.11's way
    try:
        run.main = loop.create_task(_drive(run), context=context)
        outcome: Outcome | None = await run.main
        return outcome
    finally:
        loop.set_task_factory(factory)


async def _drive(run: InlineRun) -> Outcome | None:
    try:
        outcome = hooks.decided(run) or await execute_async(run)
        return outcome if run.died else await hooks.conclude_async(run, outcome)
    except Fenced:
        return None
    finally:
        if run.tasks:
            await end_tasks(run)


def _in_thread(run: InlineRun) -> Outcome | None:
    context = copy_context()
    context.run(current.set, run)
    try:
        return context.run(_call, run)
    except Fenced:
        return None


def _call(run: InlineRun) -> Outcome:
    outcome = hooks.decided(run) or execute_sync(run)
    return outcome if run.died else hooks.conclude_sync(run, outcome)


@contextmanager
def captured() -> Iterator[None]:
    """`print` and `logging` inside a run become its log lines, and threads that lost it are told, as in a worker;
    afterwards all is as it was."""
    root, handler, stdout = logging.getLogger(), RunLogHandler(), sys.stdout
    level = root.level
    root.addHandler(handler)
    if level > logging.INFO:
        root.setLevel(logging.INFO)
    ours: Any = RunStdout(stdout)
    sys.stdout = ours
    before = set_executing(True)
    try:
        yield
    finally:
        set_executing(before)
        if sys.stdout is ours:
            sys.stdout = stdout
        root.removeHandler(handler)
        root.setLevel(level)


def _in_event_loop() -> bool:
    return _current(asyncio.get_running_loop) is not None


def _current_task() -> asyncio.Task[Any] | None:
    found: asyncio.Task[Any] | None = _current(asyncio.current_task)
    return found


def _current(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except RuntimeError:  # no event loop in this thread
        return None
