"""A run's transitions: from its enqueue to its end, and back. The SQL is `runs/sql/enqueue.sql` and `engine.sql`."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

from psycopg import Cursor
from psycopg.rows import TupleRow

from queues import store as queue_store
from queues.store import Conn, Grant, Seized
from runs.store.rollups import count_ends
from runs.store.rows import EndingRow, FinishRow, NewRuns, Started, Stopped
from runs.store.statements import SQL, columns
from runs.store.updates import abandon_updates
from runs.store.waits import children_ended, close_waits, lock_waits, parents

#: The advisory lock of the scheduler that fires ticks. ("TICK" in ASCII.)
SCHEDULES_LOCK: Final = 0x5449434B
#: How long it may stand still in the middle of a transaction.
LEADER_FROZEN: Final = "4s"


def enqueue(conn: Conn | Cursor[TupleRow], new: NewRuns) -> tuple[list[uuid.UUID], str]:
    """Stores the runs and makes them leasable, in one statement. Returns their ids in order, and the pool to wake;
    no ids: there is no such queue."""
    parameters: dict[str, Any] = {
        "task": new.task,
        "queue": new.queue,
        "lane": new.lane,
        "max_attempts": new.max_attempts,
        "priority": new.priority,
        "tags": new.tags,
        "trace_id": new.trace_id,
        "parent_id": new.parent_id,
        "parent_wait": new.parent_wait,
        "accounts": new.accounts,
    }
    if len(new.payloads) == 1 and new.is_plain:
        statement = SQL.enqueue_one
        parameters |= {"payload": new.payloads[0], "key": new.keys[0] if new.keys else None}
    else:
        statement = SQL.enqueue
        parameters |= {
            "payloads": new.payloads,
            "keys": new.keys,
            "concurrency_key": new.concurrency_key,
            "units": new.units,
            "run_after": new.run_after,
            "delay": new.delay,
            "ttl": new.ttl,
            "timeout": new.timeout,
            "budget": new.budget,
        }
    rows = conn.execute(statement, parameters, prepare=True).fetchall()
    return [row[0] for row in rows], rows[0][1] if rows else ""


def mark_replays(conn: Conn, of: Mapping[uuid.UUID, uuid.UUID]) -> None:
    """Says of runs that were just enqueued which one each replays."""
    conn.execute(SQL.mark_replays, {"ids": list(of), "ofs": list(of.values())})


def register_task(conn: Conn, row: dict[str, Any]) -> str | None:
    """Makes a task's row, or adopts what its code declares now. Returns the version that was there before, if any."""
    found = conn.execute(SQL.register_task, row).fetchone()
    return found[0] if found else None


def start(conn: Conn, *, worker: int, grants: Sequence[Grant], versions: str) -> list[Started]:
    """Leased runs become running. `versions` is JSON: task id → fingerprint of this worker's code."""
    rows = conn.execute(
        SQL.start,
        {
            "worker": worker,
            "ids": [g.entry_id for g in grants],
            "tokens": [g.token for g in grants],
            "versions": versions,
        },
        prepare=True,
    )
    return [Started(*row) for row in rows]


def finish(cur: Cursor[TupleRow], rows: Sequence[FinishRow]) -> set[str]:
    """Ends or puts down attempts. Call after `queues.store.release` of the same rows (lock order), and after
    `lock_waits` for runs that are put down to wait and for parents that wait. Returns the pools of what comes
    back: parents, and runs that are entered once more for a hook."""
    names = (
        "ids",
        "tokens",
        "statuses",
        "attempts",
        "outputs",
        "errors",
        "failed",
        "delays",
        "waits",
        "active",
        "hooked",
    )
    cur.execute(SQL.finish, columns([row[: len(names)] for row in rows], *names), prepare=True)
    final = [row.run_id for row in rows if row.delay is None]
    pools: set[str] = set()
    # Asked for only where one can be, for the answer costs a round trip; and before the cursor does anything else.
    back = cur.fetchall() if len(final) < len(rows) else []
    if hooked := [row[0] for row in back if row[1]]:
        pools |= queue_store.wake(cur, hooked)
    if stopped := [row[0] for row in back if not row[1]]:
        queue_store.withdraw(cur, stopped)
        count_ends(cur, [row[2:] for row in back if not row[1]])  # their worker thinks that they come back
    if over := [row.run_id for row in rows if row.delay is None and row.waited] + stopped:
        close_waits(cur, over)
    if final := final + stopped:
        abandon_updates(cur, final)
    return pools | children_ended(cur, final) if any(row.parent for row in rows) else pools


