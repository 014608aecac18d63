"""What a run is asked and answers: updates. The SQL is `runs/sql/updates.sql`."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from psycopg import Cursor
from psycopg.rows import TupleRow

from queues.store import Conn
from runs.store.rows import ReplyRow
from runs.store.statements import SQL, columns
from runs.store.waits import lock_waits, wake


class Sent(NamedTuple):
    """An update that is kept now, or was before under the same key."""

    id: uuid.UUID
    created: bool
    same: bool  # its payload is the one that was sent now
    ended: str | None  # the status of the run, when it is over
    pools: set[str]  # to wake


def send_update(
    conn: Conn,
    *,
    run: uuid.UUID,
    name: str,
    payload: str,
    key: str | None,
    by: str,
    check: Callable[[dict[str, Any] | None], None],
) -> Sent:
    """Keeps an update, and gives it to a wait of its name if there is one. `check` is called with what that wait asks
    for, and raises. When the run has ended, the caller rolls back."""
    lock_waits(conn, [run])
    if key is not None:
        known = conn.execute(SQL.update_of_key, {"run": run, "name": name, "key": key, "payload": payload}).fetchone()
        if known is not None:
            return Sent(known[0], False, bool(known[1]), None, set())
    if (asked := conn.execute(SQL.asked_for, {"run": run, "name": name}).fetchone()) is not None:
        check(None if asked[0] is None else json.loads(asked[0]))
    given = {"run": run, "name": name, "payload": payload, "key": key, "by": by}
    added = conn.execute(SQL.add_update, given).fetchone()
    assert added is not None, "the lock is held"
    pools = wake(conn, [row[0] for row in conn.execute(SQL.match_updates, {"runs": [run]}).fetchall()])
    # Last, because rows of runs are locked after those of the flow.
    status = conn.execute(SQL.run_is_over, {"run": run}).fetchone()
    ended = "gone" if status is None else str(status[0]) if status[1] else None
    return Sent(added[0], True, True, ended, pools)


def answer_updates(cur: Cursor[TupleRow], rows: Sequence[ReplyRow]) -> None:
    """Replies and refusals, once each. A wait whose update did not fit goes on waiting. Call with the locks of the
    runs' waits held."""
    names = ("run_ids", "ids", "outcomes", "replies", "reasons")
    cur.execute(SQL.answer_updates, columns([row[:5] for row in rows], *names), prepare=True)
    if on := [(row.wait, row.update) for row in rows if row.wait is not None]:
        cur.execute(SQL.ask_on, columns(on, "waits", "ids"), prepare=True)
        cur.execute(SQL.match_updates, {"runs": [row.run_id for row in rows if row.wait is not None]}, prepare=True)


def abandon_updates(cur: Conn | Cursor[TupleRow], runs: Sequence[uuid.UUID]) -> None:
    """Runs that are over answer nothing any more."""
    cur.execute(SQL.abandon_updates, {"runs": list(runs)}, prepare=True)
