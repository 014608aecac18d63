"""What runs wait for: opened, answered, given up, and who comes back for it. The SQL is `runs/sql/waits.sql`."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence
from typing import Any, Final

from psycopg import Cursor
from psycopg.rows import TupleRow

from queues import store as queue_store
from queues.store import Conn
from runs.store.rows import WaitFact, WaitRow
from runs.store.statements import SQL, columns

#: First key of the advisory locks over the waits of runs. ("WAIT" in ASCII.)
WAIT_LOCKS: Final = 0x57414954


def lock_waits(cur: Conn | Cursor[TupleRow], ids: Iterable[uuid.UUID]) -> None:
    """Takes the locks of these runs' waits, to the end of the transaction; before any row is locked."""
    cur.execute(SQL.lock_waits, {"ids": list(ids), "lock_class": WAIT_LOCKS}, prepare=True)


def parents(conn: Conn, ids: Sequence[uuid.UUID]) -> list[uuid.UUID]:
    """The runs that wait for these."""
    return [row[0] for row in conn.execute(SQL.parents, {"ids": list(ids)})]


def open_waits(cur: Cursor[TupleRow], rows: Sequence[WaitRow]) -> None:
    """Opens waits; those that are open already stay as they are. Call with their runs' locks held."""
    names = ("run_ids", "ids", "keys", "kinds", "names", "sequences", "delays", "untils", "details")
    cur.execute(SQL.open_waits, columns(rows, *names), prepare=True)
    if listening := [row.run_id for row in rows if row.kind == "signal"]:
        cur.execute(SQL.match_signals, {"runs": listening}, prepare=True)
    if asking := [row.run_id for row in rows if row.kind == "update"]:
        cur.execute(SQL.match_updates, {"runs": asking}, prepare=True)
    if accounts := [row.name for row in rows if row.kind == "budget"]:
        parked = [row.run_id for row in rows if row.kind == "budget"]
        cur.execute(SQL.match_budgets, {"accounts": accounts, "runs": parked, "by": ""}, prepare=True)


def send_signal(conn: Conn, *, run: uuid.UUID, name: str, payload: str, by: str) -> set[str]:
    """Keeps a signal, and gives it to a wait of its name if there is one. Returns the pools to wake."""
    lock_waits(conn, [run])
    conn.execute(SQL.add_signal, {"run": run, "name": name, "payload": payload, "by": by})
    return wake(conn, [row[0] for row in conn.execute(SQL.match_signals, {"runs": [run]}).fetchall()])


def answer_wait(conn: Conn, wait_id: uuid.UUID, *, output: str, by: str, outcome: str = "completed") -> set[str] | None:
    """Completes a wait, or fails it. Returns the pools to wake; None when it is over already. Call with its run's lock
    held."""
    rows = conn.execute(SQL.answer_wait, {"id": wait_id, "output": output, "by": by, "outcome": outcome}).fetchall()
    return wake(conn, [row[0] for row in rows]) if rows else None


def wake(cur: Conn | Cursor[TupleRow], ids: Sequence[uuid.UUID]) -> set[str]:
    """Runs with an answered wait come back, if they have been put down to wait. Returns the pools to wake."""
    if not ids:
        return set()
    waiting = [row[0] for row in cur.execute(SQL.waiting_runs, {"ids": list(ids)}, prepare=True).fetchall()]
    return queue_store.wake(cur, waiting) if waiting else set()


def settle_waits(conn: Conn, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, list[WaitFact]]:
    """Ends the waits of these runs whose time is over, and tells all of them. One transaction."""
    runs = {"runs": list(ids)}
    with conn.pipeline(), conn.transaction():
        conn.execute(SQL.settle_due, runs, prepare=True)
        rows = conn.execute(SQL.waits, runs, prepare=True)
    facts: dict[uuid.UUID, list[WaitFact]] = {}
    for row in rows:
        facts.setdefault(row[0], []).append(WaitFact(*row[1:]))
    return facts


def waits_of(conn: Conn, run_id: uuid.UUID) -> list[WaitFact]:
    """The waits of a run as they stand: none is ended by looking."""
    return [WaitFact(*row[1:]) for row in conn.execute(SQL.waits, {"runs": [run_id]}).fetchall()]


def answered(cur: Cursor[TupleRow], ids: Sequence[uuid.UUID]) -> set[uuid.UUID]:
    """The runs of those of these waits that are over. Call with the runs' locks held."""
    return {row[0] for row in cur.execute(SQL.answered, {"ids": list(ids)}, prepare=True).fetchall()}


def give_up_waits(cur: Cursor[TupleRow], ids: Sequence[uuid.UUID]) -> None:
    cur.execute(SQL.give_up_waits, {"ids": list(ids)}, prepare=True)


def close_waits(cur: Conn | Cursor[TupleRow], runs: Sequence[uuid.UUID]) -> None:
    """Runs that are over wait for nothing any more."""
    cur.execute(SQL.close_waits, {"runs": list(runs)}, prepare=True)


def children_ended(cur: Conn | Cursor[TupleRow], ids: Sequence[uuid.UUID]) -> set[str]:
    """Parents whose last awaited child was among these runs come back. Call with the parents' locks held. Returns the
    pools to wake."""
    if not ids:
        return set()
    return wake(cur, [row[0] for row in cur.execute(SQL.children_ended, {"ids": list(ids)}, prepare=True).fetchall()])


def children(conn: Conn, run_id: uuid.UUID, key: str) -> list[dict[str, Any]]:
    """What became of the runs that a wait is for: id, status, output, error; in order."""
    rows = conn.execute(SQL.children, {"run": run_id, "key": key})
    return [{"id": str(row[0]), "status": row[1], "output": _json(row[2]), "error": _json(row[3])} for row in rows]


def _json(text: str | None) -> Any:
    return None if text is None else json.loads(text)