def continue_runs(cur: Cursor[TupleRow], rows: Sequence[FinishRow]) -> None:
    """The next round of runs whose attempts `finish` ends: their payload is another one, and what they came with is
    past. Call with their waits' locks held."""
    values = [(row.run_id, row.token, row.continues, row.timeout) for row in rows]
    cur.execute(SQL.continue_runs, columns(values, "ids", "tokens", "payloads", "timeouts"), prepare=True)


def set_endings(cur: Cursor[TupleRow], rows: Sequence[EndingRow]) -> None:
    cur.execute(SQL.endings, columns(rows, "ids", "tokens", "endings"), prepare=True)


def crash(conn: Conn, seized: Sequence[Seized], *, limit: int, error: str) -> int:
    """Runs of a worker that is gone: queued again, or final at the crash limit. Returns how many were queued again."""
    ids = [s.entry_id for s in seized]
    lock_waits(conn, parents(conn, ids))
    asked = {"ids": ids, "tokens": [s.token for s in seized], "leased": [s.leased_at for s in seized]}
    rows = conn.execute(SQL.crash, {**asked, "limit": limit, "error": error}).fetchall()
    if over := [row[0] for row in rows if not row[1]]:
        _settle(conn, over)
    delays = {row[0]: row[2] for row in rows if row[1]}
    back = [s for s in seized if s.entry_id in delays]
    conn.execute(
        SQL.give_back,
        {
            "ids": [s.entry_id for s in back],
            "queues": [s.queue_id for s in back],
            "lanes": [s.lane for s in back],
            "priorities": [s.priority for s in back],
            "keys": [s.concurrency_key for s in back],
            "units": [s.units for s in back],
            "delays": [delays[s.entry_id] for s in back],
        },
    )
    count_ends(conn, [row[3:] for row in rows])
    return len(back)


def _settle(conn: Conn, over: Sequence[uuid.UUID]) -> None:
    """What hangs on runs that are over now: their waits, what they were asked, and those that wait for them."""
    close_waits(conn, over)
    abandon_updates(conn, over)
    children_ended(conn, over)


def record_overlap(conn: Conn, *, worker: int, ids: list[uuid.UUID]) -> None:
    conn.execute(SQL.overlap, {"worker": worker, "ids": ids})


def ready(conn: Conn, ids: list[uuid.UUID]) -> None:
    """Scheduled runs whose time has come."""
    conn.execute(SQL.ready, {"ids": ids}, prepare=True)


def families(
    conn: Conn, ids: Sequence[uuid.UUID], *, most: int | None = None
) -> dict[uuid.UUID, list[uuid.UUID]] | None:
    """Of each of these runs: itself, and the unfinished ones that it waits for, directly or through others. None: all
    together they are more than `most`."""
    asked = {"ids": list(ids), "most": None if most is None else most + 1}
    rows = conn.execute(SQL.families, asked).fetchall()
    if most is not None and len(rows) > most:
        return None
    found: dict[uuid.UUID, list[uuid.UUID]] = {run_id: [] for run_id in ids}
    for first, member in rows:
        found[first].append(member)
    return found


def stoppable(conn: Conn, ids: Sequence[uuid.UUID]) -> set[uuid.UUID]:
    """Of these runs, those that can be stopped, as far as can be said without holding them."""
    return {row[0] for row in conn.execute(SQL.stoppable, {"ids": list(ids)})}


