"""The partitions of the tables that grow with history: a run's rows are in the one of the week it was created in."""

from __future__ import annotations

import uuid

from queues.store import Conn

#: Length of a partition, and how many lie ahead of the present one.
PARTITION_DAYS, PARTITIONS_AHEAD = 7, 2
PARTITIONED = ("runs_snapshot", "runs_logline", "runs_chunk")
#: Milliseconds that a lock is waited for: who comes after stands in line behind it for so long. Below PostgreSQL's
#: `deadlock_timeout`, so that where two wait for each other it is this that gives way.
LOCK_WAIT = 500


def partition_bounds(week: int) -> tuple[uuid.UUID, uuid.UUID]:
    """The UUIDv7 range of runs created in the `week`-th week since 1970."""

    def first(number: int) -> uuid.UUID:
        milliseconds = number * PARTITION_DAYS * 86_400_000
        return uuid.UUID(int=milliseconds << 80)

    return first(week), first(week + 1)


def ensure_partitions(conn: Conn, *, days_ago: int = 0) -> list[str]:
    """Makes the partitions of this week and the next ones; and of the weeks since `days_ago`, for runs that are stored
    with a time of the past. Returns the names of the new ones.

    Raises:
        psycopg.errors.LockNotAvailable: a transaction that takes long (a backup, somebody's query) reads a default
            partition. What was made stays; try again later. Until then the default partition takes the rows.
    """
    row = conn.execute("SELECT floor(extract(epoch FROM now()) / 86400)::int").fetchone()
    assert row is not None
    first, this = (row[0] - days_ago) // PARTITION_DAYS, row[0] // PARTITION_DAYS
    made = []
    for week in range(first, this + PARTITIONS_AHEAD + 1):
        low, high = partition_bounds(week)
        for table in PARTITIONED:
            name = f"{table}_w{week}"
            with conn.transaction():
                # One scheduler at a time; the second finds the table made.
                conn.execute("SELECT pg_advisory_xact_lock(hashtext('holdfast partitions'))")
                found = conn.execute("SELECT to_regclass(%s)", [name]).fetchone()
                if found is not None and found[0] is None:
                    conn.execute(f"SET LOCAL lock_timeout = {LOCK_WAIT}")
                    _make_partition(conn, table, name, low, high)
                    made.append(name)
    return made


def _make_partition(conn: Conn, table: str, name: str, low: uuid.UUID, high: uuid.UUID) -> None:
    """Rows that the default partition has caught meanwhile move over. Names and bounds are our own: DDL takes no
    parameters.

    The default partition is locked first, as whoever reads it may do so for hours: while that is waited for, nobody
    who writes into the table has to wait as well.
    """
    span = f"run_id >= '{low}' AND run_id < '{high}'"
    conn.execute(f"LOCK TABLE {table}_default IN ACCESS EXCLUSIVE MODE")
    conn.execute(f"LOCK TABLE ONLY {table} IN SHARE ROW EXCLUSIVE MODE")
    conn.execute(f"CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES)")
    conn.execute(
        f"WITH moved AS (DELETE FROM {table}_default WHERE {span} RETURNING *) INSERT INTO {name} SELECT * FROM moved"  # noqa: S608
    )
    conn.execute(f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ('{low}') TO ('{high}')")
