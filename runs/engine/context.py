"""The run context while a worker executes it: replay from snapshots, steps, checkpoints, log lines."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from runs import store, waitlinks
from runs.engine import failure, showing, steps, transact, unsafe
from runs.engine.belongings import Belongings
from runs.engine.database import outside_transactions, tidy_shared
from runs.engine.fairtime import Within
from runs.engine.locality import is_elsewhere
from runs.engine.outcome import Fenced, HandOver, PutDown, Stop
from runs.engine.port import Port, Sample
from runs.engine.sending import Sending
from runs.engine.tryrows import try_row, try_sample
from runs.errors import InvalidPayload, NonDeterministic
from runs.models import SnapshotKind
from runs.sdk import codec
from runs.sdk.context import current_step
from runs.sdk.hooks import PREFIX
from runs.sdk.progress import checked_metadata, checked_progress
from runs.sdk.step import Step

if TYPE_CHECKING:
    from runs.engine.acks import Ack
    from runs.sdk.task import Task
    from runs.sdk.wait import WaitSpec

#: Characters of a branch's name; a deeper one is named by its hash.
MAX_BRANCH: Final = 24
MAX_LOG_MESSAGE: Final = 65_536
#: Levels of log lines are stored as two bytes.
MAX_LEVEL: Final = 32_767


class ActiveRun(Belongings):
    """One stay of a run in this worker."""

    __slots__ = (
        "_branches",
        "_counts",
        "_done",
        "_elsewhere",
        "_last_kept",
        "_over",
        "_partial",
        "_past",
        "_replay_left",
        "_sequence",
        "_started_by",
        "_tries",
        "_waited",
        "began",
        "begun",
        "cancel_child",
        "cancelled_by_worker",
        "concluding",
        "intents",
        "lost",
        "main",
        "may_repeat",
        "memory_limit",
        "task",
        "tasks",
        "uncertain",
        "unwound",
    )

    def __init__(
        self,
        port: Port,
        task: Task[..., Any],
        started: store.Started,
        facts: Sequence[store.Fact] = (),
        waits: Sequence[store.WaitFact] = (),
        beats: Mapping[str, str | None] | None = None,
    ) -> None:
        super().__init__(port, started)
        self.task = task
        self.id = started.id
        self.attempt = started.attempt
        self.task_id = started.task_id
        self.tags = tuple(started.tags)
        self.trace_id = started.trace_id
        self.state = None
        self.began = port.clock.now()
        #: The worker itself cancelled the run's task, because it is stopping.
        self.cancelled_by_worker = False
        #: Its code has ended, and the hook of its outcome is called: too late to stop it.
        self.concluding = started.ending is not None or started.stopping is not None
        #: The asyncio task that calls the function; those that its code has started, and by whom: they end with it.
        self.main: asyncio.Task[Any] | None = None
        self.tasks: dict[asyncio.Task[Any], asyncio.Task[Any] | None] = {}
        #: Of an isolated run: ends its process at once; and in the process itself, the bytes it may allocate.
        self.cancel_child: Callable[[], None] | None = None
        self.memory_limit: int | None = None
        self._counts: dict[tuple[str, str], int] = {}
        self._branches: dict[asyncio.Task[Any], str] = {}
        self._started_by: dict[str, int] = {}
        self._tries: dict[str, int] = {}
        self._done: dict[str, str | None] = {}
        #: Local steps that have finished on another host, and are called again here.
        self._elsewhere: set[str] = set()
        self._waited: dict[str, str] = {}
        self._partial = ""
        self._over = False
        #: The lease is gone, and nothing that is on its way to the writer may be written: see `leave`.
        self.lost = False
        #: Branches that have asked for what the history does not have: they are past it, even if finished steps were
        #: left out (those before a checkpoint, for one).
        self._past: set[str] = set()
        #: Why the stay is being unwound: whatever the run's code makes of the exception, this is its outcome.
        self.unwound: PutDown | None = None
        #: The attempt before died. Until a first step ends here, what is executed may have been before.
        self.may_repeat = started.after_crash
        #: Unsafe steps: begun without an answer yet (by which attempt), called in this stay, and what those said in
        #: this stay that cannot tell.
        self.intents: dict[str, int] = {}
        self.begun: set[str] = set()
        self.uncertain: dict[str, Exception] = {}
        self._sequence = facts[-1].sequence if facts else started.past
        for fact in facts:
            if fact.kind == SnapshotKind.INTENT:
                self.intents[fact.key] = fact.attempt
                continue
            if self.intents and fact.kind != SnapshotKind.CHECKPOINT:
                self.intents.pop(fact.key, None)  # its answer
            if fact.kind == SnapshotKind.STEP:
                self._done[fact.key] = fact.output
                if fact.state is not None:
                    (self._elsewhere.add if is_elsewhere(fact.state) else self._elsewhere.discard)(fact.key)
            elif fact.kind == SnapshotKind.WAIT and fact.output is not None:
                self._waited[fact.key] = fact.output
            elif fact.kind == SnapshotKind.CHECKPOINT:
                self.state = json.loads(fact.state) if fact.state is not None else None
            elif fact.kind == SnapshotKind.FAILURE and fact.attempt == self.attempt:
                self._tries[fact.key] = self._tries.get(fact.key, 0) + 1
        for key in self._elsewhere:
            del self._done[key]
        self._replay_left = sum(not key.startswith(PREFIX) for key in self._done) + len(self._waited)
        self._last_kept = next((f.sequence for f in reversed(facts) if f.kind != SnapshotKind.FAILURE), started.past)
        self._take_up(facts, waits, beats)

    # ── what task code sees ──────────────────────────────────────────────────────────────────────────────────────

    @property
    def is_replaying(self) -> bool:
        return self._replay_left > 0 and self.branch not in self._past

    @property
    def is_async(self) -> bool:
        return self.task.is_async

    def arguments(self) -> dict[str, Any]:
        """The payload as the task's keyword arguments."""
        try:
            found: dict[str, Any] = self.task.payload.validate_json(self.started.payload)
        except ValueError as error:
            if (unfit := self.unfit("the stored payload", error)) is not None:
                raise unfit from None
            raise InvalidPayload(
                f"The stored payload does not fit this version of {self.task_id} any more: {error}. Replay the run "
                "with a payload that fits, or bring back the parameters."
            ) from None
        return found

    async def step_async(self, step: Step[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if step.key is None or step.unsafe:
            return await steps.call_async(self, step, args, kwargs)
        with self.keyed.call(step, args, kwargs):
            return await steps.call_async(self, step, args, kwargs)

    def step_sync(self, step: Step[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if step.key is None or step.unsafe:
            return steps.call_sync(self, step, args, kwargs)
        if step.transaction and transact.is_awaited(self):
            return self._keyed_transaction(step, args, kwargs)
        with self.keyed.call(step, args, kwargs):
            return steps.call_sync(self, step, args, kwargs)

    async def _keyed_transaction(self, step: Step[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with self.keyed.call(step, args, kwargs):
            return await transact.call(self, step, args, kwargs)

    async def wait_async(self, spec: WaitSpec) -> Any:
        return await self.waits.wait_async(spec)

    def wait_sync(self, spec: WaitSpec) -> Any:
        return self.waits.wait_sync(spec)

    def open_token(self, spec: WaitSpec) -> tuple[str, uuid.UUID, str, Future[None] | None]:
        self.boundary()
        key, found, stored = self.waits.open(spec)
        return key, found, waitlinks.url(found), stored

    def save_state(self, state: Any, saved: Callable[[BaseException | None], None]) -> None:
        outside_transactions("checkpoint()", "Call it after the block.")
        self.boundary()
        text = codec.dump(None, state, "state", codec.MAX_STORED)
        now = self._port.clock.now()
        kind = SnapshotKind.CHECKPOINT
        row = store.SnapshotRow(self.id, 0, kind, "checkpoint", "", self.attempt, None, None, text, None, now, now)
        self.state = json.loads(text)
        done: Future[None] = Future()
        done.add_done_callback(lambda f: saved(f.exception()))
        self._store(row, done)

    def spend(self, amounts: dict[str, Decimal]) -> None:
        self.spending.add(amounts)

    def progress(self, value: float, words: str = "") -> None:
        self.said.say(*checked_progress(value, words))

    def set_metadata(self, metadata: Mapping[str, Any]) -> None:
        self.said.say(metadata=checked_metadata(metadata))

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
        self.put_log(row)

    def send(self, stream: str, data: str | None) -> None:
        self._port.writer.wait_for_room()
        step, at = current_step.get(), self._port.clock.now()
        with self._lock:
            if self._over:
                raise Fenced
            replaying = self.is_replaying
            self._sending = self._sending or Sending(self.started, self._last_kept)
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

    def rest(self, seconds: float) -> None:
        """Holds this thread."""
        self._port.clock.sleep(seconds)

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
        task.add_done_callback(self._forget_task)
        if current_step.get():  # a step's own: where the step is answered from its snapshot, nobody starts it
            return
        parent = self.branch
        number = self._started_by[parent] = self._started_by.get(parent, 0) + 1
        branch = f"{parent}.{number}" if parent else str(number)
        if len(branch) > MAX_BRANCH:
            branch = hashlib.sha256(branch.encode()).hexdigest()[:8]
        self._branches[task] = branch
        if parent in self._past:
            self._past.add(branch)

    def _forget_task(self, task: asyncio.Task[Any]) -> None:
        self.tasks.pop(task, None)
        self._branches.pop(task, None)
        if not task.cancelled() and isinstance(getattr(task, "_exception", None), PutDown):
            task.exception()  # so that asyncio does not complain that nobody has
        if self._waits is not None:
            self._waits.look_soon()

    def stop(self, status: str) -> None:
        """The run is to stop, at its next await or the next call of ours, and end as `status`. From any thread."""
        self.unwind(Stop(status))

    def within(self, limit: float | None) -> Within:
        """A timeout that does not count the time in which others kept the event loop from running."""
        return Within(limit, self, self._port.loop_watch)

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

    def leave(self) -> bool:
        """The lease is gone, and others may have the run: nor is stored what is on its way. False when the stay was
        over already."""
        self.lost = True
        return self.close()

    def next_sequence(self) -> int:
        """For a snapshot that goes another way than by the writer. Raises Fenced when the stay is over."""
        with self._lock:
            if self._over:
                raise Fenced
            self._sequence += 1
            return self._sequence

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
        self.asks_for(step, key, again=key in self._elsewhere)
        is_done = key in self._done or key in self._elsewhere
        if self._replay_left > 0 and not is_done:
            self._past.add(self.branch)
        if self._compared is not None:
            self._compared.step(step, key, is_done, args, kwargs)
        return key

    def number(self, name: str) -> str:
        """The next identity of this name: its count within the branch of the run that asks. Branches (the asyncio
        tasks that its code starts) count on their own, because their steps may come in another order at re-entry."""
        branch = self.branch
        with self._lock:
            count = self._counts[name, branch] = self._counts.get((name, branch), 0) + 1
        return f"{name}#{count}@{branch}" if branch else f"{name}#{count}"

    @property
    def branches(self) -> int:
        """How many asyncio tasks the task's function itself has started."""
        return self._started_by.get("", 0)

    @property
    def branch(self) -> str:
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
            self._port.writer.put_snapshot(row._replace(sequence=self._sequence), ack, *samples)

    def put(self, row: store.WaitsRow, ack: Ack = None) -> None:
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
        """What a wait brought in an earlier stay. Raises Mismatch when the history has it otherwise."""
        if (known := self._waited.get(key)) is not None:
            self._replay_left -= 1
        elif blocking and self._replay_left > 0:
            self._past.add(self.branch)
        if self._compared is not None:
            self._compared.wait(key, known is not None, blocking)
        return known

    def remember(self, step: Step[Any, Any], key: str, output: str | None) -> None:
        """A step has finished in this stay: a second call with its key gets this result, as at re-entry."""
        if step.key is not None and not step.unsafe:
            self._done[key] = output
            self._elsewhere.discard(key)
            self.keyed.answered(key)

    def _replay(self, step: Step[Any, Any], key: str) -> Any:
        if step.key is None or self.keyed.answered(key):
            self._replay_left -= 1
        text = self._done[key]
        if text is None or text == "null":
            return None
        try:
            return step.output.validate_json(text)
        except ValueError as error:
            if (unfit := self.unfit(f"the stored result of {key}", error)) is not None:
                raise unfit from None
            raise NonDeterministic(
                f"Step {key} of run {self.id} finished earlier with a result that this code's annotation refuses: "
                f"{error}. Bring back the annotation, or give the step a new name."
            ) from None

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
        row = try_row(self, step, key, began, args, kwargs, SnapshotKind.FAILURE, error=text)
        self._store(row, None, try_sample(self, step, began, "failed", row.finished))
        if self._completions is not None:
            self._completions.over(key, failed=True)
        self.flush_said(now=True)
        tidy_shared(error)
        if not step.retry.allows(error, tries):
            self._inputs.pop(key, None)
            raise error
        delay = step.retry.delay(tries, error)
        self.say(
            logging.WARNING,
            f"step {key} failed ({failure.brief(error)}); try {tries + 1} of {step.retry.max_attempts} "
            f"in {delay:.1f} s",
            None,
        )
        return delay
