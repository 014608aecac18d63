"""Puts a planned history into the database: COPY, some thousand runs at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from holdfast.db import Conn
from holdfast.demo.history.plan import Plan
from holdfast.demo.history.rows import COLUMNS, Rows, moment
from holdfast.demo.history.samples import COLUMNS as SAMPLE_COLUMNS
from holdfast.demo.history.samples import samples

#: Runs of one batch.
BATCH: Final = 5_000
#: A failure that runs of this installation have met as well is one group with theirs.
_GROUP: Final = """
INSERT INTO runs_errorgroup AS g (fingerprint, type, message, tasks, first_seen, last_seen, example)
VALUES (%s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (fingerprint) DO UPDATE SET first_seen = least(g.first_seen, excluded.first_seen),
    last_seen = greatest(g.last_seen, excluded.last_seen), tasks = g.tasks || excluded.tasks
"""


def write(conn: Conn, plan: Plan, queues: dict[str, int], workers: list[int], told: Callable[[int], None]) -> int:
    """In the caller's transaction. `told` hears how many runs each batch had. Returns how many there were in all."""
    rows, written = Rows(plan, queues, workers), 0
    for (name, queue_id), runs in zip(queues.items(), plan.by_queue(), strict=True):
        for at in range(0, len(runs), BATCH):
            batch = runs[at : at + BATCH]
            for run in batch:
                rows.add(run)
            for table, found in rows.take().items():
                copy(conn, table, found)
            told(len(batch))
        for table, found in rows.take_rollups().items():
            copy(conn, table, found)
        copy(conn, "queues_sample", samples(plan, name, queue_id, runs))
        written += len(runs)
    for fingerprint, group in sorted(rows.groups.items()):
        seen = moment(group.first), moment(group.last)
        conn.execute(_GROUP, (fingerprint, group.type, group.message, sorted(group.tasks), *seen, group.example))
    return written


def copy(conn: Conn, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
    # The names are our own.
    columns = SAMPLE_COLUMNS if table == "queues_sample" else COLUMNS[table]
    with conn.cursor() as cur, cur.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as into:
        for row in rows:
            into.write_row(row)
