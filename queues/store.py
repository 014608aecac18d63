"""The only door to the narrow tables of flow. Every function takes an open psycopg connection and leaves the
transaction to its caller, except where it says otherwise. The SQL stands in `queues/sql`.

`ADD_INCOMING` and `ADD_READY` are pieces of SQL for statements of other apps: see `queues/sql/moves.sql`.
"""

from __future__ import annotations

import json
import secrets
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

from psycopg import Connection, Cursor
from psycopg.rows import TupleRow

from holdfast import sql
from queues.breaker import Breaker, NamedBreaker
from queues.declare import Queue
from queues.rate import Rate

SQL = sql.load(Path(__file__).parent / "sql")
ADD_INCOMING: Final[str] = SQL.add_incoming
ADD_READY: Final[str] = SQL.add_ready

#: Bits of the fencing tokens of leases, which are random: less than the 63 of a column, so that some can be added.
TOKEN_BITS: Final = 62
#: First key of the advisory locks that workers hold; the second is the worker's id. ("HOLD" in ASCII.)
LOCK_CLASS: Final = 0x484F4C44
#: SQLSTATE that `queues_begin_batch` raises for a worker that was declared lost.
FENCED: Final = "HF001"
#: SQLSTATE that it raises for a batch that is recorded already.
RECORDED: Final = "HF002"

#: Notes that one lease takes of a queue at most.
MOST_NOTES: Final = 5_000

#: Where the depth of a sample stops counting, which means "more"; and days for which samples are kept.
MOST_SAMPLED: Final = 10_001
SAMPLE_DAYS: Final = 31

Conn = Connection[TupleRow]


class Leased(NamedTuple):
    """What a lease brought, and when to look again."""

    grants: list[Grant]
    more: bool  # something may have been left out that could be leased at once
    opens: float | None  # seconds until a rate lets through what waits for it; None when none holds anything back
    away: int  # entries that were put aside for workers of another host


class Grant(NamedTuple):
    """A lease that was just given: the entry, its fencing token, its queue, its lane, and how long it had waited."""

    entry_id: uuid.UUID
    token: int
    queue_id: int
    lane: int
    waited: float  # seconds between ready and leased


@dataclass(frozen=True, slots=True)
class Suspect:
    """A worker that says it lives, and what speaks against it."""

    id: int
    name: str
    silent: bool  # its heartbeat is too old
    lock_tells: bool  # its lock was taken on this start of PostgreSQL: that it is free speaks for death
    heartbeat: float  # when it last gave a sign of life


class Seized(NamedTuple):
    """A lease that was taken from a worker that is gone."""

    entry_id: uuid.UUID
    token: int
    queue_id: int
    lane: int
    priority: int
    concurrency_key: str | None
    units: int
    leased_at: datetime


class Due(NamedTuple):
    """A timer that fell due: the entry, its pool, and how long ago that was."""

    entry_id: uuid.UUID
    pool: str
    late: float  # seconds


def peek(conn: Conn, *, pools: Sequence[str]) -> tuple[bool, bool, bool]:
    """Whether anything can be leased at all, whether some of it is in a queue with a limit, a rate or keys, and whether
    some may have a home."""
    row = conn.execute(SQL.peek, {"pools": list(pools)}, prepare=True).fetchone()
    assert row is not None
    return row[0], row[1], row[2]


