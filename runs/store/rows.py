"""What goes into the tables of runs, and what comes out of them: a row of each kind."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class NewRuns:
    """Runs to enqueue that differ in nothing but their payload."""

    task: str
    queue: str
    lane: int
    payloads: list[str]  # JSON texts
    max_attempts: int
    priority: int = 0
    concurrency_key: str | None = None
    units: int = 1  # what each counts in a rate that has a unit
    tags: list[str] = field(default_factory=list)
    keys: list[str | None] | None = None  # idempotency keys, as many as payloads
    run_after: datetime | None = None
    delay: float | None = None  # seconds
    trace_id: str | None = None
    parent_id: uuid.UUID | None = None
    parent_wait: str | None = None  # key of the wait in which the parent waits for them
    ttl: float | None = None  # seconds within which they have to start
    timeout: float | None = None  # seconds within which they have to end
    budget: str | None = None  # JSON: unit → amount
    accounts: list[uuid.UUID] | None = None  # the runs whose budgets they draw on besides

    @property
    def is_plain(self) -> bool:
        """They may start at once, count as one unit each, and have neither key nor deadline nor budget."""
        return (
            self.concurrency_key is None
            and self.units == 1
            and self.run_after is None
            and not self.delay
            and self.ttl is None
            and self.timeout is None
            and self.budget is None
        )


class Started(NamedTuple):
    """A run that a worker has begun or goes on with."""

    id: uuid.UUID
    task_id: str
    queue_id: int
    payload: str
    attempt: int
    failures: int
    max_attempts: int
    tags: list[str]
    trace_id: str
    token: int
    created: float  # Unix time
    parent: uuid.UUID | None  # the run that waits for it
    active: float | None  # seconds of this attempt so far, when it goes on after a wait or a handover; None: it is new
    after_crash: bool  # the attempt before ended with its worker
    accounts: list[uuid.UUID] | None = None  # the runs whose budgets it draws on
    stopping: str | None = None  # it is entered for its hook alone, and ends as this
    ending: str | None = None  # JSON; the same, and this was decided before
    before: str = ""  # version of the code that had it last
    refused: list[str] | None = None  # versions of the code that its history did not fit
    accepted: int | None = None  # a person has accepted its history up to this snapshot, whatever the code asks for
    deferred: str | None = None  # what it waited for until now, if it had been left for other code (JSON)
    round: int = 1  # 2 after the first `continue_as_new`
    past: int = 0  # up to this number, snapshots belong to earlier rounds


class Fact(NamedTuple):
    """A snapshot as replay needs it."""

    sequence: int
    kind: str
    key: str
    attempt: int
    output: str | None
    state: str | None
    name: str = ""
    input: str | None = None


class SnapshotRow(NamedTuple):
    run_id: uuid.UUID
    sequence: int
    kind: str
    name: str
    key: str
    attempt: int
    input: str | None
    output: str | None
    state: str | None
    error: str | None
    started: float
    finished: float
    usage: str | None = None  # JSON: unit → amount
    home: str | None = None  # the host on which the result lies, of a local step


class WaitRow(NamedTuple):
    """A wait that a run begins."""

    run_id: uuid.UUID
    id: uuid.UUID
    key: str
    kind: str
    name: str
    sequence: int
    delay: float | None  # seconds until it is over by itself
    until: float | None  # Unix time, instead of `delay`
    detail: str | None


class SpawnRow(NamedTuple):
    """Runs that a run enqueues and waits for: both or neither."""

    run_id: uuid.UUID
    wait: WaitRow
    new: NewRuns


class GiveUpRow(NamedTuple):
    """Waits that a run gives up."""

    run_id: uuid.UUID
    ids: list[uuid.UUID]


class ReplyRow(NamedTuple):
    """What a run answers to an update, and the fact of its history that it has: both or neither."""

    run_id: uuid.UUID
    update: uuid.UUID
    outcome: str  # replied or refused
    reply: str | None  # JSON
    reason: str
    snapshot: SnapshotRow | None  # None: the run never saw the update, which did not fit
    wait: uuid.UUID | None = None  # that had taken it, and goes on waiting


class WaitFact(NamedTuple):
    """A wait as its run needs to know it."""

    id: uuid.UUID
    key: str
    kind: str
    outcome: str | None  # None: open
    output: str | None  # JSON
    created: float  # Unix times
    due: float | None
    resolved: float | None


class LogRow(NamedTuple):
    run_id: uuid.UUID
    at: float
    level: int
    message: str
    fields: str | None
    attempt: int
    step: str


class ChunkRow(NamedTuple):
    """A piece of a stream, or a mark in it (kinds of `runs.models.ChunkKind`)."""

    run_id: uuid.UUID
    stream: str
    kind: str
    at: float
    data: str | None
    attempt: int
    step: str
    snapshot: int


class FinishRow(NamedTuple):
    """How a stay of a run in a worker ends."""

    run_id: uuid.UUID
    token: int
    status: str  # the run's
    attempt: str | None  # the attempt's final status; None leaves it open
    output: str | None
    error: str | None
    failed: int  # 1 when it counts towards max_attempts
    delay: float | None  # None: final. Otherwise seconds until it may be leased again; infinity: until it is woken
    waiting_for: str | None
    active: float = 0.0  # seconds of this stay
    hooked: str = ""  # the statuses as which it is not stopped without its hook
    parent: uuid.UUID | None = None  # the run that waits for it
    parked: tuple[uuid.UUID, ...] = ()  # the waits for which it is put down
    waited: bool = False  # it has begun waits, some of which may be open
    accounts: tuple[uuid.UUID, ...] = ()  # the runs whose budgets it may be put down for
    continues: str | None = None  # the payload of its next round (JSON)
    timeout: float | None = None  # seconds within which the next round has to end
    used: str | None = None  # what it has used in this stay, by unit (JSON); None: nothing that it said


class EndingRow(NamedTuple):
    """What a run will end as, once its hook has been called."""

    run_id: uuid.UUID
    token: int
    ending: str  # JSON


#: What a stay hands over beside its snapshots.
WaitsRow = WaitRow | SpawnRow | GiveUpRow | ReplyRow | EndingRow


class RollupKey(NamedTuple):
    kind: str
    task: str
    queue: int
    name: str
    version: str
    status: str
    bucket: int


class Counts(NamedTuple):
    """What a statement has ended, for the rollups: a run, its attempt, or both."""

    task: str
    queue: int
    version: str
    worker: int | None
    status: str
    age: float | None  # seconds of the run's life; None: it is not over
    attempt: str | None  # the status with which the attempt was left
    seconds: float | None  # of that attempt; None: there is none to count


class ErrorKey(NamedTuple):
    """Where failed tries of one kind are counted."""

    fingerprint: str
    task: str
    step: str  # its name; empty outside of steps
    version: str


class ErrorRow(NamedTuple):
    """A group of failures that was met just now."""

    fingerprint: str
    type: str
    message: str  # without what differs from try to try
    tasks: set[str]
    example: uuid.UUID


class Stopped(NamedTuple):
    """A run that is over, or will be when its worker has stopped it (status `cancelling`)."""

    id: uuid.UUID
    status: str
    pool: str


class Intent(NamedTuple):
    """An unsafe step that was begun, and of which nothing is known since."""

    name: str
    key: str
    input: str | None


class UsageRow(NamedTuple):
    """What a run has used. `accounts` are the runs whose budgets it draws on."""

    run_id: uuid.UUID
    attempt: int
    task: str
    unit: str
    amount: Decimal
    accounts: tuple[uuid.UUID, ...] = ()


class Balance(NamedTuple):
    """A budget: what may be used of a unit, and has been."""

    account: uuid.UUID
    unit: str
    amount: Decimal
    spent: Decimal


class BeatRow(NamedTuple):
    """The latest heartbeat of a step, or that none is needed any more."""

    run_id: uuid.UUID
    key: str
    attempt: int
    details: str | None  # JSON
    at: float
    over: bool = False

    def followed_by(self, newer: BeatRow) -> BeatRow:
        """The newer one says everything."""
        return newer


class ProgressRow(NamedTuple):
    """How far a run is, and its metadata. None: as it was."""

    run_id: uuid.UUID
    value: float | None
    words: str | None
    metadata: str | None  # JSON

    def followed_by(self, newer: ProgressRow) -> ProgressRow:
        """Both in one: the newer one's, where it says something."""
        value, words = (self.value, self.words) if newer.value is None else (newer.value, newer.words)
        return ProgressRow(self.run_id, value, words, newer.metadata if newer.metadata is not None else self.metadata)


class RetryFacts(NamedTuple):
    """What the attempts of a run that has failed have come to."""

    id: uuid.UUID
    task: str
    attempt: int  # number of the current or last one
    numbers: list[int]  # of the last attempts that have ended, the latest first
    prints: list[str | None]  # the fingerprints of their errors
    steps: dict[str, int]  # attempt's number → new things that it finished
    made_in: int | None  # the attempt that finished the last new thing
    made_at: datetime | None
    made: str | None  # its key; empty for a checkpoint
    spent: dict[str, str]  # unit → amount used since
    type: str | None  # of the run's last error
    message: str | None


#: (account, unit) → amount.
Charges = Mapping[tuple[uuid.UUID, str], Decimal]
