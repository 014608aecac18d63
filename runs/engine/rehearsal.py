"""Replays runs against the code of this process, and executes nothing: will they go on after a rollout?

A rehearsal is a stay that ends where the history does. Steps and waits are answered from it; whatever is not in it ends
the rehearsal, as fitting so far, before it happens. Log lines, prints, streams and checkpoints go nowhere, and the
sessions of Django's that the code may use between its steps are read-only. What it does elsewhere between its steps (a
request by HTTP, a file) cannot be held back: such things belong into steps.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from contextvars import Context, copy_context
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, cast

from django.db import connections

from runs import store, waitlinks
from runs.engine import deferring, failure, middleware
from runs.engine.capture import RunStdout
from runs.engine.clock import Clock
from runs.engine.context import ActiveRun
from runs.engine.history import REPLY
from runs.engine.loop import end_tasks, remember_task
from runs.engine.outcome import Fenced, Mismatch, PutDown
from runs.engine.port import Port
from runs.engine.spending import Accounts
from runs.engine.waiting import _value
from runs.engine.writer import Writer
from runs.errors import InvalidPayload, NonDeterministic
from runs.sdk import codec
from runs.sdk.context import current
from runs.sdk.progress import checked_metadata, checked_progress
from runs.sdk.step import Step
from runs.sdk.task import Task
from runs.sdk.wait import WaitSpec

#: Seconds that one rehearsal may take.
TIME: Final = 10.0
#: Turns of the event loop in which a branch that can go on does.
_TURNS: Final = 10
_READ_ONLY: Final = "-c default_transaction_read_only=on"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rehearsal has shown."""

    run: uuid.UUID
    task: str
    outcome: str  # compatible, incompatible, undecided
    what: str = ""
    expected: Sequence[str] = ()
    asked: Sequence[str] = ()


class Beyond(PutDown):
    """The code has asked for something that the history does not have: so far, it fits."""

    def __init__(self) -> None:
        super().__init__(0.0)


