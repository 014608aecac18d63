"""What is measured of Holdfast. Each scenario returns figures by name; the goals stand in `GOALS`."""

from __future__ import annotations

import os
import signal
import statistics
import time
from typing import Any

import psutil

from tests.benchmarks.admission import admission, flood, queue_flood
from tests.benchmarks.bulk import bulk
from tests.benchmarks.stage import Stage
from tests.benchmarks.waiting import fan_out, parallel_waits, parked, spread

Figures = dict[str, float]

#: name → (goal, True when more is better). From the issue that set them, for 2 cores and two worker processes.
GOALS: dict[str, tuple[float, bool]] = {
    "no-op runs/s, async": (5_000, True),
    "no-op runs/s, sync": (1_500, True),
    "durable steps/s": (10_000, True),
    "bulk enqueue/s": (15_000, True),
    "bulk retry, runs/s": (500, True),
    "bulk cancel, runs/s": (500, True),
    "single enqueue, % of raw commits": (40, True),
    "idle latency p50, ms": (8, False),
    "idle latency p99, ms": (40, False),
    "500 sleeps of 1 s, makespan s": (2, False),
    "kill -9 to going on, p50 s": (1.5, False),
    "kill -9 to going on, p99 s": (3, False),
}

#: Workers that are killed in one round.
KILLS = 50


def _task(name: str) -> Any:
    from runs.sdk.task import registry

    return registry.get(f"bench-{name}")


def _flood(stage: Stage, name: str, count: int) -> tuple[float, float]:
    """Enqueues while the queue is paused, lets go, waits for the end. Returns enqueues/s and runs/s."""
    stage.pause(True)
    began = time.perf_counter()
    handles = _task(name).enqueue_many([{"n": n} for n in range(count)])
    enqueued = count / (time.perf_counter() - began)
    stage.pause(False)
    stage.until(stage.drained, f"{count} runs of {name} end")
    # Results are there: from the first start to the last finish, both by the database's clock.
    done, span = stage.query(
        "SELECT count(*), extract(epoch FROM max(finished_at) - min(started_at))::float FROM runs_run "
        "WHERE id = ANY(%s) AND status = 'completed'",
        [h.id for h in handles],
    )[0]
    if done != count:
        raise RuntimeError(f"{count - done} of {count} runs of {name} did not complete")
    return enqueued, done / span


def throughput(stage: Stage, scale: float) -> Figures:
    """Floods of no-ops and of ten-step runs over two workers."""
    with stage.crew(2):
        _flood(stage, "noop-async", max(50, int(500 * scale)))  # the first shift, connections, prepared statements
        enqueued, noop = _flood(stage, "noop-async", int(20_000 * scale))
        _, sync = _flood(stage, "noop-sync", int(6_000 * scale))
        _, steps = _flood(stage, "ten-steps", int(4_000 * scale))
    return {
        "no-op runs/s, async": noop,
        "no-op runs/s, sync": sync,
        "durable steps/s": 10 * steps,
        "bulk enqueue/s": enqueued,
    }


def single_enqueue(stage: Stage, scale: float) -> Figures:
    """One client, one run at a time, against one row and one commit at a time on the same disk in the same minute."""
    from holdfast import db

    count = int(600 * scale)
    with db.connect("bench") as conn:
        conn.execute("CREATE TABLE IF NOT EXISTS bench_raw (id bigint GENERATED ALWAYS AS IDENTITY, n integer)")
        raw: list[float] = []
        ours: list[float] = []
        for _ in range(3):
            began = time.perf_counter()
            for n in range(count):
                conn.execute("INSERT INTO bench_raw (n) VALUES (%s)", [n])
            raw.append(count / (time.perf_counter() - began))
            began = time.perf_counter()
            for n in range(count):
                _task("noop-async").enqueue(n=n)
            ours.append(count / (time.perf_counter() - began))
    with stage.crew(2):
        stage.until(stage.drained, "the enqueued runs end")
        began = time.perf_counter()
        for n in range(count):
            _task("noop-async").enqueue(n=n)
        served = count / (time.perf_counter() - began)
        stage.until(stage.drained, "the enqueued runs end")
    return {
        "raw single-row commits/s": statistics.median(raw),
        "single enqueue/s": statistics.median(ours),
        "single enqueue, % of raw commits": 100 * statistics.median(ours) / statistics.median(raw),
        "single enqueue/s while two workers serve": served,
    }