def lease(
    conn: Conn,
    *,
    worker: int,
    pools: Sequence[str],
    coroutines: int,
    threads: int,
    processes: int = 0,
    limited: bool = True,
    homes: bool = True,
) -> Leased:
    """Leases up to `coroutines` + `threads` + `processes` entries. Call inside a transaction: queue locks are held to
    its end.

    `limited=False` leaves out queues with a limit or a rate, entries with a key, and the statement that locks their
    queues; `homes=False` is for when nothing has a home.
    """
    locked: list[tuple[int, bool, bool]] = []
    more = False
    if limited:
        locked = conn.execute(
            SQL.lock_queues, {"pools": list(pools), "worker": worker, "homes": homes}, prepare=True
        ).fetchall()
    if homes:
        conn.execute(SQL.come_home, {"worker": worker, "most": coroutines + threads + processes}, prepare=True)
    if noted := [queue for queue, _, has_notes in locked if has_notes or homes]:
        more = take_notes(conn, noted)
    rows = conn.execute(
        SQL.lease,
        {
            "worker": worker,
            "pools": list(pools),
            "coroutines": coroutines,
            "threads": threads,
            "processes": processes,
            "locked": [queue for queue, _, _ in locked],
            # Not of a sequence: one that had not reached the disk would give the same tokens again after a crash.
            "token": secrets.randbits(TOKEN_BITS),
        },
        prepare=True,
    ).fetchall()
    grants, away = [Grant(*row[:5]) for row in rows if row[0] is not None], 0
    served = Counter((row[2], row[3], row[5]) for row in rows if row[5] is not None)
    stale = json.loads(rows[0][7] or "[]")
    if served or stale:
        take_turns(conn, {**dict.fromkeys(map(tuple, stale), 0), **served})
    more = more or rows[0][6] or bool(stale)
    rated = [queue for queue, has_rate, _ in locked if has_rate]
    opens = next_opening(conn, rated) if rated else None
    if homes:
        if grants:
            ids = {"worker": worker, "ids": [grant.entry_id for grant in grants]}
            strangers = {row[0] for row in conn.execute(SQL.set_aside, ids, prepare=True).fetchall()}
            grants, away = [grant for grant in grants if grant.entry_id not in strangers], len(strangers)
        conn.execute(SQL.stay_home, {"worker": worker}, prepare=True)
    return Leased(grants, more, opens, away)


def take_notes(conn: Conn, queues: Sequence[int]) -> bool:
    """Sets the turns of keys about which there are notes, under the lock of their queues. Whether notes may be left."""
    row = conn.execute(SQL.take_notes, {"queues": list(queues), "most": MOST_NOTES}, prepare=True).fetchone()
    return row is not None and row[0] >= MOST_NOTES


def take_turns(conn: Conn, served: Mapping[tuple[int, int, str], int]) -> None:
    """Sets the turns of keys by queue, lane and name, of each of which so many were leased just now."""
    conn.execute(
        SQL.take_turns,
        {
            "queues": [queue for queue, _, _ in served],
            "lanes": [lane for _, lane, _ in served],
            "keys": [key for _, _, key in served],
            "served": list(served.values()),
        },
        prepare=True,
    )


def release(
    cur: Cursor[TupleRow],
    *,
    ids: list[uuid.UUID],
    tokens: list[int],
    delays: list[float | None],
    used: list[str | None] | None = None,
) -> Cursor[TupleRow]:
    """Ends leases, or gives their entries back after a delay in seconds. Rows: the ids that were really held.

    `used` has what each has used during its lease, as JSON of unit and amount, or None when it has not said: rates that
    count a unit are settled by it.
    """
    values = {"ids": ids, "tokens": tokens, "delays": delays, "used": used or [None] * len(ids)}
    return cur.execute(SQL.release, values, prepare=True)


def promote(conn: Conn, *, limit: int) -> list[Due]:
    """Makes due timers leasable."""
    return [Due(*row) for row in conn.execute(SQL.promote, {"limit": limit}, prepare=True)]


def next_due(conn: Conn) -> float | None:
    """Seconds until the next timer falls due (negative when late), or None when no timer is set."""
    row = conn.execute(SQL.next_due, prepare=True).fetchone()
    return None if row is None else row[0]


def postpone(conn: Conn, entry_id: uuid.UUID, *, was: datetime, due_at: datetime) -> bool:
    """An entry that waits for the time `was` waits for another. False: it does not, or its time has come."""
    return conn.execute(SQL.postpone, {"id": entry_id, "was": was, "due_at": due_at}).fetchone() is not None