class Rehearsal(ActiveRun):
    """A stay that nothing comes of."""

    __slots__ = ()

    async def step_async(self, step: Step[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.boundary()
        key = self._identity(step, args, kwargs)
        if key not in self._done:
            await self._let_others_on()
            raise self.unwind(Beyond())
        return self._replay(step, key)

    def step_sync(self, step: Step[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if step.transaction and self.is_async and _in_event_loop():
            return self.step_async(step, args, kwargs)
        self.boundary()
        key = self._identity(step, args, kwargs)
        if key not in self._done:
            raise self.unwind(Beyond())
        return self._replay(step, key)

    async def wait_async(self, spec: WaitSpec) -> Any:
        try:
            return self.wait_sync(spec)
        except Beyond as beyond:
            await self._let_others_on()
            raise self.unwind(beyond) from None

    def wait_sync(self, spec: WaitSpec) -> Any:
        if spec.spawn is not None and not spec.spawn.payloads:
            return spec.decode([])
        self.boundary()
        if (known := self.recall(self.waits._identify(spec)[0])) is None:
            raise Beyond if self.is_async else self.unwind(Beyond())
        return _value(spec, json.loads(known))

    def open_token(self, spec: WaitSpec) -> tuple[str, uuid.UUID, str, Future[None] | None]:
        key, runners = self.waits._identify(spec)
        if self.recall(key, blocking=False) is None and not self.waits.knows(key):
            raise self.unwind(Beyond())
        return key, runners[0].id, waitlinks.url(runners[0].id), None

    def answer_update(self, update: uuid.UUID, wait: str, outcome: str, text: str) -> Future[None] | None:
        self.boundary()
        if self.recall(REPLY + wait) is None:
            raise self.unwind(Beyond())
        return None

    async def _let_others_on(self) -> None:
        """One branch has come to the end of its history: the others may have some left, and are to be seen to it."""
        left = None
        while left != self._replay_left:
            left = self._replay_left
            for _ in range(_TURNS):
                await asyncio.sleep(0)

    def unwind(self, unwound: PutDown) -> PutDown:
        if self.main is not None and not self.main.done() and not self._is_main():
            loop = self.main.get_loop()
            loop.call_soon_threadsafe(self.main.cancel)  # it may wait for what will not happen
        return super().unwind(unwound)

    def _is_main(self) -> bool:
        try:
            return asyncio.current_task() is self.main
        except RuntimeError:  # no event loop in this thread
            return False

    def save_state(self, state: Any, saved: Callable[[BaseException | None], None]) -> None:
        self.state = json.loads(codec.dump(None, state, "state", codec.MAX_STORED))
        saved(None)

    def spend(self, amounts: dict[str, Decimal]) -> None:
        del amounts

    def beat(self, details: str | None) -> None:
        del details

    def last_beat(self) -> str | None:
        return None

    def progress(self, value: float, words: str = "") -> None:
        checked_progress(value, words)

    def set_metadata(self, metadata: Mapping[str, Any]) -> None:
        checked_metadata(metadata)

    def say(self, level: int, message: str, fields: dict[str, Any] | None) -> None:
        del level, message, fields

    def send(self, stream: str, data: str | None) -> None:
        del stream, data

    def printed(self, text: str) -> None:
        del text

    def watch(self) -> None:
        raise self.unwind(Beyond())


class _NoWriter:
    """Stands in for the worker's `Writer`, as the last line: whatever comes here has left the run, and is refused."""

    def __getattr__(self, name: str) -> Any:
        def refuse(*args: Any, **kwargs: Any) -> None:
            raise Fenced

        return refuse


@contextmanager
def silence() -> Iterator[None]:
    """Around rehearsals: nothing is logged, what runs print goes nowhere, and the database cannot be written to by
    sessions that begin meanwhile. Those of this thread begin anew."""
    before = logging.root.manager.disable
    options = [connections.settings[alias].setdefault("OPTIONS", {}) for alias in connections]
    kept = [dict(option) for option in options]
    for option in options:
        option["options"] = f"{option.get('options', '')} {_READ_ONLY}".strip()
    connections.close_all()
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stdout(RunStdout(sys.stdout)), redirect_stderr(RunStdout(sys.stderr)):
            yield
    finally:
        logging.disable(before)
        for option, was in zip(options, kept, strict=True):
            option.clear()
            option.update(was)
        connections.close_all()


def rehearse(
    task: Task[..., Any],
    started: store.Started,
    facts: Sequence[store.Fact],
    waits: Sequence[store.WaitFact],
    *,
    clock: Clock,
    time: float = TIME,
) -> Verdict:
    """One run, for `time` seconds at most. Call inside `silence`."""
    if deferring.is_newer(facts, waits):
        return Verdict(started.id, task.id, "incompatible", "a newer release has written its history")
    threads = ThreadPoolExecutor(1, thread_name_prefix="rehearsal-step")
    port = Port(
        cast(Writer, _NoWriter()),
        clock,
        lambda: False,
        watch=lambda run: None,
        worker_id=0,
        touch=lambda run_id: None,
        step_threads=threads,
        accounts=Accounts(),
        hold=0.0,
    )
    run = Rehearsal(port, task, started, facts, waits)
    result: list[Verdict] = []
    # A daemon: code that does not return must not keep the command from ending.
    thread = threading.Thread(target=lambda: result.append(_judge(run)), daemon=True, name="rehearsal")
    thread.start()
    thread.join(time)
    if thread.is_alive():
        run.unwind(Beyond())  # it may go on, but no further than to its next step
    threads.shutdown(wait=False)
    if not result:
        return Verdict(run.id, task.id, "undecided", f"it took longer than {time:g} s")
    return result[0]


def _judge(run: Rehearsal) -> Verdict:
    """Calls the function, in a thread of its own."""
    error: BaseException | None = None
    try:
        if run.is_async:
            _in_loop(run)
        else:
            context = Context()
            context.run(current.set, run)
            context.run(lambda: middleware.call_sync(run, middleware.around(run), run.arguments()))
        run.check_end()
    except BaseException as raised:
        error = raised
    finally:
        connections.close_all()
    verdict = Verdict(run.id, run.task_id, "compatible")
    if isinstance(run.unwound, Mismatch):
        told = json.loads(run.unwound.waiting_for or "{}")
        what = str(told["what"]).partition(": ")[2]
        return Verdict(run.id, run.task_id, "incompatible", what, told["expected"], told["asked"])
    if run.unwound is not None or error is None:
        return verdict
    what = failure.brief(error)[:500]
    if isinstance(error, InvalidPayload | NonDeterministic):
        return Verdict(run.id, run.task_id, "incompatible", what)
    if run.is_replaying:
        return Verdict(run.id, run.task_id, "undecided", f"the code raised between its steps: {what}")
    return verdict  # it has asked for all that there is; that it fails then may well be what it did


def _in_loop(run: Rehearsal) -> None:
    loop = asyncio.new_event_loop()
    loop.set_task_factory(remember_task)  # type: ignore[arg-type]  # `context` by name is 3.11's way

    async def drive() -> None:
        try:
            await middleware.call_async(run, middleware.around(run), run.arguments())
        finally:
            if run.tasks:
                await end_tasks(run)

    try:
        context = copy_context()
        context.run(current.set, run)
        run.main = loop.create_task(drive(), context=context)
        loop.run_until_complete(run.main)
    finally:
        loop.close()


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
