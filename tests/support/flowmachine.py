"""The stores under any sequence of moves: workers that lease, write, die and come back, beside people who steer.

Every worker here is a registration, a lease and the writer of a real worker, driven by hand and in one thread, so that
Hypothesis can shrink what it finds.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from uuid import UUID

import psycopg
from django.db import connection

from holdfast import db
from holdfast.access.grants import Actor
from queues import services as queue_services
from queues import store as queue_store
from runs import answers, services, store
from runs.engine import recovery, upkeep
from runs.engine.batch import Operation, Row
from runs.engine.outcome import Fenced
from runs.engine.port import Sample
from runs.engine.waiting import wait_id
from runs.engine.writer import Writer
from runs.errors import WrongState
from runs.models import RollupKind, SnapshotKind
from runs.states import FINAL, MOVES, Status
from tests.support.waiting import eventually

QUEUE, TASK = "machine", "machine"
ACTOR = Actor.system("machine")
TABLES = (
    "runs_run, runs_attempt, runs_snapshot, runs_logline, runs_wait, runs_signal, runs_deadline, runs_rollup, "
    "queues_entry, queues_timer, queues_lease, queues_worker, queues_turn, queues_note, queues_queue, runs_task"
)


@dataclass(eq=False)
class Hand:
    """A worker."""

    id: int
    beat: db.Conn
    writer: Writer
    held: dict[UUID, store.Started] = field(default_factory=dict)
    sequences: dict[UUID, int] = field(default_factory=dict)
    opened: dict[UUID, UUID] = field(default_factory=dict)
    frozen: bool = False


class Flow:
    """Moves, and what has to hold after each."""

    def __init__(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"TRUNCATE {TABLES} CASCADE")
        self.conn = db.connect("machine")
        self.conn.execute("INSERT INTO queues_queue (name, concurrency_limit) VALUES (%s, 2)", [QUEUE])
        row = {"id": TASK, "module": "m", "doc": "", "queue": QUEUE, "lane": 0, "retry": "{}", "max_duration": None}
        store.register_task(
            self.conn, {**row, "payload_schema": "{}", "output_schema": "{}", "version": "1", "hooks": []}
        )
        self.hands: list[Hand] = []
        self.ids: list[UUID] = []
        self.statuses: dict[UUID, str] = {}
        self.stored: dict[UUID, int] = {}
        self.parked: dict[UUID, UUID] = {}
        self.reopened: Counter[str] = Counter()
        self.watch = recovery.Watch(timeout=15.0)
        self.limit = 2
        self.waits = 0
        recovery.CERTAIN = recovery.SETTLED = 0.0  # type: ignore[misc]

    def close(self) -> None:
        for hand in self.hands:
            hand.beat.close()
            if hand.writer._conn is not None:
                hand.writer._conn.close()
        self.conn.close()

    # ── moves of workers ─────────────────────────────────────────────────────────────────────────────────────────

    def register(self) -> None:
        beat = db.connect("machine beat")
        worker = queue_store.worker_register(
            beat,
            name=f"hand-{len(self.hands)}",
            pools=["default"],
            hostname="h",
            pid=1,
            version="",
            coroutines=9,
            threads=9,
            processes=1,
        )
        writer = Writer(
            worker, lambda batch: None, lambda: None, lambda run_id: None, lambda run_id: None, lambda held: None
        )
        self.hands.append(Hand(worker, beat, writer))

    def lease(self, hand: Hand, most: int) -> None:
        before = self.leases()
        with self.conn.transaction():
            grants = queue_store.lease(
                self.conn, worker=hand.id, pools=["default"], coroutines=most, threads=0, processes=0
            ).grants
            started = store.start(self.conn, worker=hand.id, grants=grants, versions="{}") if grants else []
        assert self.leases() <= max(self.limit, before), "more runs than the limit"
        assert not (grants and hand.frozen and self.lost(hand)), "a lost worker leased"
        store.settle_waits(self.conn, [run.id for run in started])
        for run in started:
            hand.held[run.id] = run
            hand.opened.pop(run.id, None)
            last = self.conn.execute(
                "SELECT coalesce(max(sequence), 0) FROM runs_snapshot WHERE run_id = %s", [run.id]
            ).fetchone()
            hand.sequences[run.id] = last[0] if last else 0

    def step(self, hand: Hand, run_id: UUID) -> None:
        run, number = hand.held[run_id], hand.sequences[run_id] + 1
        row = store.SnapshotRow(
            run_id, number, SnapshotKind.STEP, "s", f"s#{number}", run.attempt, None, "1", None, None, 1.0, 2.0
        )
        if self.write(hand, row):
            hand.sequences[run_id] = number
            self.stored[run_id] = self.stored.get(run_id, 0) + 1

    def open(self, hand: Hand, run_id: UUID) -> None:
        """A branch of the run begins to wait for a signal; the run goes on."""
        row = self.wait_row(hand, run_id, "signal")
        if self.write(hand, row):
            hand.opened[run_id] = row.id

    def put_down(self, hand: Hand, run_id: UUID, kind: str) -> None:
        """The run waits: for a signal, one that it has begun to wait for before if there is one, or for a moment."""
        rows: list[Row] = []
        opened = hand.opened.get(run_id)
        if kind == "sleep" or opened is None:
            rows.append(row := self.wait_row(hand, run_id, kind))
            opened = row.id if kind == "signal" else None
        delay = 0.001 if opened is None else float("inf")
        finish = self.finish_row(hand, run_id, "waiting", None, delay=delay)
        if self.write(hand, *rows, finish._replace(parked=(opened,) if opened else (), waited=True)):
            del hand.held[run_id]
            hand.opened.pop(run_id, None)
            self.parked.pop(run_id, None)
            if opened is not None:
                self.parked[run_id] = opened

    def wait_row(self, hand: Hand, run_id: UUID, kind: str) -> store.WaitRow:
        self.waits += 1
        key = f"{kind}:x#{self.waits}"
        delay = None if kind == "signal" else 0.001
        return store.WaitRow(run_id, wait_id(run_id, key), key, kind, "x", self.waits, delay, None, None)

    def finish(self, hand: Hand, run_id: UUID, how: str) -> None:
        attempt = {"completed": "completed", "failed": "failed", "retrying": "failed", "cancelled": "cancelled"}.get(
            how
        )
        delay = {"retrying": 0.001, "queued": 0.0}.get(how)
        row = self.finish_row(hand, run_id, how, attempt, delay=delay)
        samples = self.samples(hand, run_id, row)
        if self.write(hand, row._replace(waited=True), samples=samples):
            del hand.held[run_id]

    def samples(self, hand: Hand, run_id: UUID, row: store.FinishRow) -> list[Sample]:
        """What a worker counts of it."""
        of, version = hand.held[run_id].queue_id, "1"
        run: list[Sample] = [(RollupKind.RUN, TASK, of, "", version, row.status, 1.0)] if row.delay is None else []
        return run + ([(RollupKind.ATTEMPT, TASK, of, "", version, row.attempt, 1.0)] if row.attempt else [])

    def obey(self, hand: Hand) -> None:
        """Stops what is to be stopped."""
        for run_id, status in store.to_stop(self.conn, hand.id).items():
            if run_id in hand.held:
                self.finish(hand, run_id, "cancelled")
                assert self.status(run_id) in {status, *map(str, FINAL)}

    def finish_row(
        self, hand: Hand, run_id: UUID, status: str, attempt: str | None, *, delay: float | None
    ) -> store.FinishRow:
        token = hand.held[run_id].token
        output = "1" if status == "completed" else None
        return store.FinishRow(run_id, token, status, attempt, output, None, int(attempt == "failed"), delay, None)

    def write(self, hand: Hand, *rows: Row, samples: list[Sample] | None = None) -> bool:
        """One group commit. False for a worker that was declared lost: it must have changed nothing."""
        before = self.picture() if hand.frozen and self.lost(hand) else None
        try:
            hand.writer._write([Operation(row, samples=samples or ()) for row in rows])
        except Fenced:
            assert self.lost(hand)
            assert before is None or self.picture() == before, "a stale worker wrote"
            hand.held.clear()
            return False
        assert before is None, "a stale worker was not refused"
        return True

    def freeze(self, hand: Hand) -> None:
        """It says nothing any more; it may come back."""
        hand.frozen = True
        self.conn.execute(
            "UPDATE queues_worker SET heartbeat_at = now() - interval '1 hour' WHERE id = %s AND lost_at IS NULL",
            [hand.id],
        )

    def kill(self, hand: Hand) -> None:
        """Its locks are free afterwards: what comes next is the same whenever the server gets to it."""
        sessions = [conn for conn in (hand.beat, hand.writer._conn) if conn is not None and not conn.closed]
        pids = [conn.info.backend_pid for conn in sessions]
        for conn in sessions:
            conn.close()
        left = "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY(%s)"
        eventually(lambda: not self.one(left, pids), "its sessions are gone")
        hand.held.clear()
        self.hands.remove(hand)

    # ── moves of others ──────────────────────────────────────────────────────────────────────────────────────────

    def enqueue(self, count: int, *, delayed: bool) -> None:
        new = store.NewRuns(TASK, QUEUE, 0, ["{}"] * count, 3, delay=0.001 if delayed else None)
        self.ids += store.enqueue(self.conn, new)[0]

    def signal(self, run_id: UUID, number: int) -> None:
        try:
            answers.run_signal(run_id, "x", number, actor=ACTOR)
        except WrongState:
            assert self.status(run_id) in FINAL

    def cancel(self, run_id: UUID) -> None:
        try:
            services.run_cancel(run_id, actor=ACTOR)
        except WrongState:
            assert self.status(run_id) in {*map(str, FINAL), "cancelling"}

    def retry(self, run_id: UUID) -> None:
        before = self.status(run_id)
        try:
            services.run_retry(run_id, actor=ACTOR)
            self.reopened[before] += 1
        except WrongState:
            assert self.status(run_id) not in {"failed", "cancelled", "crashed"}

    def set_limit(self, limit: int) -> None:
        queue_services.queue_update(QUEUE, ACTOR, concurrency_limit=limit)
        self.limit = limit

    def recover(self) -> None:
        self.watch.look(self.conn)

    def pass_time(self) -> None:
        """Whatever is to happen later is due now."""
        self.conn.execute("UPDATE queues_timer SET due_at = holdfast_now() WHERE due_at > holdfast_now()")

    def tick(self) -> None:
        upkeep.promote_timers(self.conn)

    # ── what has to hold ─────────────────────────────────────────────────────────────────────────────────────────

    def leases(self) -> int:
        return self.one("SELECT count(*) FROM queues_lease")

    def status(self, run_id: UUID) -> str:
        return str(self.one("SELECT status FROM runs_run WHERE id = %s", run_id))

    def lost(self, hand: Hand) -> bool:
        return bool(self.one("SELECT lost_at IS NOT NULL FROM queues_worker WHERE id = %s", hand.id))

    def one(self, query: str, *values: object) -> int:
        row = self.conn.execute(query, values).fetchone()
        assert row is not None
        return row[0]

    def picture(self) -> str:
        """Everything that a worker may change."""
        tables = (
            "runs_run",
            "runs_attempt",
            "runs_snapshot",
            "runs_wait",
            "queues_entry",
            "queues_timer",
            "queues_lease",
        )
        parts = [
            self.conn.execute(f"SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {table} t").fetchone()
            for table in tables
        ]
        return json.dumps(parts)

    def check(self) -> None:
        rows = self.conn.execute("""
            SELECT r.id, r.status, r.lease_token, l.token, r.finished_at IS NOT NULL,
                   (SELECT count(*) FROM queues_entry e WHERE e.entry_id = r.id),
                   (SELECT count(*) FROM queues_timer t WHERE t.entry_id = r.id),
                   (SELECT count(*) FROM runs_attempt a WHERE a.run_id = r.id AND a.finished_at IS NULL),
                   (SELECT count(*) FROM runs_snapshot s WHERE s.run_id = r.id AND s.kind = 'step'),
                   (SELECT coalesce(max(s.sequence), 0) FROM runs_snapshot s WHERE s.run_id = r.id)
            FROM runs_run r LEFT JOIN queues_lease l ON l.entry_id = r.id""").fetchall()
        assert len(rows) == len(self.ids), "a run is lost"
        for run_id, status, token, leased, final, entries, timers, open_attempts, steps, last in rows:
            places = entries + timers + (leased is not None)
            assert token == leased, f"{run_id}: the run and its lease disagree"
            assert places == (0 if final else 1), f"{run_id} is {status} and in {places} places"
            assert open_attempts <= (0 if final else 1), f"{run_id} is {status} with {open_attempts} open attempts"
            assert steps == self.stored.get(run_id, 0), f"{run_id}: a step was lost or doubled"
            assert steps == last, f"{run_id}: a gap in its snapshots"
            assert reachable(self.statuses.get(run_id), status), f"{run_id}: {self.statuses.get(run_id)} → {status}"
            self.statuses[run_id] = status
            if timers and status == "waiting" and run_id in self.parked:
                answered = self.one("SELECT resolved_at IS NOT NULL FROM runs_wait WHERE id = %s", self.parked[run_id])
                assert not answered, f"{run_id}: answered, and nobody woke it"
        assert not self.one("""
            SELECT count(*) FROM runs_wait w WHERE w.kind = 'signal' AND w.outcome = 'completed'
              AND (SELECT count(*) FROM runs_signal s WHERE s.wait_id = w.id) <> 1"""), "a signal was lost or shared"
        ended = self.by_status("SELECT status, count(*) FROM runs_run WHERE finished_at IS NOT NULL GROUP BY status")
        assert self.counted("run") == ended + self.reopened, "an end was not counted, or twice"
        left = self.by_status("SELECT status, count(*) FROM runs_attempt WHERE finished_at IS NOT NULL GROUP BY status")
        assert self.counted("attempt") == left, "an attempt was not counted, or twice"

    def counted(self, kind: str) -> Counter[str]:
        return self.by_status("SELECT status, sum(count)::int FROM runs_rollup WHERE kind = %s GROUP BY status", kind)

    def by_status(self, query: str, *values: object) -> Counter[str]:
        return Counter(dict(self.conn.execute(query, values)))


def reachable(old: str | None, new: str) -> bool:
    """In at most three allowed moves: a rule may make several."""
    if old is None or old == new:
        return True
    seen = {Status(old)}
    for _ in range(3):
        seen |= {after for status in seen for after in MOVES[status]}
    return Status(new) in seen


__all__ = ["Flow", "Hand", "psycopg"]
