"""The run context while a worker executes it: replay from snapshots, steps, checkpoints, log lines."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final

from pydantic_core import to_json

from runs import jsonvalue, store
from runs.engine import failure
from runs.engine.database import tidy_shared
from runs.engine.fairtime import Within
from runs.engine.outcome import Fenced, HandOver, PutDown
from runs.engine.tail import LogTail
from runs.errors import InvalidPayload, NonDeterministic, StepMisuse
from runs.models import RollupKind, SnapshotKind
from runs.sdk import codec
from runs.sdk.context import RunContext, current_step
from runs.sdk.step import Step

if TYPE_CHECKING:
    from runs.engine.clock import Clock
    from runs.engine.fairtime import LoopWatch
    from runs.engine.writer import Ack, Writer
    from runs.sdk.task import Task

#: A step's retry that is due within so many seconds is waited for in place; a later one puts the run down (DESIGN D5).
HOLD: Final = 2.0
MAX_LOG_MESSAGE: Final = 65_536
MAX_LOG_FIELDS: Final = 65_536
MAX_STEP_INPUT: Final = 65_536
#: Levels of log lines are stored as two bytes.
MAX_LEVEL: Final = 32_767


class ActiveRun(RunContext):
    """One stay of a run in this worker."""

    __slots__ = (
        "_counts",
        "_done",
        "_lock",
        "_over",
        "_partial",
        "_port",
        "_replay_left",
        "_sequence",
        "_tries",
        "began",
        "cancelled_by_worker",
        "started",
        "tail",
        "task",
        "tasks",
        "unwound",
    )

    def __init__(self, port: Port, task: Task[..., Any], started: store.Started, facts: list[store.Fact]) -> None:
        self._port = port
        self.task = task
        self.started = started
        self.id = started.id
        self.attempt = started.attempt
        self.task_id = started.task_id
        self.tags = tuple(started.tags)
        self.trace_id = started.trace_id
        self.state = None
        self.began = port.clock.now()
        self.tail = LogTail(self.id, again=started.attempt > 1 or started.resumed)
        #: The worker itself cancelled the run's task, because it is stopping.
        self.cancelled_by_worker = False
        #: asyncio tasks that the run's code has started; they end with the stay.
        self.tasks: set[asyncio.Task[Any]] = set()
        self._lock = threading.Lock()  # a sync task may call steps from threads of its own
        self._counts: dict[str, int] = {}
        self._tries: dict[str, int] = {}
        self._done: dict[str, str | None] = {}
        self._partial = ""
        self._over = False
        #: Why the stay is being unwound: whatever the run's code makes of the exception, this is its outcome.
        self.unwound: PutDown | None = None
        self._sequence = facts[-1].sequence if facts else 0
        for fact in facts:
            if fact.kind == SnapshotKind.STEP:
                self._done[fact.key] = fact.output
            elif fact.kind == SnapshotKind.CHECKPOINT:
                self.state = json.loads(fact.state) if fact.state is not None else None
            elif fact.attempt == self.attempt:
                self._tries[fact.key] = self._tries.get(fact.key, 0) + 1
        self._replay_left = len(self._done)

    # ── what task code sees ──────────────────────────────────────────────────────────────────────────────────────

    @property
    def is_replaying(self) -> bool:
        return self._replay_left > 0

    @property
    def is_async(self) -> bool:
        return self.task.is_async

    def arguments(self) -> dict[str, Any]:
        """The payload as the task's keyword arguments."""
        try:
            found: dict[str, Any] = self.task.payload.validate_json(self.started.payload)
        except ValueError as error:
            raise InvalidPayload(
                f"The stored payload does not fit this version of {self.task_id} any more: {error}. Replay the run "
                "with a payload that fits, or bring back the parameters."
            ) from None
        return found

    async def step_async(self, step: Step[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        key = self._identity(step)
        if key in self._done:
            return self._replay(step, key)
        while True:
            self.boundary()
            began, token = self._port.clock.now(), current_step.set(key)
            try:
                if step.timeout is None:
                    value = await step.function(*args, **kwargs)
                else:
                    value = await self._timed(step.timeout, step, args, kwargs)
                output = codec.dump(step.output, value, f"step {step.name!r}: result", codec.MAX_STORED)
            except Exception as error:
                delay = self._tried(step, key, began, args, kwargs, error)
            else:
                row = self._row(step, key, began, args, kwargs, SnapshotKind.STEP, output=output)
                stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._store(row, stored, self._count(step, began, "completed", row.finished))
                await stored
                return value
            finally:
                current_step.reset(token)
            await asyncio.sleep(delay)

    def step_sync(self, step: Step[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self.is_async:
            raise StepMisuse(
                f"Step {step.name!r} is a plain function and would block the event loop of this async task. Make the "
                f"step `async def`, or call it in a thread: await asyncio.to_thread({step.name}.function, …) inside an "
                "async step."
            )
        key = self._identity(step)
        if key in self._done:
            return self._replay(step, key)
        while True:
            self.boundary()
            began, token = self._port.clock.now(), current_step.set(key)
            try:
                value = step.function(*args, **kwargs)
                output = codec.dump(step.output, value, f"step {step.name!r}: result", codec.MAX_STORED)
            except Exception as error:
                delay = self._tried(step, key, began, args, kwargs, error)
            else:
                row = self._row(step, key, began, args, kwargs, SnapshotKind.STEP, output=output)
                stored: Future[None] = Future()
                self._store(row, stored, self._count(step, began, "completed", row.finished))
                stored.result()
                return value
            finally:
                current_step.reset(token)
            time.sleep(delay)

    def save_state(self, state: Any, saved: Callable[[BaseException | None], None]) -> None:
        self.boundary()
        text = codec.dump(None, state, "state", codec.MAX_STORED)
        now = self._port.clock.now()
        row = store.SnapshotRow(
            self.id,
            0,
            SnapshotKind.CHECKPOINT,
            "checkpoint",
            "",
            self.attempt,
            None,
            None,
            text,
            None,
            now,
            now,
        )
        self.state = json.loads(text)
        done: Future[None] = Future()
        done.add_done_callback(lambda f: saved(f.exception()))
        self._store(row, done)

    def say(self, level: int, message: str, fields: dict[str, Any] | None) -> None:
        row = store.LogRow(
            self.id,
            self._port.clock.now(),
            max(0, min(level, MAX_LEVEL)),
            failure.clean(message, MAX_LOG_MESSAGE),
            _fields(fields) if fields else None,
            self.attempt,
            current_step.get(),
        )
        self._port.writer.put_log(row, self.tail)

    def printed(self, text: str) -> None:
        """Text that was printed; a line becomes a log line when it ends."""
        with self._lock:
            *lines, self._partial = (self._partial + text).split("\n")
            if len(self._partial) > MAX_LOG_MESSAGE:
                lines, self._partial = [*lines, self._partial], ""
        for line in lines:
            if line:
                self.say(logging.INFO, line, None)

    def flush_print(self) -> None:
        if self._partial:
            self.printed("\n")

    def within(self, limit: float | None) -> Within:
        """A timeout that does not count the time in which others kept the event loop from running."""
        return Within(limit, self, self._port.watch)

    async def _timed(self, limit: float, step: Step[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        scope = self.within(limit)
        try:
            async with scope:
                return await step.function(*args, **kwargs)
        except TimeoutError as error:
            if scope.expired():
                raise TimeoutError(f"step {step.name!r} took longer than {limit:g} s") from error
            raise

    # ── replay and snapshots ─────────────────────────────────────────────────────────────────────────────────────

    def boundary(self) -> None:
        """Where a run may be taken out of the worker without losing a finished step."""
        if self._port.handing_over():
            self.unwind(HandOver())
        if self.unwound is not None:
            raise self.unwound.with_traceback(None)

    def unwind(self, unwound: PutDown) -> PutDown:
        """Notes that the stay ends this way, even if the run's code catches the exception or wraps it in a group."""
        if self.unwound is None or unwound.delay < self.unwound.delay:
            self.unwound = unwound
        return unwound

    def close(self) -> bool:
        """The stay is over: what it left behind stores nothing any more. False when it was over already."""
        with self._lock:
            was_open, self._over = not self._over, True
        return was_open

    def _identity(self, step: Step[Any, Any]) -> str:
        if step.key is not None:
            return f"{step.name}:{step.key}"
        with self._lock:
            count = self._counts[step.name] = self._counts.get(step.name, 0) + 1
        return f"{step.name}#{count}"

    def _store(self, row: store.SnapshotRow, ack: Ack, *samples: Sample) -> None:
        """Hands a snapshot to the writer, numbered. Raises Fenced when the stay is over: threads or tasks that a run
        leaves behind must not write into its next attempt."""
        with self._lock:
            if self._over:
                raise Fenced
            self._sequence += 1
            self._port.writer.put_snapshot(row._replace(sequence=self._sequence), ack, *samples)

    def _replay(self, step: Step[Any, Any], key: str) -> Any:
        self._replay_left -= 1
        text = self._done[key]
        if text is None or text == "null":
            return None
        try:
            return step.output.validate_json(text)
        except ValueError as error:
            raise NonDeterministic(
                f"Step {key} of run {self.id} finished earlier with a result that this code's annotation refuses: "
                f"{error}. Bring back the annotation, or give the step a new name."
            ) from None

    def _row(
        self,
        step: Step[Any, Any],
        key: str,
        began: float,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        kind: SnapshotKind,
        *,
        output: str | None = None,
        error: str | None = None,
    ) -> store.SnapshotRow:
        return store.SnapshotRow(
            self.id,
            0,  # numbered when it is stored
            kind,
            step.name,
            key,
            self.attempt,
            _show(step, args, kwargs) if args or kwargs else None,
            output,
            None,
            error,
            began,
            self._port.clock.now(),
        )

    def _tried(
        self,
        step: Step[Any, Any],
        key: str,
        began: float,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        error: Exception,
    ) -> float:
        """A try of a step failed: records it. Returns the delay before the next one, or raises."""
        tries = self._tries[key] = self._tries.get(key, 0) + 1
        text = failure.encode(failure.describe(error, key))
        row = self._row(step, key, began, args, kwargs, SnapshotKind.FAILURE, error=text)
        self._store(row, None, self._count(step, began, "failed", row.finished))
        tidy_shared(error)
        if not step.retry.allows(error, tries):
            raise error
        delay = step.retry.delay(tries, error)
        self.say(
            logging.WARNING,
            f"step {key} failed ({type(error).__name__}: {error}); try {tries + 1} of {step.retry.max_attempts} "
            f"in {delay:.1f} s",
            None,
        )
        if delay > HOLD:
            waiting_for = json.dumps({"kind": "step_retry", "step": key, "try": tries + 1})
            raise self.unwind(PutDown(delay, waiting_for)) from None
        return delay

    def _count(self, step: Step[Any, Any], began: float, status: str, ended: float) -> Sample:
        return (
            RollupKind.STEP,
            self.task_id,
            self.started.queue_id,
            step.name,
            self.task.version,
            status,
            ended - began,
        )


#: What is counted into a rollup: kind, task, queue, name, version, status, seconds.
Sample = tuple[str, str, int, str, str, str, float]


class Port:
    """What a run needs of its worker."""

    __slots__ = ("clock", "handing_over", "watch", "writer")

    def __init__(self, writer: Writer, clock: Clock, watch: LoopWatch, handing_over: Callable[[], bool]) -> None:
        self.writer = writer
        self.clock = clock
        self.watch = watch
        self.handing_over = handing_over


def _show(step: Step[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """The arguments for people to look at: whatever JSON cannot hold is shown as text, and long ones are cut."""
    try:
        named = step.bind(args, kwargs)
        text = to_json(named, fallback=repr, inf_nan_mode="strings").decode("utf-8", "replace")
    except Exception as error:  # that they cannot be shown is no reason to fail a step
        text = json.dumps({"unshown": failure.clean(f"{type(error).__name__}: {error}", 300)})
    if len(text) > MAX_STEP_INPUT or not jsonvalue.looks_storable(text):
        text = json.dumps({"cut": failure.clean(text.replace("\\u0000", "\ufffd"), MAX_STEP_INPUT)})
    return text


def _fields(fields: dict[str, Any]) -> str:
    """The fields of a log line as JSON. A log line is never the reason why a run fails: odd ones are said in words."""
    try:
        text = codec.dump(None, fields, "fields")
    except Exception:
        text = json.dumps({failure.clean(str(name), 200): _words(value) for name, value in fields.items()})
    if len(text) > MAX_LOG_FIELDS:
        text = json.dumps({"cut": failure.clean(text.replace("\\u0000", "\ufffd"), MAX_LOG_FIELDS)})
    return text


def _words(value: Any) -> str:
    try:
        return failure.clean(repr(value), 1_000)
    except Exception as error:
        return f"(cannot be shown: {type(error).__name__})"