def wake(cur: Conn | Cursor[TupleRow], ids: Sequence[uuid.UUID]) -> set[str]:
    """Entries that wait for a time may be leased at once. Returns the pools to wake."""
    return {row[0] for row in cur.execute(SQL.wake, {"ids": list(ids)}, prepare=True).fetchall()}


def withdraw(cur: Conn | Cursor[TupleRow], ids: Sequence[uuid.UUID]) -> None:
    """Takes entries out of the flow, but those that a worker holds. Twice, because a timer that was just falling due
    at the first look is an entry at the second."""
    for _ in range(2):
        cur.execute(SQL.withdraw, {"ids": list(ids)}, prepare=True)


def next_opening(conn: Conn, queues: Sequence[int]) -> float | None:
    """Seconds until a rate lets through what waits for it in these queues, or None when no rate holds anything back."""
    row = conn.execute(SQL.next_opening, {"queues": list(queues)}, prepare=True).fetchone()
    return None if row is None else row[0]


def settle(cur: Conn | Cursor[TupleRow], homes: Mapping[uuid.UUID, str]) -> None:
    """What these entries need lies on these hosts: workers there are to have them, as long as there are any."""
    cur.execute(SQL.settle, {"ids": list(homes), "hosts": list(homes.values())}, prepare=True)


def leave_homes(conn: Conn, *, grace: float) -> list[tuple[str, str]]:
    """Entries at home where no worker of their pool has lived for `grace` seconds may go elsewhere. Returns which hosts
    and pools those were."""
    return [(row[0], row[1]) for row in conn.execute(SQL.leave_homes, {"grace": grace}, prepare=True)]


def forget(conn: Conn) -> None:
    """Drops what no window of a rate or a breaker reaches any more, homes of what is gone, and old samples."""
    conn.execute(SQL.forget_homes)
    conn.execute(SQL.forget_starts)
    conn.execute(SQL.forget_calls)
    conn.execute(SQL.forget_samples, {"days": SAMPLE_DAYS})


def sample(conn: Conn) -> float:
    """Keeps how all queues stand, once a minute. Returns the seconds until the next time."""
    row = conn.execute(SQL.sample, {"pools": None, "most": MOST_SAMPLED}).fetchone()
    return 60.0 if row is None else row[0]


def note_all_keys(conn: Conn, queue_id: int) -> None:
    """The next lease looks anew at all keys that wait in a queue: something that decides about them has changed."""
    conn.execute(SQL.note_all_keys, {"queue": queue_id})


def pools_with_entries(conn: Conn) -> set[str]:
    """Pools in which an entry could be leased now."""
    return {row[0] for row in conn.execute(SQL.pools_with_entries, prepare=True)}


# ── workers ──────────────────────────────────────────────────────────────────────────────────────────────────────


def worker_register(
    conn: Conn,
    *,
    name: str,
    pools: Sequence[str],
    hostname: str,
    pid: int,
    version: str,
    coroutines: int,
    threads: int,
    processes: int = 0,
) -> int:
    """Registers a worker and takes its lock on this connection, which must live as long as the worker. Commits."""
    with conn.transaction():
        row = conn.execute(
            SQL.register,
            {
                "name": name,
                "pools": json.dumps(list(pools)),
                "hostname": hostname,
                "pid": pid,
                "version": version,
                "coroutines": coroutines,
                "threads": threads,
                "processes": processes,
            },
        ).fetchone()
        assert row is not None
        worker: int = row[0]
        # Locked before the row is visible: nobody can see a registered worker whose lock is free.
        worker_hold(conn, worker)
    return worker


def worker_hold(conn: Conn, worker: int) -> bool:
    """Takes the worker's session lock. False when another session holds it still."""
    row = conn.execute(SQL.hold, {"worker": worker, "lock_class": LOCK_CLASS}).fetchone()
    return bool(row and row[0])