def latency(stage: Stage, scale: float) -> Figures:
    """An idle system, one enqueue every 50 ms: from the call to the function's first line. Beside it, one round trip to
    PostgreSQL at the same pace: how long this machine takes to come back from doing nothing."""
    from holdfast import db

    count = max(20, int(200 * scale))
    trips = []
    with db.connect("bench") as conn:
        for _ in range(count):
            time.sleep(0.05)
            began = time.perf_counter()
            conn.execute("SELECT 1")
            trips.append(1_000 * (time.perf_counter() - began))
    with stage.crew(2):
        _task("clock").enqueue().result(timeout=20)
        pairs = []
        for _ in range(count):
            called = time.time()
            pairs.append((called, _task("clock").enqueue()))
            time.sleep(0.05)
        waits = sorted(1_000 * (handle.result(timeout=20) - called) for called, handle in pairs)
    return {
        "idle latency p50, ms": statistics.median(waits),
        "idle latency p99, ms": waits[min(len(waits) - 1, int(0.99 * len(waits)))],
        "idle latency max, ms": waits[-1],
        "idle: one SELECT 1 at that pace, p50, ms": statistics.median(trips),
    }


def isolation(stage: Stage, scale: float) -> Figures:
    """What a process of its own costs a run: on one worker, beside the thread lane."""
    count = max(20, int(100 * scale))

    def start(name: str) -> float:
        """From the enqueue to the function's first line, in ms, one run at a time."""
        waits = []
        for _ in range(count):
            called = time.time()
            waits.append(1_000 * (_task(name).enqueue().result(timeout=20) - called))
        return statistics.median(waits)

    with stage.crew(1):
        _task("clock-isolated").enqueue().result(timeout=20)
        _task("clock-sync").enqueue().result(timeout=20)
        thread_start, isolated_start = start("clock-sync"), start("clock-isolated")
        _, threads = _flood(stage, "noop-sync", int(2_000 * scale))
        _, isolated = _flood(stage, "noop-isolated", int(400 * scale))
    return {
        "no-op runs/s, one worker's threads": threads,
        "no-op runs/s, one worker's processes": isolated,
        "overhead per isolated run, ms": 1_000 / isolated - 1_000 / threads,
        "first line p50, thread, ms": thread_start,
        "first line p50, isolated, ms": isolated_start,
    }


def sleepers(stage: Stage, scale: float) -> Figures:
    """500 async runs that sleep a second each, on one worker."""
    count = int(500 * scale)
    with stage.crew(1) as processes:
        _task("clock").enqueue().result(timeout=20)
        stage.pause(True)
        handles = _task("sleep").enqueue_many([{"seconds": 1.0}] * count)
        began = time.perf_counter()
        stage.pause(False)
        time.sleep(0.5)
        memory = psutil.Process(processes[0].pid).memory_info().rss
        stage.until(stage.drained, "all wake up")
        span = time.perf_counter() - began
        assert all(h.refresh().status == "completed" for h in handles)
    return {"500 sleeps of 1 s, makespan s": span, "500 sleeps of 1 s, worker MB": memory / 2**20}


def recovery(stage: Stage, scale: float) -> Figures:
    """kill -9 of the worker that has a run: how long until its next step begins elsewhere."""
    gaps = []
    for _ in range(max(1, int(KILLS * scale))):
        stage.ledger.unlink(missing_ok=True)
        with stage.crew(2) as processes:
            handle = _task("long").enqueue(steps=12)

            def marks(run: str = str(handle.id)) -> list[list[str]]:
                if not stage.ledger.exists():
                    return []
                return [words for words in map(str.split, stage.ledger.read_text().splitlines()) if words[2] == run]

            stage.until(lambda: len(marks()) >= 4, "the run is under way")
            victim = int(marks()[-1][1])
            assert victim in {p.pid for p in processes}
            killed = time.time()
            os.kill(victim, signal.SIGKILL)
            handle.result(timeout=30)
            gaps.append(min(float(words[0]) for words in marks() if int(words[1]) != victim) - killed)
            numbers = [int(words[3]) for words in marks()]
            if len(numbers) > len(set(numbers)) + 1:  # the one that was under way may begin twice
                raise RuntimeError("finished steps were repeated")
    return spread(gaps)


ALL = (
    throughput,
    single_enqueue,
    latency,
    isolation,
    sleepers,
    parallel_waits,
    parked,
    fan_out,
    recovery,
    admission,
    flood,
    queue_flood,
    bulk,
)
