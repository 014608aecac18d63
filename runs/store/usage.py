"""What runs use and may use, and what they say of themselves. The SQL is `runs/sql/usage.sql` and `engine.sql`."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from psycopg import Cursor
from psycopg.rows import TupleRow

from queues.store import Conn
from runs.store.rows import Balance, Charges, ProgressRow, UsageRow
from runs.store.statements import SQL


def add_usage(cur: Cursor[TupleRow], worker: int, rows: Sequence[UsageRow]) -> None:
    """Adds to what attempts and tasks have used: one row each, however often they said so."""
    used: dict[tuple[uuid.UUID, int, str], Decimal] = {}
    tasks: dict[tuple[str, str], Decimal] = {}
    for row in rows:
        key = (row.run_id, row.attempt, row.unit)
        used[key] = used.get(key, Decimal()) + row.amount
        of = (row.task, row.unit)
        tasks[of] = tasks.get(of, Decimal()) + row.amount
    runs, attempts, units = (list(column) for column in zip(*used, strict=True))
    parameters = {"runs": runs, "attempts": attempts, "units": units, "amounts": list(used.values())}
    cur.execute(SQL.add_usage, parameters, prepare=True)
    names, units = (list(column) for column in zip(*tasks, strict=True))
    cur.execute(
        SQL.add_usage_rollups,
        {"worker": worker, "tasks": names, "units": units, "amounts": list(tasks.values())},
        prepare=True,
    )


def charges(rows: Iterable[UsageRow]) -> dict[tuple[uuid.UUID, str], Decimal]:
    """What these rows draw on budgets."""
    found: dict[tuple[uuid.UUID, str], Decimal] = {}
    for row in rows:
        for account in row.accounts:
            key = (account, row.unit)
            found[key] = found.get(key, Decimal()) + row.amount
    return found


def charge(cur: Cursor[TupleRow], drawn: Charges) -> None:
    """Draws on budgets. The cursor's rows are the balances: fetch them when the pipeline is through."""
    ordered = sorted(drawn)
    cur.execute(
        SQL.charge,
        {
            "runs": [account for account, _ in ordered],
            "units": [unit for _, unit in ordered],
            "amounts": [drawn[key] for key in ordered],
        },
        prepare=True,
    )


def balances(conn: Conn, accounts: Iterable[uuid.UUID]) -> list[Balance]:
    """The budgets of these runs."""
    return [Balance(*row) for row in conn.execute(SQL.balances, {"runs": list(accounts)}, prepare=True)]


def top_up(conn: Conn, account: uuid.UUID, amounts: Mapping[str, Decimal]) -> list[Balance]:
    """Raises a run's budgets. Rows: those that it has. Call with the run's lock held (`store.lock_waits`)."""
    parameters = {"run": account, "units": list(amounts), "amounts": list(amounts.values())}
    return [Balance(*row) for row in conn.execute(SQL.top_up, parameters)]


def end_budget_waits(conn: Conn, account: uuid.UUID, by: str) -> list[uuid.UUID]:
    """Ends the waits for a run's budget, if it has room again. Returns the runs that waited. Call with its lock
    held."""
    parameters = {"accounts": [account], "runs": None, "by": by}
    return [row[0] for row in conn.execute(SQL.match_budgets, parameters).fetchall()]


def budget_waited_for(conn: Conn, run: uuid.UUID) -> uuid.UUID | None:
    """The run for whose budget this one is parked."""
    row = conn.execute(SQL.budget_waited_for, {"run": run}).fetchone()
    return None if row is None else row[0]


def tree_usage(conn: Conn, run: uuid.UUID, limit: int) -> tuple[dict[str, Decimal], int]:
    """What a run and the runs that it waits for have used, and how many runs were counted."""
    rows = conn.execute(SQL.tree_usage, {"run": run, "limit": limit}).fetchall()
    return {row[0]: row[1] for row in rows if row[0] is not None}, rows[0][2] if rows else 0


def set_progress(cur: Cursor[TupleRow], rows: Iterable[ProgressRow]) -> None:
    """One row for each run, however often it said something."""
    latest: dict[uuid.UUID, ProgressRow] = {}
    for row in rows:
        known = latest.get(row.run_id)
        latest[row.run_id] = row if known is None else known.followed_by(row)
    chosen = sorted(latest.values(), key=lambda row: row.run_id)
    parameters = {
        "ids": [row.run_id for row in chosen],
        "values": [row.value for row in chosen],
        "words": [row.words for row in chosen],
        "metadata": [row.metadata for row in chosen],
    }
    cur.execute(SQL.progress, parameters, prepare=True)
