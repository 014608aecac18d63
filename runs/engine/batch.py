"""What one transaction of the writer writes: the rows of many runs, sorted by kind, and the statements for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Final, Protocol
from uuid import UUID

from psycopg import Cursor
from psycopg.rows import TupleRow

from queues import store as queue_store
from runs import store
from runs.engine.acks import Ack
from runs.engine.outcome import Fenced
from runs.engine.port import Sample
from runs.engine.tail import LogTail
from runs.engine.tally import Known, Tally
from runs.errors import UnknownQueue
from runs.histogram import bucket

#: Children that one statement enqueues.
SPAWN: Final = 2_000
#: Kinds of waits that end by the clock alone.
UNSHARED: Final = ("sleep", "retry")

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


class Stay(Protocol):
    """A run in this worker's hands; `lost` when it is in nobody's, or in others', without having ended here."""

    @property
    def lost(self) -> bool: ...


@dataclass(slots=True)
class Operation:
    """One thing to make durable, whom to tell, and what to count."""

    row: Row | None
    ack: Ack = None
    samples: Sequence[Sample] = ()
    size: int = 0  # characters of text, roughly
    last: bool = False  # stands for a row that was refused: no more is tried
    refused: BaseException | None = None  # why the row was left out of a commit that its neighbours are in
    tail: LogTail | None = None  # lines that have to be written before it
    stay: Stay | None = None  # whose it is, where it must not be written once that is lost

    def leave_out(self) -> None:
        """Whoever waits for it hears that its stay is over."""
        self.row, self.samples, self.refused = None, (), Fenced()


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
    #: What failed, by fingerprint.
    failures: Tally = field(default_factory=lambda: Tally(Known()))

    @classmethod
    def of(cls, operations: list[Operation], known: Known | None = None) -> Batch:
        batch = cls(operations, failures=Tally(known or Known()))
        for operation in operations:
            row = operation.row
            if isinstance(row, store.SnapshotRow):
                batch.snapshots.append(row)
                batch.failures.add(row, operation.samples)
            elif isinstance(row, store.LogRow):
                batch.logs.append(row)
            elif isinstance(row, store.ChunkRow):
                batch.chunks.append(row)
            elif isinstance(row, store.FinishRow):
                batch.finishes.append(row)
                batch.failures.add(row, operation.samples)
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
            if row.continues is not None:
                runs.add(row.run_id)
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

    def write(self, cur: Cursor[TupleRow]) -> None:
        """Its rows, but for usage, rollups and failures, in the order that locks ask for: waits, leases, runs."""
        if self.given_up:
            store.give_up_waits(cur, [wait for row in self.given_up for wait in row.ids])
        if self.replies:
            store.answer_updates(cur, self.replies)
        if self.waits:
            store.open_waits(cur, self.waits)
        for spawn in self.spawns:
            _spawn(cur, self, spawn)
        if self.snapshots:
            store.add_snapshots(cur, self.snapshots)
        if self.logs:
            store.add_logs(cur, self.logs)
        if self.chunks:
            store.add_chunks(cur, self.chunks)
        if self.progress:
            store.set_progress(cur, self.progress)
        if self.beats:
            store.set_beats(cur, self.beats)
        if self.endings:
            store.set_endings(cur, self.endings)
        if self.finishes:
            finishes = _those_answered_return(cur, self.finishes)
            queue_store.release(
                cur,
                ids=[row.run_id for row in finishes],
                tokens=[row.token for row in finishes],
                delays=[row.delay for row in finishes],
                used=[row.used for row in finishes],
            )
            if continued := [row for row in finishes if row.continues is not None]:
                # Not before: what is given up may have begun in this very batch.
                store.give_up_waits(cur, [wait for row in continued for wait in row.parked])
                store.continue_runs(cur, continued)
            self.pools |= store.finish(cur, finishes)


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
