"""A large history for `tests.benchmarks.pages`: the seed's, multiplied by statements of SQL.

Copy k of a run is k minutes older than the run itself, so ids, partitions, hours and incidents stay where they belong;
of a failure each copy has a fingerprint of its own. Rollups, counts of errors and usage are sums over the copies, as
the engine would have added them up.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

from tests.benchmarks.stage import Stage

Told = Callable[[str], None]

DAYS: Final = 28
#: Runs that the seed plans at most; the rest are copies.
PLANNED: Final = 100_000
#: Rows that one statement inserts, about.
ROWS: Final = 400_000
#: Groups of errors that are there besides those of the runs, each with so many hours.
MORE_GROUPS: Final = 1_000
HOURS: Final = 200
#: Runs that are not over: they try again, or wait for somebody.
RETRYING: Final = 4_000
APPROVALS: Final = 1_000
#: `moved` is the id of a copy, `other` the fingerprint of its failure, `first` the least id of a moment.
_FUNCTIONS: Final = """
CREATE FUNCTION moved(id uuid, k int) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (lpad(to_hex(('x' || substr(h, 1, 12))::bit(48)::bigint - k * 60000), 12, '0')
            || substr(h, 13, 16) || lpad(to_hex(k), 4, '0'))::uuid
    FROM (SELECT replace(id::text, '-', '') AS h) t
