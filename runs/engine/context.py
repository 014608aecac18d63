"""The run context while a worker executes it: replay from snapshots, steps, checkpoints, log lines."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from runs import store, waitlinks
from runs.engine import failure, showing, transact, unsafe
from runs.engine.database import tidy_shared
from runs.engine.history import History
from runs.engine.outcome import Fenced, HandOver, Mismatch, PutDown, Stop
from runs.engine.sending import Sending
from runs.engine.waiting import HOLD, Waits
from runs.errors import InvalidPayload, NonDeterministic, StepMisuse
from runs.models import RollupKind, SnapshotKind
from runs.sdk import codec
from runs.sdk.context import RunContext, current_step
from runs.sdk.step import Step

if TYPE_CHECKING:
    from runs.engine.clock import Clock
    from runs.engine.writer import Ack, Writer
    from runs.sdk.task import Task
    from runs.sdk.wait import WaitSpec

#: Characters of a branch's name; a deeper one is named by its hash.
MAX_BRANCH: Final = 24
MAX_LOG_MESSAGE: Final = 65_536
OTHER_ARGUMENTS: Final = (
    "step {0} is answered by what it returned earlier, although it was called with other arguments then. If the code "
    "has changed, that may be the result of another call: see platform/docs/versions.md. (Said once.)"
)
#: Levels of log lines are stored as two bytes.
MAX_LEVEL: Final = 32_767


class ActiveRun(RunContext):
    """One stay of a run in this worker."""

    __slots__ = (
        "_branches",
        "_counts",
        "_done",
        "_lock",
        "_over",
        "_partial",
        "_port",
        "_replay_left",
        "_sending",
        "_sequence",
        "_started_by",
        "_tries",
        "_waited",
        "began",
        "begun",
        "cancel_child",
        "cancelled_by_worker",
        "history",
        "intents",
        "main",
        "may_repeat",
        "memory_limit",
        "started",
        "task",
        "tasks",
        "uncertain",
        "unwound",
        "waits",
    )

    def __init__(
        self,
        port: Port,
        task: Task[..., Any],
        started: store.Started,
        facts: Sequence[store.Fact] = (),
        waits: Sequence[store.WaitFact] = (),
    ) -> None:
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
        #: The worker itself cancelled the run's task, because it is stopping.
        self.cancelled_by_worker = False
        #: The asyncio task that calls the function; those that its code has started, and by whom: they end with it.
        self.main: asyncio.Task[Any] | None = None
        self.tasks: dict[asyncio.Task[Any], asyncio.Task[Any] | None] = {}
        #: Of an isolated run: ends its process at once; and in the process itself, the bytes it may allocate.
        self.cancel_child: Callable[[], None] | None = None
        self.memory_limit: int | None = None
        self._lock = threading.Lock()  # a sync task may call steps from threads of its own
        self._counts: dict[tuple[str, str], int] = {}
        self._branches: dict[asyncio.Task[Any], str] = {}
        self._started_by: dict[str, int] = {}
        self._tries: dict[str, int] = {}
        self._done: dict[str, str | None] = {}
        self._waited: dict[str, str] = {}
        self._partial = ""
        self._over = False
        #: Why the stay is being unwound: whatever the run's code makes of the exception, this is its outcome.
        self.unwound: PutDown | None = None
        #: The attempt before died. Until a first step ends here, what is executed may have been before.
        self.may_repeat = started.after_crash
        #: Unsafe steps: begun without an answer yet (by which attempt), called in this stay, and what those said in
        #: this stay that cannot tell.
        self.intents: dict[str, int] = {}
        self.begun: set[str] = set()
        self.uncertain: dict[str, Exception] = {}
        self._sequence = facts[-1].sequence if facts else 0
        for fact in facts:
            if fact.kind == SnapshotKind.INTENT:
                self.intents[fact.key] = fact.attempt
                continue
            if self.intents and fact.kind != SnapshotKind.CHECKPOINT:
                self.intents.pop(fact.key, None)  # its answer
            if fact.kind == SnapshotKind.STEP:
                self._done[fact.key] = fact.output
            elif fact.kind == SnapshotKind.WAIT and fact.output is not None:
                self._waited[fact.key] = fact.output
            elif fact.kind == SnapshotKind.CHECKPOINT:
                self.state = json.loads(fact.state) if fact.state is not None else None
            elif fact.kind == SnapshotKind.FAILURE and fact.attempt == self.attempt:
                self._tries[fact.key] = self._tries.get(fact.key, 0) + 1
        self._replay_left = len(self._done) + len(self._waited)
        #: What earlier stays asked for; None when there is, or is left, nothing to compare.
        self.history = History.of(task, started, facts)
        self.waits = Waits(self, waits)
        kept = next((fact.sequence for fact in reversed(facts) if fact.kind != SnapshotKind.FAILURE), 0)
        self._sending = Sending(started, kept)

    # ── what task code sees ──────────────────────────────────────────────────────────────────────────────────────

    @property
    def is_replaying(self) -> bool:
        return self._replay_left > 0

    @property
    def is_async(self) -> bool:
        return self.task.is_async

    @property
    def is_other_code(self) -> bool:
        """The stay before this one was executed by another version of the task."""
        return self.started.before not in ("", self.task.version)

    def arguments(self) -> dict[str, Any]:
        """The payload as the task's keyword arguments."""
        try:
            found: dict[str, Any] = self.task.payload.validate_json(self.started.payload)
        except ValueError as error:
            if self.history is not None and self.is_other_code:
                raise self.unwind(self.history.unfit("the stored payload", str(error))) from None
            raise InvalidPayload(
                f"The stored payload does not fit this version of {self.task_id} any more: {error}. Replay the run "
                "with a payload that fits, or bring back the parameters."
            ) from None
        return found

    async def step_async(self, step: Step[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        key = self._identity(step, args, kwargs)
        if key in self._done:
            return self._replay(step, key)
        if key in self._tries:
            await self.waits.pause(key, self._tries[key])  # the run came back for something else
        if self.may_repeat or step.unsafe:
            self._warn_or_enter(step, key)
        while True:
            self.boundary()
            began, token = self._port.clock.now(), current_step.set(key)
            try:
                if (
                    step.unsafe
                    and (found := await unsafe.begin_async(self, step, key, began, args, kwargs)) is not None
                ):
                    return found.result
                if step.timeout is None:
                    value = await step.function(*args, **kwargs)
                else:
                    value = await _within(step.timeout, step, args, kwargs)
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
            if delay > HOLD:
                await self.waits.pause(key, self._tries[key], delay)
            else:
                await asyncio.sleep(delay)

    def step_sync(self, step: Step[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if step.transaction:
            return transact.call(self, step, args, kwargs)
        if self.is_async:
            raise StepMisuse(
                f"Step {step.name!r} is a plain function and would block the event loop of this async task. Make the "
                f"step `async def`, or call it in a thread: await asyncio.to_thread({step.name}.function, …) inside an "
                "async step."
            )
        key = self._identity(step, args, kwargs)
        if key in self._done:
            return self._replay(step, key)
        if self.may_repeat or step.unsafe:
            self._warn_or_enter(step, key)
        while True:
            self.boundary()
            began, token = self._port.clock.now(), current_step.set(key)
            try:
                if step.unsafe and (found := unsafe.begin_sync(self, step, key, began, args, kwargs)) is not None:
                    return found.result
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
            if delay > HOLD:
                waiting_for = {"kind": "step_retry", "what": f"the next try of {key}", "step": key}
                raise self.unwind(PutDown(delay, json.dumps(waiting_for)))
            time.sleep(delay)

    async def wait_async(self, spec: WaitSpec) -> Any:
        return await self.waits.wait_async(spec)

    def wait_sync(self, spec: WaitSpec) -> Any:
        return self.waits.wait_sync(spec)

    def open_token(self, spec: WaitSpec) -> tuple[str, uuid.UUID, str, Future[None] | None]:
        self.boundary()
        key, found, stored = self.waits.open(spec)
        return key, found, waitlinks.url(found), stored

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
            showing.log_fields(fields) if fields else None,
            self.attempt,
            current_step.get(),
        )
        self._port.writer.put_log(row)

    def send(self, stream: str, data: str | None) -> None:
        self._port.writer.wait_for_room()
        step, at = current_step.get(), self._port.clock.now()
        with self._lock:
            if self._over:
                raise Fenced
            replaying = self.is_replaying
            for row in self._sending.rows(stream, data, step, at, self._sequence, self._tries.get(step, 0), replaying):
                self._port.writer.put_chunk(row)

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

    # ── what the engine asks ─────────────────────────────────────────────────────────────────────────────────────

    @property
    def over(self) -> bool:
        return self._over

    @property
    def time_left(self) -> float | None:
        """Seconds of `max_duration` that this attempt has left; its waits took none."""
        limit = self.task.max_duration
        return None if limit is None else max(0.001, limit - (self.started.active or 0.0))

    def now(self) -> float:
        """The database's Unix time."""
        return self._port.clock.now()

    @property
    def hold(self) -> float:
        """Seconds within which a wait has to be over for the run to stay here at rest."""
        return self._port.hold

    def watch(self) -> None:
        """A branch waits in this worker: bring it answers."""
        self._port.watch(self)

    def note_task(self, task: asyncio.Task[Any]) -> None:
        """The run's code has started an asyncio task."""
        self.tasks[task] = asyncio.current_task()
        parent = self._branch()
        number = self._started_by[parent] = self._started_by.get(parent, 0) + 1
        branch = f"{parent}.{number}" if parent else str(number)
        if len(branch) > MAX_BRANCH:
            branch = hashlib.sha256(branch.encode()).hexdigest()[:8]
        self._branches[task] = branch
        task.add_done_callback(self._forget_task)

    def _forget_task(self, task: asyncio.Task[Any]) -> None:
        self.tasks.pop(task, None)
        self._branches.pop(task, None)
        self.waits.look_soon()

    def stop(self, status: str) -> None:
        """The run is to stop, at its next await or the next call of ours, and end as `status`. From any thread."""
        self.unwind(Stop(status))

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

    def next_sequence(self) -> int:
        """For a snapshot that goes another way than by the writer. Raises Fenced when the stay is over."""
        with self._lock:
            if self._over:
                raise Fenced
            self._sequence += 1
            return self._sequence

    def _warn_or_enter(self, step: Step[Any, Any], key: str) -> None:
        if step.unsafe:
            unsafe.enter(self, step, key)
        elif self.may_repeat:
            self.say(
                logging.WARNING,
                f"step {key} may have been executed before, by attempt {self.attempt - 1}: its worker died and could "
                'not say. If a second execution does harm, look; and see safety="unsafe" and transaction=True.',
                {"step": key, "attempt_before": self.attempt - 1, "repeated_after_crash": True},
            )

    def while_open(self, put: Callable[[], None]) -> None:
        """For rows that come from elsewhere (an isolated run's process). Raises Fenced when the stay is over."""
        with self._lock:
            if self._over:
                raise Fenced
            put()

    def cancel_hard(self) -> bool:
        """Ends an isolated run at once, whatever its code is at: it becomes cancelled. False for a run that shares the
        worker's process, where nobody can."""
        if self.cancel_child is None:
            return False
        self.cancel_child()
        return True

    def _identity(self, step: Step[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """The key of a step that the code asks for now. Raises Mismatch when the history has it otherwise."""
        key = f"{step.name}:{step.key}" if step.key is not None else self.number(step.name)
        if (history := self.history) is not None:
            try:
                if key in self._done:
                    if history.met_step(step, key, args, kwargs):
                        self.say(logging.WARNING, OTHER_ARGUMENTS.format(key), {"step": key})
                else:
                    self._beyond(history, key)
            except Mismatch as mismatch:
                raise self.unwind(mismatch) from None
        return key

    def _beyond(self, history: History, key: str) -> None:
        history.beyond(key, self._branch())
        if self._replay_left <= 0 and history.is_complete:
            self.history = None

    def check_end(self) -> None:
        """The function has returned: notes that the stay ends otherwise when it has left finished steps out."""
        if self.history is not None and self.unwound is None:
            try:
                self.history.ended(self._started_by.get("", 0))
            except Mismatch as mismatch:
                self.unwind(mismatch)

    def number(self, name: str) -> str:
        """The next identity of this name: its count within the branch of the run that asks. Branches (the asyncio
        tasks that its code starts) count on their own, because their steps may come in another order at re-entry."""
        branch = self._branch()
        with self._lock:
            count = self._counts[name, branch] = self._counts.get((name, branch), 0) + 1
        return f"{name}#{count}@{branch}" if branch else f"{name}#{count}"

    def _branch(self) -> str:
        """`2.1` in the first task that the run's second task has started; empty in the task's function itself."""
        if not self._branches:
            return ""
        try:
            task = asyncio.current_task()
        except RuntimeError:  # no event loop in this thread
            return ""
        return self._branches.get(task, "") if task is not None else ""

    def _store(self, row: store.SnapshotRow, ack: Ack, *samples: Sample) -> None:
        """Hands a snapshot to the writer, numbered. Raises Fenced when the stay is over: threads or tasks that a run
        leaves behind must not write into its next attempt."""
        with self._lock:
            if self._over:
                raise Fenced
            self._sequence += 1
            self._sending.past_history |= row.kind != SnapshotKind.CHECKPOINT
            self._port.writer.put_snapshot(row._replace(sequence=self._sequence), ack, *samples)

    def put(self, row: store.WaitRow | store.SpawnRow | store.GiveUpRow, ack: Ack = None) -> None:
        """Hands a row to the writer, if the stay is not over: see `_store`."""
        with self._lock:
            if self._over:
                raise Fenced
            self._port.writer.put_wait(row, ack)

    def keep(
        self, kind: SnapshotKind, name: str, key: str, output: str, started: float, finished: float | None
    ) -> None:
        """Stores a snapshot that nobody has to wait for."""
        row = store.SnapshotRow(
            self.id, 0, kind, name, key, self.attempt, None, output, None, None, started, finished or self.now()
        )
        self._store(row, None)

    def recall(self, key: str, *, blocking: bool = True) -> str | None:
        """What a wait brought in an earlier stay. A branch that waits has asked for all that came before."""
        known = self._waited.get(key)
        if known is not None:
            self._replay_left -= 1
        if (history := self.history) is not None:
            try:
                if known is not None:
                    history.met(key)
                elif not key.startswith("retry:") and (blocking or not self.waits.knows(key)):
                    self._beyond(history, key)
            except Mismatch as mismatch:
                raise self.unwind(mismatch) from None
        return known

    def _replay(self, step: Step[Any, Any], key: str) -> Any:
        self._replay_left -= 1
        text = self._done[key]
        if text is None or text == "null":
            return None
        try:
            return step.output.validate_json(text)
        except ValueError as error:
            if self.is_other_code:
                history = self.history or History(self.task, self.started, ())
                raise self.unwind(history.unfit(f"the stored result of {key}", str(error))) from None
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
        self.may_repeat = False
        return store.SnapshotRow(
            self.id,
            0,  # numbered when it is stored
            kind,
            step.name,
            key,
            self.attempt,
            showing.arguments(step, args, kwargs) if args or kwargs else None,
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
        if step.unsafe and unsafe.is_open(self, step, key, error):
            return 0.0  # no failure yet: first it is found out what happened
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

    __slots__ = ("clock", "handing_over", "hold", "step_threads", "touch", "watch", "worker_id", "writer")

    def __init__(
        self,
        writer: Writer,
        clock: Clock,
        handing_over: Callable[[], bool],
        *,
        watch: Callable[[ActiveRun], None],
        worker_id: int,
        touch: Callable[[UUID], None],
        step_threads: ThreadPoolExecutor,
        hold: float = HOLD,
    ) -> None:
        self.writer = writer
        self.clock = clock
        self.handing_over = handing_over
        #: Brings answers to a run in which a branch waits.
        self.watch = watch
        self.worker_id = worker_id
        #: Tells open pages that a run has changed past the writer.
        self.touch = touch
        #: Where `async def` tasks have their steps with transaction=True executed.
        self.step_threads = step_threads
        #: A run whose next wait is over within so many seconds stays. 0 where nobody brings answers.
        self.hold = hold


async def _within(limit: float, step: Step[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    try:
        async with asyncio.timeout(limit) as scope:
            return await step.function(*args, **kwargs)
    except TimeoutError as error:
        if scope.expired():
            raise TimeoutError(f"step {step.name!r} took longer than {limit:g} s") from error
        raise
