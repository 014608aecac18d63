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
from typing import Final, cast
from uuid import UUID

import psycopg
from psycopg import Cursor
from psycopg.rows import TupleRow

from holdfast import db
from queues import store as queue_store
from runs import store
from runs.engine import failure
from runs.engine.acks import Ack, resolve
from runs.engine.batch import Batch, Operation, Stay
from runs.engine.duty import Duty
from runs.engine.outcome import Fenced
from runs.engine.port import Sample
from runs.engine.tail import LogTail, Trim
from runs.engine.tally import Known
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
#: The status of a run, and of its attempt, whose outcome PostgreSQL does not take.
_REFUSED: Final = (Status.FAILED, AttemptStatus.FAILED)


class Writer(Duty):
    """Writes batches until it is closed.

    Args:
        worker: Id of the worker's row.
        committed: Called after each commit with the batch (in this thread).
        fenced: Called once when the worker turns out to have been declared lost.
        trim: Called with a run whose log has grown so much that its oldest lines may have to go.
        stay: Whose rows of a run are: those that are put now.
        reconnected: Called after each connect, with what asks for the worker's leases, to find stays that are lost.
    """

    def __init__(
        self,
        worker: int,
        committed: Callable[[Batch], None],
        fenced: Callable[[], None],
        trim: Trim,
        stay: Callable[[UUID], Stay | None],
        reconnected: Callable[[Callable[[], dict[UUID, int]]], object],
    ) -> None:
        super().__init__("writer")
        self._worker = worker
        self._committed = committed
        self._on_fenced = fenced
        self._trim = trim
        self._stay = stay
        self._reconnected = reconnected
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
        self._known = Known()
        self._conn: queue_store.Conn | None = None

    # ── what the rest of the worker calls, from any thread ───────────────────────────────────────────────────────

    def put_snapshot(self, row: store.SnapshotRow, ack: Ack, *samples: Sample) -> None:
        """`ack` is settled when the snapshot is durable."""
        size = len(row.input or "") + len(row.output or "") + len(row.state or "")
        self._put(Operation(row, ack, samples, size, stay=self._stay(row.run_id)))

    def wait_for_room(self) -> None:
        """Holds a thread while too much waits to be written; an event loop is never held."""
        if not self._room.is_set() and not _in_event_loop():
            self._room.wait()

    def put_chunk(self, row: store.ChunkRow) -> None:
        """Never waits: callers come through `wait_for_room` before they lock anything."""
        self._put(Operation(row, size=len(row.data or ""), stay=self._stay(row.run_id)))

    def put_log(self, row: store.LogRow, tail: LogTail) -> None:
        """The line joins its run's others; threads wait when these are too many."""
        if tail.add(row, may_wait=not _in_event_loop()):
            self._put(Operation(None, tail=tail))

    def put_finish(self, row: store.FinishRow, samples: Sequence[Sample], tail: LogTail | None = None) -> None:
        """After the lines of `tail`: whoever reads that a run has ended finds all that it said."""
        self._put(Operation(row, None, samples, len(row.output or ""), tail=tail, stay=self._stay(row.run_id)))

    def give_back(self, row: store.FinishRow) -> None:
        """A lease of which no stay has begun here."""
        self._put(Operation(row))

    def put_wait(self, row: store.WaitsRow, ack: Ack = None) -> None:
        """`ack` is settled when the wait is durable, or with why it was refused."""
        size = sum(map(len, row.new.payloads)) if isinstance(row, store.SpawnRow) else 0
        size += 2 * len(row.reply or "") if isinstance(row, store.ReplyRow) else 0
        self._put(Operation(row, ack, size=size, stay=self._stay(row.run_id)))

    def put_progress(self, row: store.ProgressRow) -> None:
        self._put(Operation(row, size=len(row.metadata or ""), stay=self._stay(row.run_id)))

    def put_beat(self, row: store.BeatRow) -> None:
        self._put(Operation(row, size=len(row.details or ""), stay=self._stay(row.run_id)))

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
        try:
            batch = self._commit(operations)
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
        self._known.told(batch.failures.groups)
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

    def _commit(self, operations: list[Operation]) -> Batch:
        self._number += 1
        batch = self._batch(operations)
        while True:
            try:
                if (conn := self._conn) is None:
                    conn = self._conn = db.connect("writer")
                    if self._is_recorded(conn):
                        return batch
                    batch = self._batch(operations)
                self._transact(conn, batch)
                return batch
            except psycopg.Error as error:
                if error.sqlstate == queue_store.FENCED:
                    raise Fenced from None
                if error.sqlstate == queue_store.RECORDED:
                    return batch  # by our broken connection, whose server had not noticed when we asked
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

    def _batch(self, operations: list[Operation]) -> Batch:
        """Without what stays wrote that are lost: it would stand in the history of runs that others have."""
        for operation in operations:
            if operation.stay is not None and operation.stay.lost:
                operation.leave_out()
        return Batch.of(operations, self._known)

    def _is_recorded(self, conn: queue_store.Conn) -> bool:
        """After reconnecting: whether this batch had been committed before the connection broke. Stays that are lost
        are left before that is asked: a lease that this very batch has given back is not."""
        self._reconnected(lambda: queue_store.held(conn, self._worker))
        last = queue_store.last_batch(conn, self._worker)
        if last is None:
            raise Fenced
        return last >= self._number

    def _transact(self, conn: queue_store.Conn, batch: Batch) -> None:
        """One round trip: BEGIN, the fence, the rows, COMMIT. Locks: waits, budgets, leases, runs, error groups."""
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
            batch.write(cur)
            if batch.rollups:
                store.add_rollups(cur, self._worker, batch.rollups)
            if batch.failures.counts:
                store.add_errors(cur, self._worker, batch.failures.counts, batch.failures.groups)
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


def _name(row: object) -> str:
    """What a refused row is, without its text, which may be long."""
    return f"{type(row).__name__} of run {getattr(row, 'run_id', None)}"


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