def stop(conn: Conn, ids: Sequence[uuid.UUID], *, final: str, error: str | None = None) -> list[Stopped]:
    """Stops runs; `final` is the status they are to end with. Call with their locks and their parents' held
    (`lock_waits`). Rows: those that were neither over nor being stopped already. Of the others, the entries of those
    that wait for their hook have been taken as well: the caller rolls back (`runs.services` does), or knows of none."""
    queue_store.withdraw(conn, ids)
    found = conn.execute(SQL.stop, {"ids": list(ids), "final": final, "error": error}).fetchall()
    rows = [Stopped(*row[:3]) for row in found]
    if over := [row.id for row in rows if row.status == final]:
        _settle(conn, over)
        count_ends(conn, [row[3:] for row in found])
    return rows


def stop_locked(conn: Conn, ids: Sequence[uuid.UUID], *, final: str, error: str | None = None) -> set[str]:
    """`stop`, of the runs that these wait for as well, with the locks that it needs. Returns the pools to wake."""
    found = families(conn, ids) or {}
    members = list(stoppable(conn, list({member for family in found.values() for member in family})))
    lock_waits(conn, {*members, *parents(conn, ids)})
    return {row.pool for row in stop(conn, members, final=final, error=error)}


def to_stop(conn: Conn, worker: int) -> dict[uuid.UUID, str]:
    """Runs in a worker's hands that are to be stopped, and the status that each is stopped for."""
    return {row[0]: row[1] for row in conn.execute(SQL.to_stop, {"worker": worker}, prepare=True)}


def deadlines_due(conn: Conn, *, limit: int) -> list[tuple[uuid.UUID, str]]:
    """Takes deadlines that are over: (run, kind)."""
    return [(row[0], row[1]) for row in conn.execute(SQL.deadlines_due, {"limit": limit}, prepare=True)]


def next_deadline(conn: Conn) -> float | None:
    """Seconds until the next deadline (negative when late), or None."""
    row = conn.execute(SQL.next_deadline, prepare=True).fetchone()
    return None if row is None else row[0]


def never_started(conn: Conn, ids: Sequence[uuid.UUID]) -> list[uuid.UUID]:
    """Of these runs, those that still wait for their first start."""
    return [row[0] for row in conn.execute(SQL.never_started, {"ids": list(ids)})]


def reopen(conn: Conn, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, str]:
    """A person's retry. Call with the locks of their waits held. Returns the pool to wake of each run; those that are
    in no state to be retried are left out."""
    asked = {"ids": list(ids)}
    conn.execute(SQL.forget_closed, asked)
    return {row[0]: row[1] for row in conn.execute(SQL.reopen, asked)}


def accept_history(conn: Conn, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Runs that are parked for their version go on with any code. Returns the pool to wake of each; those that are not
    parked are left out."""
    found = {row[0]: row[1] for row in conn.execute(SQL.accept_history, {"ids": list(ids)})}
    if found:
        queue_store.wake(conn, list(found))
    return found


def wake_deferred(conn: Conn, *, versions: str, limit: int) -> set[str]:
    """Runs that were left for other code come back at once, if it may be these versions. Returns the pools to wake."""
    rows = conn.execute(SQL.deferred, {"versions": versions, "limit": limit}).fetchall()
    return queue_store.wake(conn, [row[0] for row in rows]) if rows else set()


def next_tick(conn: Conn) -> float | None:
    """Seconds until the next tick of any schedule (negative when late), or None when there is none."""
    row = conn.execute(SQL.next_tick, prepare=True).fetchone()
    return None if row is None else row[0]


def lead_schedules(conn: Conn) -> bool:
    """Whether this scheduler fires ticks, to the end of its transaction; False while another one does."""
    asked = {"lock": SCHEDULES_LOCK, "frozen": LEADER_FROZEN}
    row = conn.execute(SQL.lead_schedules, asked, prepare=True).fetchone()
    return row is not None and bool(row[0])
