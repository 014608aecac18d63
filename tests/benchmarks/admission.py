"""What admission costs: leases by backlog, queues and keys, and what a flood of one key costs the others."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from tests.benchmarks.stage import Stage
from tests.benchmarks.waiting import percentile

Figures = dict[str, float]

#: Entries that one measurement leases, in batches of so many.
LEASED, BATCH = 5_000, 250
_FLOW = "queues_entry, queues_lease, queues_turn, queues_note, queues_start"


def admission(stage: Stage, scale: float) -> Figures:
    """Leases and releases of entries without runs, by one worker that nobody disturbs, in µs an entry."""
    from holdfast import db
    from queues import store

    found: Figures = {}
    with db.connect("bench") as conn:
        worker = store.worker_register(
            conn, name="bench", pools=["bench"], hostname="bench", pid=1, version="", coroutines=BATCH, threads=0
        )
        for name, queues, keys, count in (
            ("backlog 1,000", 1, 0, 1_000),
            ("backlog 10,000", 1, 0, 10_000),
            ("backlog 100,000", 1, 0, 100_000),
            ("backlog 1,000,000", 1, 0, 1_000_000),
            ("1,000 queues", 1_000, 0, 20_000),
            ("100,000 keys", 1, 100_000, 100_000),
            ("one key of 100,000 runs", 1, 1, 100_000),
        ):
            _fill(stage, queues, keys, int(count * scale))
            most = int(count * scale) // 3
            found[f"lease of {BATCH}, {name}: µs a run"] = _drain(conn, store, worker, BATCH, min(most, LEASED))
            found[f"lease of one, {name}: µs"] = _drain(conn, store, worker, 1, min(most, 200))
        stage.query(f"TRUNCATE {_FLOW}")
        stage.query("DELETE FROM queues_queue WHERE pool = 'bench'")
        store.worker_stop(conn, worker)
    return found


def _fill(stage: Stage, queues: int, keys: int, count: int) -> None:
    """So many entries in so many queues, of so many keys (0: without one), and statistics of neither."""
    stage.query(f"TRUNCATE {_FLOW}")
    stage.query("DELETE FROM queues_queue WHERE pool = 'bench'")
    stage.query(
        "INSERT INTO queues_queue (name, pool, concurrency_limit) SELECT 'bench-' || n, 'bench', 1000000 "
        "FROM generate_series(1, %s) n",
        queues,
    )
    stage.query(
        "INSERT INTO queues_entry (entry_id, queue_id, lane, priority, concurrency_key, ready_at, counts_from) "
        "SELECT gen_random_uuid(), q.ids[n %% %s + 1], 0, 0, CASE WHEN %s > 0 THEN 'key-' || n %% %s END, at, at "
        "FROM generate_series(1, %s) n, (SELECT array_agg(id) AS ids FROM queues_queue WHERE pool = 'bench') q, "
        "LATERAL (SELECT now() + n * interval '1 microsecond' AS at) t",
        queues,
        keys,
        max(1, keys),
        count,
    )
    stage.query(
        "INSERT INTO queues_note (queue_id, concurrency_key) "
        "SELECT queue_id, concurrency_key FROM queues_entry WHERE concurrency_key IS NOT NULL GROUP BY 1, 2"
    )


def _drain(conn: Any, store: Any, worker: int, batch: int, count: int) -> float:
    """Microseconds an entry, its release not counted."""
    leased, spent = 0, 0.0
    while leased < count:
        began = time.perf_counter()
        with conn.transaction():
            grants, more, *_ = store.lease(
                conn, worker=worker, pools=["bench"], coroutines=batch, threads=0, homes=False
            )
        spent += time.perf_counter() - began
        leased += len(grants)
        if not grants and not more:
            break
        with conn.transaction(), conn.cursor() as cur:
            ids, tokens = [g.entry_id for g in grants], [g.token for g in grants]
            store.release(cur, ids=ids, tokens=tokens, delays=[None] * len(ids))
    return 1e6 * spent / leased


def flood(stage: Stage, scale: float) -> Figures:
    """One key enqueues 100,000 runs, and others one each every 50 ms: how long those wait for their start."""
    return _beside(stage, int(100_000 * scale), "key", lambda n: {"concurrency_key": f"tenant-{n}" if n else "flood"})


def queue_flood(stage: Stage, scale: float) -> Figures:
    """The same of one queue, and of others that its workers serve."""
    stage.query(
        "INSERT INTO queues_queue (name, pool) SELECT 'flood-' || n, 'default' FROM generate_series(0, 20) n "
        "ON CONFLICT DO NOTHING"
    )
    return _beside(
        stage, int(100_000 * scale), "queue", lambda n: {"queue_name": f"flood-{(n - 1) % 20 + 1 if n else 0}"}
    )


def _beside(stage: Stage, count: int, kind: str, options: Callable[[int], dict[str, str]]) -> Figures:
    from runs.sdk.task import registry

    task: Any = registry.get("bench-noop-async")
    with stage.crew(2):
        task.enqueue(n=0).result(timeout=20)
        stage.pause(True)
        flooded = task.using(**options(0)).enqueue_many([{"n": n} for n in range(count)])
        last = flooded[-1].id
        stage.pause(False)
        others = []
        while stage.query("SELECT EXISTS (SELECT FROM queues_entry WHERE entry_id = %s)", last) == [(True,)]:
            others.append(task.using(**options(len(others) + 1)).enqueue(n=len(others)))
            time.sleep(0.05)
        stage.until(stage.drained, "the flood ends", timeout=300)
        waits = [
            1_000 * row[0]
            for row in stage.query(
                "SELECT extract(epoch FROM started_at - created_at)::float FROM runs_run WHERE id = ANY(%s)",
                [handle.id for handle in others],
            )
        ]
        (span,) = stage.query(
            "SELECT extract(epoch FROM max(finished_at) - min(started_at))::float FROM runs_run "
            "WHERE id BETWEEN %s AND %s",
            flooded[0].id,
            last,
        )[0]
    return {
        f"runs/s of a flood of one {kind}": count / span,
        f"others beside a flood of one {kind}: waits": float(len(waits)),
        f"others beside a flood of one {kind}: wait p50, ms": statistics.median(waits),
        f"others beside a flood of one {kind}: wait p99, ms": percentile(waits, 0.99),
        f"others beside a flood of one {kind}: wait max, ms": max(waits),
    }