def worker_beat(conn: Conn, worker: int, *, running: int, memory: int, draining: bool) -> tuple[datetime, bool] | None:
    """One heartbeat. Returns the database's time, and whether somebody has asked the worker to leave; or None when it
    has been declared lost."""
    row = conn.execute(
        SQL.beat, {"worker": worker, "running": running, "memory": memory, "draining": draining}, prepare=True
    ).fetchone()
    return None if row is None else (row[0], row[1])


def worker_stop(conn: Conn, worker: int) -> None:
    """Says goodbye."""
    conn.execute(SQL.stop, {"worker": worker})


def worker_returned(conn: Conn, worker: int) -> bool:
    """Records that a worker that had been declared lost came back and was refused."""
    return conn.execute(SQL.returned, {"worker": worker}).fetchone() is not None


def begin_batch(cur: Cursor[TupleRow], worker: int, batch: int) -> None:
    """First statement of a group commit. Raises an error of SQLSTATE `FENCED` for a worker declared lost,
    `RECORDED` for a batch that was committed before."""
    cur.execute(SQL.begin_batch, {"worker": worker, "batch": batch}, prepare=True)


def last_batch(conn: Conn, worker: int) -> int | None:
    """Number of the last group commit that is durable; None when the worker has been declared lost."""
    row = conn.execute(SQL.last_batch, {"worker": worker}).fetchone()
    return None if row is None else row[0]


def suspects(conn: Conn, *, timeout: float) -> list[Suspect]:
    """All workers that say they live; `timeout` is the age in seconds at which a heartbeat counts as silence."""
    return [Suspect(*row) for row in conn.execute(SQL.suspects, {"timeout": timeout}, prepare=True)]


def lock_is_free(conn: Conn, worker: int) -> bool:
    """True when no session holds the worker's lock; this transaction holds it then, against other rescuers."""
    row = conn.execute(SQL.lock_is_free, {"worker": worker, "lock_class": LOCK_CLASS}, prepare=True).fetchone()
    return bool(row and row[0])


def declare_lost(conn: Conn, worker: int, *, silent_for: float | None) -> bool:
    """Fences a worker off. False when somebody else did so first, when it is in the middle of a transaction, or when
    its heartbeat is not `silent_for` seconds old any more (None: its lock speaks, not its heartbeat)."""
    found = conn.execute(SQL.declare_lost, {"worker": worker, "silent_for": silent_for})
    return found.fetchone() is not None


def end_frozen(conn: Conn, *, quiet: float) -> int:
    """Ends sessions of Holdfast's that have been silent for `quiet` seconds in the middle of a transaction; their locks
    go with them. Returns how many there were."""
    row = conn.execute(SQL.end_frozen, {"quiet": quiet}).fetchone()
    assert row is not None
    return int(row[0])


def fence(conn: Conn, *, worker: int, entry_id: uuid.UUID, token: int) -> bool:
    """Inside a transaction: holds a worker and its lease until the end. False when either is gone."""
    found = conn.execute(SQL.fence, {"worker": worker, "id": entry_id, "token": token}, prepare=True)
    return found.fetchone() is not None


def end_sessions(conn: Conn, worker: int) -> int:
    """Ends the sessions in which a lost worker's steps have transactions open. Returns how many there were."""
    row = conn.execute(SQL.end_sessions, {"worker": str(worker)}).fetchone()
    assert row is not None
    return int(row[0])


def orphans(conn: Conn) -> list[int]:
    """Workers that are gone and hold leases still."""
    return [row[0] for row in conn.execute(SQL.orphans, prepare=True)]


def seize(conn: Conn, worker: int) -> list[Seized]:
    """Takes all leases of a worker that is gone."""
    return [Seized(*row) for row in conn.execute(SQL.seize, {"worker": worker})]


def held(conn: Conn, worker: int) -> dict[uuid.UUID, int]:
    """What a worker holds according to the database: entry id → token."""
    return {row[0]: row[1] for row in conn.execute(SQL.held, {"worker": worker})}


