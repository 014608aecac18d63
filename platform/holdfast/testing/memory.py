"""The memory of inline runs: what PostgreSQL and the worker's writer are to runs elsewhere.

What a stay does is the engine's own code. This module keeps what it hands to its writer, and does what the statements
of `runs/sql` do with it: begin, finish, crash, and the rules of waits.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from holdfast.testing import post
from holdfast.testing.answers import Answer
from holdfast.testing.clock import Clock
from holdfast.testing.crashes import Crashes
from runs import schemas, store
from runs.engine.acks import Ack
from runs.engine.outcome import Outcome
from runs.engine.recovery import CRASH_LIMIT
from runs.engine.tail import LogTail
from runs.engine.waiting import FOREVER
from runs.models import SnapshotKind
from runs.sdk.task import Task, registry
from runs.states import FINAL, AttemptStatus, Status

#: Kinds of waits that somebody has to answer.
ANSWERED: Final = ("approval", "token", *post.SENT)
_CLOCKS: Final = ("sleep", "retry")
_RUN_TIMEOUT: Final = {"type": "RunTimeout", "message": "the run did not end within its run_timeout"}
_CRASHED: Final = {"type": "WorkerCrashed", "message": "the worker died (crash_at)"}


@dataclass(slots=True)
class Attempt:
    """One attempt of a run."""

    number: int
    status: AttemptStatus = AttemptStatus.RUNNING
    error: dict[str, Any] | None = None
    active: float | None = None  # seconds of its stays; None: it is new


@dataclass(slots=True)
class Wait:
    """One wait of a run, open or over."""

    row: store.WaitRow
    created: float
    due: float
    outcome: str | None = None
    output: Any = None
    resolved: float | None = None
    by: str = ""

    @property
    def detail(self) -> dict[str, Any] | None:
        found: dict[str, Any] | None = json.loads(self.row.detail) if self.row.detail else None
        return found

    @property
    def label(self) -> str:
        return f"{self.row.kind} {self.row.name!r}"

    def end(self, at: float, outcome: str, output: Any = None, by: str = "") -> None:
        self.resolved, self.outcome, self.output, self.by = at, outcome, output, by


@dataclass(eq=False, slots=True)
class Kept:
    """One run as it is stored."""

    id: uuid.UUID
    task: Task[..., Any]
    payload: str
    max_attempts: int
    tags: list[str]
    created: float
    due: float  # when it may be entered; infinity: when a wait is answered
    deadline: float = FOREVER
    parent: Kept | None = None
    parent_wait: str = ""
    status: Status = Status.QUEUED
    failures: int = 0
    crashes: int = 0
    round: int = 1
    past: int = 0  # snapshots of earlier rounds
    output: str | None = None
    error: dict[str, Any] | None = None
    ending: str | None = None  # the outcome that is decided, while its hook is called
    usage: dict[str, Decimal] = field(default_factory=dict)
    progress: store.ProgressRow | None = None
    beats: dict[str, str | None] = field(default_factory=dict)  # by step key
    attempts: list[Attempt] = field(default_factory=list)
    snapshots: list[store.SnapshotRow] = field(default_factory=list)
    logs: list[store.LogRow] = field(default_factory=list)
    chunks: list[store.ChunkRow] = field(default_factory=list)
    waits: dict[str, Wait] = field(default_factory=dict)
    mail: list[Answer] = field(default_factory=list)  # signals and updates that nobody has taken
    updates: dict[uuid.UUID, post.Update] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    children: list[Kept] = field(default_factory=list)

    @property
    def over(self) -> bool:
        return self.status in FINAL

    @property
    def asked(self) -> list[Wait]:
        """The waits that somebody could answer now."""
        return [w for w in self.waits.values() if w.resolved is None and w.row.kind in ANSWERED]

    @property
    def wakes(self) -> float:
        """When something happens to it by itself."""
        return min(self.due, self.deadline)


#: What a run is entered with: itself, its snapshots, its waits, and what its unfinished steps have said last.
Entered = tuple[store.Started, list[store.Fact], list[store.WaitFact], dict[str, str | None]]


class Memory:
    """Runs that are kept in this process. Serves a stay as its writer, too: `put_…`, `count`, `wait_for_room`."""

    def __init__(self, clock: Clock, crashes: Crashes, answers: Iterable[Answer]) -> None:
        self.clock = clock
        self.crashes = crashes
        #: Given beforehand, for waits that are still to come.
        self.answers = [answer for answer in answers if answer.kind not in post.SENT]
        self._sent = [answer for answer in answers if answer.kind in post.SENT]
        self.runs: dict[uuid.UUID, Kept] = {}
        self._token = 0

    # ── runs ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def add(self, task: Task[..., Any], payload: str, *, tags: list[str], max_attempts: int | None) -> Kept:
        """The run that the test asks for."""
        now = self.clock.now()
        run = Kept(uuid.uuid4(), task, payload, max_attempts or task.retry.max_attempts, tags, now, now)
        if task.run_timeout is not None:
            run.deadline = now + task.run_timeout
        run.mail, self._sent = self._sent, []
        self.runs[run.id] = run
        return run

    def _add_children(self, parent: Kept, key: str, new: store.NewRuns) -> None:
        task = registry.get(new.task)
        assert task is not None, "its declaration made the wait"
        now = self.clock.now()
        due = new.run_after.timestamp() if new.run_after is not None else now + (new.delay or 0.0)
        for text in new.payloads:
            name = uuid.uuid5(parent.id, f"child:{len(parent.children)}")
            child = Kept(name, task, text, new.max_attempts, list(new.tags), now, due)
            child.parent, child.parent_wait = parent, key
            if new.timeout is not None:
                child.deadline = due + new.timeout
            parent.children.append(child)
            self.runs[child.id] = child

    def begin(self, run: Kept) -> Entered:
        """A run is entered: a new attempt, or one that is still open goes on."""
        self._token += 1
        if not run.attempts or run.attempts[-1].status != AttemptStatus.RUNNING:
            run.attempts.append(Attempt(len(run.attempts) + 1))
        attempt = run.attempts[-1]
        run.status = Status.RUNNING
        after_crash = len(run.attempts) > 1 and run.attempts[-2].status == AttemptStatus.CRASHED
        started = store.Started(
            run.id,
            run.task.id,
            0,
            run.payload,
            attempt.number,
            run.failures,
            run.max_attempts,
            run.tags,
            run.id.hex,
            self._token,
            run.created,
            run.parent.id if run.parent is not None else None,
            attempt.active,
            after_crash,
            ending=run.ending,
            round=run.round,
            past=run.past,
        )
        facts = [
            store.Fact(s.sequence, s.kind, s.key, s.attempt, s.output, s.state, s.name, s.input)
            for s in run.snapshots
            if s.sequence > run.past
        ]
        return started, facts, self.facts(run), dict(run.beats)

    def finish(self, run: Kept, outcome: Outcome, active: float) -> None:
        """A stay ends: the run is over, or comes back."""
        attempt, error = run.attempts[-1], json.loads(outcome.error) if outcome.error else None
        attempt.active = (attempt.active or 0.0) + active
        attempt.error = error or attempt.error
        if outcome.attempt is not None:
            attempt.status = outcome.attempt
        run.status, run.output, run.error = outcome.status, outcome.output, error
        run.failures += outcome.failed
        if outcome.continues is not None:
            self._give_up(run, outcome.parked)
            self._continue(run, outcome.continues)
        if outcome.delay is None:
            run.ending = None
            self._ended(run)
            return
        answered = any(w.row.id in outcome.parked and w.resolved is not None for w in run.waits.values())
        run.due = self.clock.now() + (0.0 if answered else outcome.delay)

    def _continue(self, run: Kept, payload: str) -> None:
        """The next round: another payload, and no history."""
        run.payload, run.round, run.failures, run.crashes = payload, run.round + 1, 0, 0
        run.past = max((s.sequence for s in run.snapshots), default=run.past) + 1
        run.beats.clear()
        if run.task.run_timeout is not None:
            run.deadline = self.clock.now() + run.task.run_timeout

    def crash(self, run: Kept) -> None:
        """The worker of a run died: again at once, then with growing delay, until the crash limit."""
        run.crashes += 1
        run.attempts[-1].status, run.attempts[-1].error = AttemptStatus.CRASHED, dict(_CRASHED)
        run.error = dict(_CRASHED)
        run.due = self.clock.now() + (2.0 ** (run.crashes - 1) if run.crashes > 1 else 0.0)
        run.status = Status.CRASHED if run.crashes >= CRASH_LIMIT else Status.QUEUED
        if run.over:
            self._ended(run)

    def time_out(self, run: Kept) -> None:
        """Its run_timeout is over, wherever it was."""
        run.error = dict(_RUN_TIMEOUT)
        self._stop(run, Status.TIMED_OUT)

    def _stop(self, run: Kept, status: Status) -> None:
        for child in run.children:
            if not child.over:
                self._stop(child, Status.CANCELLED)
        run.status = status
        if run.attempts and run.attempts[-1].status == AttemptStatus.RUNNING:
            run.attempts[-1].status = AttemptStatus(status)
        self._ended(run)

    def _ended(self, run: Kept) -> None:
        now = self.clock.now()
        post.abandon(run)
        for wait in run.waits.values():
            if wait.resolved is None:
                wait.end(now, "cancelled")
        parent = run.parent
        if parent is None or parent.over:
            return
        wait = parent.waits[run.parent_wait]
        if wait.resolved is None and all(c.over for c in parent.children if c.parent_wait == run.parent_wait):
            wait.end(now, "completed")
            self._wake(parent)

    # ── waits ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _open(self, run: Kept, row: store.WaitRow) -> bool:
        if row.key in run.waits:
            return False
        now = self.clock.now()
        due = row.until if row.until is not None else now + row.delay if row.delay is not None else FOREVER
        run.waits[row.key] = Wait(row, now, due)
        self._match(run)
        return True

    def _match(self, run: Kept) -> None:
        if post.match(run, self.clock.now()):
            self._wake(run)

    def _give_up(self, run: Kept, ids: Iterable[uuid.UUID]) -> None:
        for wait in run.waits.values():
            if wait.row.id in ids:
                post.give_back(run, wait)
                wait.resolved, wait.outcome = wait.resolved or self.clock.now(), "cancelled"

    def facts(self, run: Kept) -> list[store.WaitFact]:
        """The waits of a run, those ended whose time is over."""
        now, told = self.clock.now(), {s.key for s in run.snapshots if s.kind == SnapshotKind.WAIT}
        facts = []
        for key, wait in run.waits.items():
            if wait.resolved is None and wait.due <= now:
                wait.end(wait.due, "completed" if wait.row.kind in _CLOCKS else "timed_out")
            output = wait.output
            if wait.row.kind == "children" and wait.outcome == "completed" and key not in told:
                output = [_child(child) for child in run.children if child.parent_wait == key]
            text = None if output is None else json.dumps(output)
            due = None if wait.due == FOREVER else wait.due
            facts.append(
                store.WaitFact(wait.row.id, key, wait.row.kind, wait.outcome, text, wait.created, due, wait.resolved)
            )
        return facts

    def answer(self, run: Kept, answer: Answer) -> bool:
        """Gives an answer to the wait that asks for it. False when none does; a signal or an update is kept.

        Raises:
            InvalidPayload: it does not fit what the run waits for.
        """
        if answer.kind in post.SENT:
            post.check(run, answer, self.clock.now())
            run.mail.append(answer)
            self._match(run)
            return True
        for wait in run.asked:
            if (wait.row.kind, wait.row.name) == (answer.kind, answer.name) and wait.due > self.clock.now():
                if answer.kind == "token" and answer.outcome == "completed":
                    schemas.check(answer.output, wait.detail, "value")
                elif answer.kind == "approval" and answer.output["approved"]:
                    schemas.check(answer.output["form"], wait.detail, "form")
                wait.end(self.clock.now(), answer.outcome, answer.output, answer.by)
                self._wake(run)
                return True
        return False

    def match(self) -> None:
        """Gives out the answers that were given beforehand, each once."""
        for answer in tuple(self.answers):
            for run in tuple(self.runs.values()):
                if not run.over and self.answer(run, answer):
                    self.answers.remove(answer)
                    break

    def _wake(self, run: Kept) -> None:
        if run.status == Status.WAITING:
            run.due = self.clock.now()

    # ── the writer of a stay ─────────────────────────────────────────────────────────────────────────────────────

    def put_snapshot(self, row: store.SnapshotRow, ack: Ack, *samples: object) -> None:
        self.runs[row.run_id].snapshots.append(row)
        _settle(ack)

    def put_log(self, row: store.LogRow, tail: LogTail) -> None:
        del tail  # as many lines as there are
        self.runs[row.run_id].logs.append(row)

    def put_chunk(self, row: store.ChunkRow) -> None:
        self.runs[row.run_id].chunks.append(row)

    def put_usage(self, row: store.UsageRow) -> None:
        usage = self.runs[row.run_id].usage
        usage[row.unit] = usage.get(row.unit, Decimal()) + row.amount

    def put_beat(self, row: store.BeatRow) -> None:
        beats = self.runs[row.run_id].beats
        if row.over:
            beats.pop(row.key, None)
        else:
            beats[row.key] = row.details

    def put_progress(self, row: store.ProgressRow) -> None:
        run = self.runs[row.run_id]
        run.progress = row if run.progress is None else run.progress.followed_by(row)

    def put_wait(self, row: store.WaitsRow, ack: Ack = None) -> None:
        run = self.runs[row.run_id]
        if isinstance(row, store.EndingRow):
            run.ending = row.ending
        elif isinstance(row, store.WaitRow):
            self._open(run, row)
        elif isinstance(row, store.ReplyRow):
            post.reply(run, row)
            self._match(run)
        elif isinstance(row, store.GiveUpRow):
            self._give_up(run, row.ids)
        elif self._open(run, row.wait):
            self._add_children(run, row.wait.key, row.new)
        _settle(ack)

    def count(self, samples: object) -> None:
        """Rollups are for charts."""

    def wait_for_room(self) -> None:
        """There is always room."""


def _child(run: Kept) -> dict[str, Any]:
    output = None if run.output is None else json.loads(run.output)
    return {"id": str(run.id), "status": str(run.status), "output": output, "error": run.error}


def _settle(ack: Ack) -> None:
    """Stored; whoever waits goes on in its next turn, as elsewhere."""
    if isinstance(ack, Future):
        ack.set_result(None)
    elif ack is not None:
        ack.get_loop().call_soon_threadsafe(_set, ack)


def _set(ack: asyncio.Future[None]) -> None:
    if not ack.done():
        ack.set_result(None)