$$;
CREATE FUNCTION first(at timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT rpad(lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0'), 32, '0')::uuid
$$;
CREATE FUNCTION other(fingerprint text, k int) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT substr(md5(fingerprint || k), 1, 16)
$$;
CREATE FUNCTION other_error(error jsonb, k int) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT error || jsonb_build_object('fingerprint', other(error ->> 'fingerprint', k))
$$;
"""
#: Tables whose rows belong to a run: what is copied of each but its times, and the column with the run's id.
_COPIED: Final = {
    "runs_run": ("id", "created_at started_at finished_at", "id parent_id", "error"),
    "runs_attempt": ("run_id", "started_at finished_at", "run_id", "error"),
    "runs_snapshot": ("run_id", "started_at finished_at", "run_id", "error"),
    "runs_wait": ("run_id", "created_at resolved_at", "id run_id", ""),
    "runs_usage": ("run_id", "", "run_id", ""),
    "runs_logline": ("run_id", "at", "run_id", ""),
}
_SUMMED: Final = {
    "runs_rollup": ("minute", "kind, task_id, queue_id, worker_id, name, version, status, bucket", "count seconds"),
    "runs_usagerollup": ("minute", "task_id, unit, worker_id", "amount"),
}


def make(ground: Stage, runs: int, lines: int, told: Told) -> dict[str, int]:
    """Fills the stage's database with about so many runs and log lines. Returns how many rows the tables have."""
    from holdfast.access.grants import Actor
    from holdfast.demo.history.services import history_seed

    planned = min(runs, PLANNED)
    told(f"plan {planned:,} runs")
    history_seed(days=DAYS, runs=planned, seed=7, add=False, actor=Actor.local())
    copies = max(0, round(runs / planned) - 1)
    end: datetime = ground.query("SELECT max(minute) FROM runs_rollup")[0][0]
    ground.query("SET synchronous_commit = off; SET maintenance_work_mem = '1GB'; SET work_mem = '256MB'")
    ground.query(_FUNCTIONS)
    with without_indexes(ground, "runs_run", told):
        _copy(ground, copies, told)
        _leave_some_open(ground)
    _lines(ground, lines, told)
    _sum(ground, copies, end, told)
    _errors(ground, copies, end, told)
    told("vacuum")
    ground.query("RESET work_mem")
    ground.query("VACUUM (ANALYZE)")
    names = (*_COPIED, *_SUMMED, "runs_errorgroup", "runs_errorcount", "queues_sample")
    return {name: ground.query(f"SELECT count(*) FROM {name}")[0][0] for name in names}


@contextmanager
def without_indexes(ground: Stage, table: str, told: Told) -> Iterator[None]:
    """Plain indexes of a table are built once, when it is full."""
    found = ground.query(
        "SELECT c.relname, pg_get_indexdef(i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
        "WHERE i.indrelid = %s::regclass AND NOT i.indisunique",
        table,
    )
    for name, _ in found:
        ground.query(f"DROP INDEX {name}")
    yield
    for name, definition in found:
        told(f"index {name}")
        ground.query(definition)


def _copy(ground: Stage, copies: int, told: Told) -> None:
    """So many copies of each run and of what belongs to it."""
    for table, (of, times, ids, error) in _COPIED.items():
        columns = [row[0] for row in ground.query(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped "
            "AND attidentity = '' AND attgenerated = ''", table)]  # fmt: skip
        values = [_value(name, times.split(), ids.split(), error) for name in columns]
        ground.query(f"CREATE UNLOGGED TABLE base AS SELECT * FROM {table} ORDER BY {of}")
        size = max(1, ground.query("SELECT count(*) FROM base")[0][0])
        step = max(1, ROWS // size)
        for first in range(1, copies + 1, step):
            last = min(first + step - 1, copies)
            told(f"{table}: copy {last} of {copies}")
            ground.query(
                f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(values)} FROM base b "
                f"CROSS JOIN generate_series({first}, {last}) k"
            )
        ground.query("DROP TABLE base")


def _value(column: str, times: list[str], ids: list[str], error: str) -> str:
    if column in times:
        return f"b.{column} - k * interval '1 minute'"
    if column in ids:
        return f"moved(b.{column}, k)"
    if column == "trace_id":
        return "replace(moved(b.trace_id::uuid, k)::text, '-', '')"
    if column == error:
        return f"CASE WHEN b.{column} IS NULL THEN NULL ELSE other_error(b.{column}, k) END"
    return f"b.{column}"


def _leave_some_open(ground: Stage) -> None:
    """Some of the latest runs are not over: they try again, or wait for an approval."""
    for status, was, count in (("retrying", "failed", RETRYING), ("waiting", "completed", APPROVALS)):
        ground.query(
            "UPDATE runs_run SET status = %s, finished_at = NULL, output = NULL, next_at = now() + interval '1 day' "
            "WHERE id IN (SELECT id FROM runs_run WHERE status = %s ORDER BY id DESC "
            "             LIMIT least(%s, (SELECT count(*) / 2 FROM runs_run WHERE status = %s)))",
            status, was, count, was,
        )  # fmt: skip
    ground.query(
        "INSERT INTO runs_wait (id, run_id, key, kind, name, sequence, detail, created_at, resolved_by) "
        "SELECT gen_random_uuid(), id, 'approval:Pay?#1', 'approval', 'Pay?', 1, '{}', started_at, '' "
        "FROM runs_run WHERE status = 'waiting'"
    )


def _lines(ground: Stage, lines: int, told: Told) -> None:
    """Log lines, as many of each run, until there are so many."""
    runs, (low, high) = (
        ground.query("SELECT count(*) FROM runs_run")[0][0],
        ground.query("SELECT min(created_at), max(created_at) FROM runs_run")[0],
    )
    each = max(0, round((lines - ground.query("SELECT count(*) FROM runs_logline")[0][0]) / runs))
    if not each:
        return
    parts = math.ceil(runs * each / ROWS)
    width = (high - low) / parts + timedelta(seconds=1)
    for n in range(parts):
        told(f"log lines: part {n + 1} of {parts}, {each} of each run")
        ground.query(
            "INSERT INTO runs_logline (run_id, at, level, message, attempt, step) "
            "SELECT r.id, coalesce(r.started_at, r.created_at) + l * interval '10 ms', 20, "
            "'line ' || l || ' of ' || r.task_id, 1, '' "
            "FROM runs_run r CROSS JOIN generate_series(1, %s) l WHERE r.id >= first(%s) AND r.id < first(%s)",
            each, low + width * n, low + width * (n + 1),
        )  # fmt: skip


def _sum(ground: Stage, copies: int, end: datetime, told: Told) -> None:
    """Rollups of all copies, a day at a time; and of the minutes that have passed meanwhile."""
    for table, (at, keys, sums) in _SUMMED.items():
        ground.query(f"CREATE UNLOGGED TABLE base AS SELECT * FROM {table} ORDER BY {at}")
        ground.query(f"CREATE INDEX ON base ({at})")
        ground.query("ANALYZE base")
        ground.query(f"TRUNCATE {table}")
        added = ", ".join(f"sum({name})" for name in sums.split())
        for day in range(-1, DAYS + 1):
            told(f"{table}: day {day + 1} of {DAYS}")
            first = end + timedelta(minutes=1) - timedelta(days=DAYS - day)
            ground.query(
                f"INSERT INTO {table} ({at}, {keys}, {', '.join(sums.split())}) "
                f"SELECT b.{at} - k * interval '1 minute', {keys}, {added} FROM generate_series(0, %s) k "
                f"JOIN base b ON b.{at} >= %s + k * interval '1 minute' AND b.{at} < %s + k * interval '1 minute' "
                f"GROUP BY 1, {keys} ORDER BY 1, {keys}",
                copies, first, first + timedelta(days=1),
            )  # fmt: skip
        ground.query("DROP TABLE base")
        missing = math.ceil((time.time() - end.timestamp()) / 60)
        ground.query(
            f"INSERT INTO {table} ({at}, {keys}, {', '.join(sums.split())}) "
            f"SELECT {at} + %s * interval '1 minute', {keys}, {', '.join(sums.split())} FROM {table} "
            f"WHERE {at} > %s - %s * interval '1 minute' AND {at} <= %s",
            missing, end, missing, end,
        )  # fmt: skip


def _errors(ground: Stage, copies: int, end: datetime, told: Told) -> None:
    """Groups of the copies' failures, and some hundreds more."""
    told("groups of errors")
    ground.query(
        "INSERT INTO runs_errorgroup (fingerprint, type, message, tasks, first_seen, last_seen, example) "
        "SELECT other(g.fingerprint, k), g.type, g.message, g.tasks, g.first_seen, g.last_seen, moved(g.example, k) "
        "FROM runs_errorgroup g CROSS JOIN generate_series(1, %s) k",
        copies,
    )
    ground.query(
        "INSERT INTO runs_errorcount (fingerprint, hour, task_id, step, version, worker_id, count, ended) "
        "SELECT other(c.fingerprint, k), hour, task_id, step, version, worker_id, count, ended "
        "FROM runs_errorcount c CROSS JOIN generate_series(1, %s) k",
        copies,
    )
    ground.query(
        "INSERT INTO runs_errorgroup (fingerprint, type, message, tasks, first_seen, last_seen) "
        "SELECT 'more-' || n, 'shop.Error' || n, 'order # of part ' || n, ARRAY[t.id], %s - interval '20 days', "
        "       %s - n * interval '1 minute' "
        "FROM generate_series(1, %s) n "
        "JOIN (SELECT id, row_number() OVER (ORDER BY id) - 1 AS place FROM runs_task WHERE id LIKE 'seeded-%%') t "
        "  ON t.place = n %% 10",
        end, end, MORE_GROUPS,
    )  # fmt: skip
    ground.query(
        "INSERT INTO runs_errorcount (fingerprint, hour, task_id, step, version, worker_id, count, ended) "
        "SELECT g.fingerprint, date_trunc('hour', g.last_seen, 'UTC') - h * interval '2 hours', g.tasks[1], s, "
        "       'abc' || h / 40, 0, 3, 1 "
        "FROM runs_errorgroup g CROSS JOIN generate_series(0, %s) h CROSS JOIN unnest('{fetch,store}'::text[]) s "
        "WHERE g.fingerprint LIKE 'more-%%'",
        HOURS,
    )


def facts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name.partition('_')[2]} {count:,}" for name, count in counts.items())
