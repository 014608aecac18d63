"""The partitions of the tables that grow with history: a run's rows are in the one of the week it was created in."""

from __future__ import annotations

import uuid

import psycopg

from queues.store import Conn

#: Length of a partition, and how many lie ahead of the present one.
PARTITION_DAYS, PARTITIONS_AHEAD = 7, 2
PARTITIONED = ("runs_snapshot", "runs_logline", "runs_chunk")
#: Milliseconds that the lock of a table is waited for, and then that of its default partition: who comes after stands
#: in line behind it. Below PostgreSQL's `deadlock_timeout`: where two wait for each other it is this that gives way.
TABLE_WAIT, DEFAULT_WAIT = 500, 50


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
        psycopg.errors.LockNotAvailable: a transaction that takes long (a backup, somebody's query) holds a table or its
            default partition. The other tables have theirs; try again later. Until then the default takes the rows.
    """
    row = conn.execute("SELECT floor(extract(epoch FROM now()) / 86400)::int").fetchone()
    assert row is not None
    first, last = (row[0] - days_ago) // PARTITION_DAYS, row[0] // PARTITION_DAYS + PARTITIONS_AHEAD
    made: list[str] = []
    refused = None
    for table in PARTITIONED:
        try:
            made += [name for week in range(first, last + 1) if (name := _ensure_partition(conn, table, week))]
        except psycopg.errors.LockNotAvailable as error:
            refused = error
    if refused is not None:
        raise refused
    return made


def _ensure_partition(conn: Conn, table: str, week: int) -> str | None:
    """Makes it in a transaction of its own, unless it is there. Returns the name of a new one."""
    name = f"{table}_w{week}"
    with conn.transaction():
        # One scheduler at a time; the second finds the table made.
        conn.execute("SELECT pg_advisory_xact_lock(hashtext('holdfast partitions'))")
        found = conn.execute("SELECT to_regclass(%s)", [name]).fetchone()
        if found is None or found[0] is not None:
            return None
        _make_partition(conn, table, name, *partition_bounds(week))
    return name


def _make_partition(conn: Conn, table: str, name: str, low: uuid.UUID, high: uuid.UUID) -> None:
    """Rows that the default partition has caught meanwhile move over. Names and bounds are our own: DDL takes no
    parameters.

    The table is locked first: from then on nobody writes into the default partition, so that what is left to wait for
    is who reads it. That may take hours, and everybody who writes stands behind us by then: it is given up soon.
    """
    span = f"run_id >= '{low}' AND run_id < '{high}'"
    conn.execute(f"SET LOCAL lock_timeout = {TABLE_WAIT}")
    conn.execute(f"LOCK TABLE ONLY {table} IN SHARE ROW EXCLUSIVE MODE")
    conn.execute(f"SET LOCAL lock_timeout = {DEFAULT_WAIT}")
    conn.execute(f"LOCK TABLE {table}_default IN ACCESS EXCLUSIVE MODE")
    conn.execute(f"CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES)")
    conn.execute(
        f"WITH moved AS (DELETE FROM {table}_default WHERE {span} RETURNING *) INSERT INTO {name} SELECT * FROM moved"  # noqa: S608
    )
    conn.execute(f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ('{low}') TO ('{high}')")
