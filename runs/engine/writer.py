"""The one writer of a worker: everything that must last, in group commits (DESIGN D3).

`step()` returns when its snapshot is durable, but the snapshots, log lines, ends of attempts and rollups of the last
few milliseconds share one transaction and one round trip. While a commit waits for the disk, the next batch gathers;
that is the whole scheduling.

A batch is numbered in the worker's own row, in the same transaction. So a commit whose acknowledgement was lost is
recognised after reconnecting and not repeated, and a worker that was declared lost is refused (`HF001`).
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Final, cast
from uuid import UUID

import psycopg
from psycopg import Cursor
from psycopg.rows import TupleRow

from holdfast import db
from queues import store as queue_store
from runs import store
from runs.engine import failure
from runs.engine.acks import Ack, resolve
from runs.engine.duty import Duty
from runs.engine.outcome import Fenced
from runs.engine.port import Sample
from runs.engine.tail import LogTail, Trim
from runs.errors import UnknownQueue
from runs.histogram import bucket
from runs.states import AttemptStatus, Status

logger = logging.getLogger("holdfast.writer")

#: Operations of one commit at most: keeps a commit short, and memory flat.
MAX_BATCH: Final = 2_000
#: Operations that may wait to be written before streams in threads have to wait.
MAX_WAITING: Final = 50_000
#: Seconds between two commits for which nobody waits (ends of attempts, log lines): small ones gather meanwhile.
PACE: Final = 0.01
#: Seconds between attempts to reach PostgreSQL again.
RECONNECT: Final = 0.2
#: Characters of text of one commit at most (a single larger row goes alone).
MAX_TEXT: Final = 32 * 1024 * 1024
_CUT: Final = (psycopg.OperationalError, psycopg.InterfaceError)
#: Children that one statement enqueues.
SPAWN: Final = 2_000
#: Kinds of waits that end by the clock alone.
UNSHARED: Final = ("sleep", "retry")
#: The status of a run, and of its attempt, whose outcome PostgreSQL does not take.
_REFUSED: Final = (Status.FAILED, AttemptStatus.FAILED)

Row = (
    store.SnapshotRow
    | store.LogRow
    | store.ChunkRow
    | store.FinishRow
    | store.WaitRow
    | store.SpawnRow
    | store.GiveUpRow
    | store.ReplyRow
    | store.EndingRow
    | store.UsageRow
    | store.ProgressRow
    | store.BeatRow
)


@dataclass(slots=True)
class Operation:
    """One thing to make durable, whom to tell, and what to count."""

    row: Row | None
    ack: Ack = None
    samples: Sequence[Sample] = ()
    size: int = 0  # characters of text, roughly
    last: bool = False  # stands for a row that was refused: no more is tried
    refused: Exception | None = None  # why the row was left out of a commit that its neighbours are in
    tail: LogTail | None = None  # lines that have to be written before it


@dataclass(slots=True)
class Batch:
    """What one transaction writes."""

    operations: list[Operation]
    snapshots: list[store.SnapshotRow] = field(default_factory=list)
    logs: list[store.LogRow] = field(default_factory=list)
    chunks: list[store.ChunkRow] = field(default_factory=list)
    finishes: list[store.FinishRow] = field(default_factory=list)
    waits: list[store.WaitRow] = field(default_factory=list)
    spawns: list[Operation] = field(default_factory=list)
    given_up: list[store.GiveUpRow] = field(default_factory=list)
    replies: list[store.ReplyRow] = field(default_factory=list)
    endings: list[store.EndingRow] = field(default_factory=list)
    progress: list[store.ProgressRow] = field(default_factory=list)
    beats: list[store.BeatRow] = field(default_factory=list)
    usage: list[store.UsageRow] = field(default_factory=list)
    #: What is drawn on budgets, and the balances after it.
    charges: dict[tuple[UUID, str], Decimal] = field(default_factory=dict)
    balances: list[store.Balance] = field(default_factory=list)
    #: Pools that have work by this commit.
    pools: set[str] = field(default_factory=set)
    rollups: dict[store.RollupKey, tuple[int, float]] = field(default_factory=dict)

    @classmethod
    def of(cls, operations: list[Operation]) -> Batch:
        batch = cls(operations)
        for operation in operations:
            row = operation.row
            if isinstance(row, store.SnapshotRow):
                batch.snapshots.append(row)
            elif isinstance(row, store.LogRow):
                batch.logs.append(row)
            elif isinstance(row, store.ChunkRow):
                batch.chunks.append(row)
            elif isinstance(row, store.FinishRow):
                batch.finishes.append(row)
            elif isinstance(row, store.WaitRow):
                batch.waits.append(row)
            elif isinstance(row, store.SpawnRow):
                batch.spawns.append(operation)
            elif isinstance(row, store.UsageRow):
                batch.usage.append(row)
            elif isinstance(row, store.ProgressRow):
                batch.progress.append(row)
            elif isinstance(row, store.BeatRow):
                batch.beats.append(row)
            elif isinstance(row, store.EndingRow):
                batch.endings.append(row)
            elif isinstance(row, store.ReplyRow):
                batch.replies.append(row)
                batch.snapshots += [row.snapshot] if row.snapshot is not None else []
            elif row is not None:
                batch.given_up.append(row)
            for sample in operation.samples:
                key = store.RollupKey(*sample[:6], bucket(sample[6]))
                count, seconds = batch.rollups.get(key, (0, 0.0))
                batch.rollups[key] = (count + 1, seconds + sample[6])
        batch.charges = store.charges(batch.usage)
        return batch

    def to_lock(self) -> set[UUID]:
        """The runs whose waits this commit may open for others, give up or rely on, and the parents that wait."""
        runs = {row.run_id for row in self.waits if row.kind not in UNSHARED}
        runs |= {row.run_id for row in self.given_up}
        runs |= {row.run_id for row in self.replies}
        runs |= {UUID(row.name) for row in self.waits if row.kind == "budget"}
        for spawn in self.spawns:
            assert spawn.row is not None
            runs.add(spawn.row.run_id)
        for row in self.finishes:
            if row.parked:
                runs.update((row.run_id, *row.accounts))
            if row.parent is not None:
                runs.add(row.parent)
        return runs

    @property
    def run_ids(self) -> set[UUID]:
        rows: list[Any] = [
            *self.snapshots,
            *self.logs,
            *self.chunks,
            *self.finishes,
            *self.waits,
            *self.replies,
            *self.usage,
            *self.progress,
            *self.beats,
        ]
        return {row.run_id for row in rows}


class Writer(Duty):
    """Writes batches until it is closed.

    Args:
        worker: Id of the worker's row.
        committed: Called after each commit with the batch (in this thread).
        fenced: Called once when the worker turns out to have been declared lost.
        trim: Called with a run whose log has grown so much that its oldest lines may have to go.
    """

    def __init__(self, worker: int, committed: Callable[[Batch], None], fenced: Callable[[], None], trim: Trim) -> None:
        super().__init__("writer")
        self._worker = worker
        self._committed = committed
        self._on_fenced = fenced
        self._trim = trim
        self._grown: list[UUID] = []  # runs with a long log, to be looked at after the commit
        self._waiting: deque[Operation] = deque()
        self._wake = threading.Event()
        self._urgent = threading.Event()
        self._last = 0.0
        self._room = threading.Event()
        self._room.set()
        self._closing = False
        self._refused = False
        self._number = 0
        self._conn: queue_store.Conn | None = None

    # ── what the rest of the worker calls, from any thread ───────────────────────────────────────────────────────

    def put_snapshot(self, row: store.SnapshotRow, ack: Ack, *samples: Sample) -> None:
        """`ack` is settled when the snapshot is durable."""
        self._put(Operation(row, ack, samples, len(row.input or "") + len(row.output or "") + len(row.state or "")))

    def wait_for_room(self) -> None:
        """Holds a thread while too much waits to be written; an event loop is never held."""
        if not self._room.is_set() and not _in_event_loop():
            self._room.wait()

    def put_chunk(self, row: store.ChunkRow) -> None:
        """Never waits: callers come through `wait_for_room` before they lock anything."""
        self._put(Operation(row, size=len(row.data or "")))

    def put_log(self, row: store.LogRow, tail: LogTail) -> None:
        """The line joins its run's others; threads wait when these are too many."""
        if tail.add(row, may_wait=not _in_event_loop()):
            self._put(Operation(None, tail=tail))

    def put_finish(self, row: store.FinishRow, samples: Sequence[Sample], tail: LogTail | None = None) -> None:
        """After the lines of `tail`: whoever reads that a run has ended finds all that it said."""
        self._put(Operation(row, None, samples, len(row.output or ""), tail=tail))

    def put_wait(
        self,
        row: store.WaitRow | store.SpawnRow | store.GiveUpRow | store.ReplyRow | store.EndingRow,
        ack: Ack = None,
    ) -> None:
        """`ack` is settled when the wait is durable, or with why it was refused."""
        size = sum(map(len, row.new.payloads)) if isinstance(row, store.SpawnRow) else 0
        size += 2 * len(row.reply or "") if isinstance(row, store.ReplyRow) else 0
        self._put(Operation(row, ack, size=size))

    def put_progress(self, row: store.ProgressRow) -> None:
        self._put(Operation(row, size=len(row.metadata or "")))

    def put_beat(self, row: store.BeatRow) -> None:
        self._put(Operation(row, size=len(row.details or "")))

    def put_usage(self, row: store.UsageRow) -> None:
        self._put(Operation(row))

    def count(self, samples: Sequence[Sample]) -> None:
        self._put(Operation(None, None, samples))

    def close(self, timeout: float) -> bool:
        """Writes what is waiting and ends. False when it could not in time."""
        self._closing = True
        self._wake.set()
        self.join(timeout)
        return not self.is_alive()

    def _put(self, operation: Operation) -> None:
        if self._refused:
            resolve([operation], Fenced())
            if operation.tail is not None:
                operation.tail.close()
            return
        self._waiting.append(operation)
        if len(self._waiting) > MAX_WAITING:
            self._room.clear()
        if operation.ack is not None and not self._urgent.is_set():
            self._urgent.set()
        if not self._wake.is_set():
            self._wake.set()

    # ── the thread ───────────────────────────────────────────────────────────────────────────────────────────────

    def serve(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            self._urgent.wait(self._last + PACE - time.monotonic())
            self._urgent.clear()
            while self._waiting:
                operations = self._take()
                try:
                    self._write(operations)
                except Fenced:
                    self._refuse(operations)
                    return
                while self._grown:  # only now: the trimmer does not see what is not committed
                    self._trim(self._grown.pop())
            if self._closing and not self._waiting:
                if self._conn is not None:
                    self._conn.close()
                return

    def _take(self) -> list[Operation]:
        operations: list[Operation] = []
        size = 0
        again: list[Operation] = []  # in the next round: a run that says a lot takes turns with the others
        while self._waiting and len(operations) < MAX_BATCH and size < MAX_TEXT:
            operation = self._waiting.popleft()
            if operation.tail is not None and self._take_lines(operation.tail, operations):
                again.append(operation)
            else:
                operations.append(operation)
            size += operation.size
        self._waiting.extend(again)
        if not self._room.is_set() and len(self._waiting) < MAX_WAITING // 2:
            self._room.set()
        return operations

    def _take_lines(self, tail: LogTail, operations: list[Operation]) -> bool:
        """Adds the next lines of a run. True when there are more."""
        rows, more = tail.take()
        operations += [Operation(row, size=len(row.message) + len(row.fields or "")) for row in rows]
        if tail.is_due():
            self._grown.append(tail.run_id)
        return more

    def _write(self, operations: list[Operation]) -> None:
        batch = Batch.of(operations)
        try:
            self._commit(batch)
        except psycopg.Error as error:
            if len(operations) == 1:
                self._refused_one(operations[0], error)
                return
            # One row that PostgreSQL refuses must not take its neighbours with it: each goes on its own.
            logger.warning("a batch of %d was refused (%s); writing its parts one by one", len(operations), error)
            for operation in operations:
                self._write([operation])
            return
        self._last = time.monotonic()
        resolve(operations, None)
        self._committed(batch)

    def _refused_one(self, operation: Operation, error: psycopg.Error) -> None:
        """Says so to whoever waits. A run whose outcome cannot be stored fails with that: it would be held for ever."""
        row = operation.row
        logger.error("PostgreSQL refused %s: %s", _name(row), str(error).strip().splitlines()[0])
        resolve([operation], error)
        if isinstance(row, store.FinishRow) and not operation.last:
            text = failure.encode(failure.describe(error))
            instead = store.FinishRow(row.run_id, row.token, *_REFUSED, None, text, 1, None, None)
            self._write([Operation(instead, last=True)])

    def _commit(self, batch: Batch) -> None:
        self._number += 1
        while True:
            try:
                if self._conn is None:
                    self._conn = db.connect("writer")
                    if self._is_recorded():
                        return
                self._transact(self._conn, batch)
                return
            except psycopg.Error as error:
                if error.sqlstate == queue_store.FENCED:
                    raise Fenced from None
                if error.sqlstate == queue_store.RECORDED:
                    return  # by our broken connection, whose server had not noticed when we asked
                if error.sqlstate is None and isinstance(error, _CUT) and self._conn is not None:
                    # Not the server's word, but what is left of a connection that was cut in the middle of a pipeline.
                    self._conn.close()
                if self._conn is not None and not self._conn.closed and not self._conn.broken:
                    if not db.is_passing(error):
                        raise  # the server lives and says no; the caller tells whom it concerns
                    if error.sqlstate == db.READ_ONLY:
                        self._conn.close()  # this session stays so, whatever becomes of the server
                        self._conn = None
                    logger.warning("PostgreSQL cannot write (%s); retrying", str(error).strip().splitlines()[0])
                else:
                    logger.warning("PostgreSQL is away (%s); retrying", str(error).strip().splitlines()[0])
                    self._conn = None
                threading.Event().wait(RECONNECT)

    def _is_recorded(self) -> bool:
        """After reconnecting: whether this batch had been committed before the connection broke."""
        assert self._conn is not None
        last = queue_store.last_batch(self._conn, self._worker)
        if last is None:
            raise Fenced
        return last >= self._number

    def _transact(self, conn: queue_store.Conn, batch: Batch) -> None:
        """One round trip: BEGIN, the fence, the rows, COMMIT. Lock order: waits, budgets, leases, then runs."""
        charged = conn.cursor()
        with conn.pipeline(), conn.transaction():
            cur = cast("Cursor[TupleRow]", db.Statements(conn))
            queue_store.begin_batch(cur, self._worker, self._number)
            if locked := batch.to_lock():
                store.lock_waits(cur, locked)
            if batch.usage:
                store.add_usage(cur, self._worker, batch.usage)
            if batch.charges:
                store.charge(charged, batch.charges)
            if batch.given_up:
                store.give_up_waits(cur, [wait for row in batch.given_up for wait in row.ids])
            if batch.replies:
                store.answer_updates(cur, batch.replies)
            if batch.waits:
                store.open_waits(cur, batch.waits)
            for spawn in batch.spawns:
                _spawn(cur, batch, spawn)
            if batch.snapshots:
                store.add_snapshots(cur, batch.snapshots)
            if batch.logs:
                store.add_logs(cur, batch.logs)
            if batch.chunks:
                store.add_chunks(cur, batch.chunks)
            if batch.progress:
                store.set_progress(cur, batch.progress)
            if batch.beats:
                store.set_beats(cur, batch.beats)
            if batch.endings:
                store.set_endings(cur, batch.endings)
            if batch.finishes:
                finishes = _those_answered_return(cur, batch.finishes)
                queue_store.release(
                    cur,
                    ids=[row.run_id for row in finishes],
                    tokens=[row.token for row in finishes],
                    delays=[row.delay for row in finishes],
                )
                batch.pools |= store.finish(cur, finishes)
            if batch.rollups:
                store.add_rollups(cur, self._worker, batch.rollups)
        if batch.charges:
            batch.balances = [store.Balance(*row) for row in charged.fetchall()]

    def _refuse(self, operations: list[Operation]) -> None:
        self._refused = True
        resolve(operations, Fenced())
        self._room.set()
        while self._waiting:
            operation = self._waiting.popleft()
            resolve([operation], Fenced())
            if operation.tail is not None:
                operation.tail.close()
        self._on_fenced()


def _spawn(cur: Cursor[TupleRow], batch: Batch, operation: Operation) -> None:
    """Runs that a run waits for, and the wait: both, or neither when there is no such queue."""
    row = operation.row
    assert isinstance(row, store.SpawnRow)
    operation.refused = None
    new = replace(row.new, parent_wait=row.wait.key)
    for at in range(0, len(new.payloads), SPAWN):
        ids, pool = store.enqueue(cur, replace(new, payloads=new.payloads[at : at + SPAWN]))
        if not ids:
            operation.refused = UnknownQueue(f"There is no queue {new.queue!r}; the children were not enqueued.")
            return
        batch.pools.add(pool)
    store.open_waits(cur, [row.wait])


def _those_answered_return(cur: Cursor[TupleRow], rows: list[store.FinishRow]) -> list[store.FinishRow]:
    """A run whose wait was answered while it was being put down comes back at once."""
    parked = [wait for row in rows for wait in row.parked]
    if not parked:
        return rows
    answered = store.answered(cur, parked)
    return [row._replace(delay=0.0) if row.run_id in answered and row.parked else row for row in rows]


def _name(row: object) -> str:
    """What a refused row is, without its text, which may be long."""
    return f"{type(row).__name__} of run {getattr(row, 'run_id', None)}"


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