# ── queues ───────────────────────────────────────────────────────────────────────────────────────────────────────


def declare_queue(conn: Conn, queue: Queue) -> None:
    """Makes a queue that code declares, or adopts what the declaration changed; a person's edit of a setting stays."""
    changed = conn.execute(
        SQL.declare_queue,
        {
            "name": queue.name,
            "pool": queue.pool,
            "declared": json.dumps(queue.settings),
            "concurrency_limit": queue.concurrency_limit,
            "key_concurrency_limit": queue.key_concurrency_limit,
            "key_weights": json.dumps(queue.key_weights),
            **_rate("rate", queue.rate),
            **_rate("key_rate", queue.key_rate),
        },
    ).fetchone()
    if changed is not None:
        note_all_keys(conn, changed[0])


def name_queue(conn: Conn, name: str) -> None:
    """Makes a queue without limits, unless there is one of this name."""
    conn.execute(SQL.name_queue, {"name": name})


def pauses_over(conn: Conn) -> list[str]:
    """Queues whose pause has ended by itself: what waits in them may start, and their row is to say so."""
    return [row[0] for row in conn.execute(SQL.pauses_over, prepare=True)]


def _rate(name: str, rate: Rate | None) -> dict[str, object]:
    return {
        f"{name}_amount": rate.amount if rate else None,
        f"{name}_period": rate.period if rate else None,
        f"{name}_unit": rate.unit if rate else None,
    }


# ── breakers ─────────────────────────────────────────────────────────────────────────────────────────────────────


class BreakerView(NamedTuple):
    """A breaker as a worker sees it."""

    name: str
    state: str  # closed, open, half_open
    left: float | None  # seconds until that may change by itself
    firsts: int  # first calls in the window
    retries: int  # second and later ones


class Calls(NamedTuple):
    """What calls of a breaker came to."""

    calls: int = 0
    failures: int = 0
    slow: int = 0
    retries: int = 0

    def plus(self, more: Calls) -> Calls:
        return Calls(*(a + b for a, b in zip(self, more, strict=True)))


def declare_breaker(conn: Conn, breaker: Breaker) -> None:
    """Makes a breaker that code declares, or adopts what the declaration changed."""
    conn.execute(SQL.declare_breaker, {**breaker.numbers, "is_named": isinstance(breaker, NamedBreaker)})


def report_calls(
    conn: Conn, *, source: int, counts: Mapping[str, Calls], probes: Sequence[tuple[str, int, bool]]
) -> None:
    """Says what calls, and probes (name, epoch, failed), came to: all of it, or nothing."""
    with conn.transaction():
        if counts:
            values = {"source": source, "names": list(counts)}
            for field in Calls._fields:
                values[field] = [getattr(of, field) for of in counts.values()]
            conn.execute(SQL.count_calls, values, prepare=True)
        if probes:
            names, epochs, failed = map(list, zip(*probes, strict=True))
            conn.execute(SQL.count_probes, {"names": names, "epochs": epochs, "failed": failed}, prepare=True)


def judge_breakers(conn: Conn, names: Sequence[str]) -> tuple[list[BreakerView], list[tuple[str, str]]]:
    """How these breakers stand, and which have just turned to which state. Call outside a transaction: each statement
    sees what others have said meanwhile."""
    turned = conn.execute(SQL.turn_breakers, {"names": list(names)}, prepare=True).fetchall()
    views = conn.execute(SQL.breaker_states, {"names": list(names)}, prepare=True).fetchall()
    return [BreakerView(*row) for row in views], [(row[0], row[1]) for row in turned]


def take_probe(conn: Conn, name: str) -> int | None:
    """The right to one probe of a half open breaker: the number of its state; None when all are taken."""
    row = conn.execute(SQL.take_probe, {"name": name}, prepare=True).fetchone()
    return None if row is None else row[0]
