"""What waiting costs: runs that sleep outside of any worker, parents of many children, and deaths."""

from __future__ import annotations

import statistics
import time

import psutil

from tests.benchmarks.stage import Stage

Figures = dict[str, float]
#: Seconds for which it is watched what waiting runs cost.
WATCHED = 20.0


def _task(name: str) -> object:
    from runs.sdk.task import registry

    return registry.get(f"bench-{name}")


def parallel_waits(stage: Stage, scale: float) -> Figures:
    """10,000 runs that wait for 5 s each, on two workers: from letting go to the last end."""
    count = int(10_000 * scale)
    with stage.crew(2) as processes:
        stage.pause(True)
        _task("wait").enqueue_many([{"seconds": 5.0}] * count)  # type: ignore[attr-defined]
        began = time.perf_counter()
        stage.pause(False)
        most = 0
        peak = 0.0

        def ended() -> bool:
            nonlocal most, peak
            waiting, left = stage.query(
                "SELECT count(*) FILTER (WHERE status = 'waiting'), count(*) FROM runs_run "
                "WHERE task_id = 'bench-wait' AND finished_at IS NULL"
            )[0]
            most = max(most, waiting)
            peak = max(peak, *(psutil.Process(p.pid).memory_info().rss for p in processes[:2]))
            return bool(left == 0)

        stage.until(ended, f"{count} runs wake up and end", timeout=300)
        span = time.perf_counter() - began
    return {
        "10,000 waits of 5 s, makespan s": span,
        "10,000 waits of 5 s, most at once": float(most),
        "10,000 waits of 5 s, largest worker MB": peak / 2**20,
    }


def parked(stage: Stage, scale: float) -> Figures:
    """100,000 runs that wait for an hour, on two workers: what they cost while they wait."""
    count = int(100_000 * scale)
    with stage.crew(2) as processes:
        workers = [psutil.Process(process.pid) for process in processes[:2]]
        before = max(worker.memory_info().rss for worker in workers)
        began = time.perf_counter()
        for _ in range(10):
            _task("wait").enqueue_many([{"seconds": 3_600.0}] * (count // 10))  # type: ignore[attr-defined]
        waiting = "SELECT count(*) FROM runs_run WHERE task_id = 'bench-wait' AND status = 'waiting'"
        stage.until(lambda: stage.query(waiting)[0][0] == count, f"{count} runs wait", timeout=300)
        span = time.perf_counter() - began
        used = [sum(worker.cpu_times()[:2]) for worker in workers]
        time.sleep(WATCHED)
        idle = sum(sum(worker.cpu_times()[:2]) for worker in workers) - sum(used)
        held = sum(stage.query(f"SELECT count(*) FROM queues_{table}")[0][0] for table in ("lease", "entry"))
        memory = max(worker.memory_info().rss for worker in workers)
        latencies = []
        for _ in range(50):
            began = time.perf_counter()
            _task("clock").enqueue().result(timeout=20)  # type: ignore[attr-defined]
            latencies.append(time.perf_counter() - began)
    stage.query("DELETE FROM queues_timer WHERE entry_id IN (SELECT id FROM runs_run WHERE task_id = 'bench-wait')")
    stage.query("DELETE FROM runs_wait WHERE run_id IN (SELECT id FROM runs_run WHERE task_id = 'bench-wait')")
    stage.query("DELETE FROM runs_run WHERE task_id = 'bench-wait'")
    return {
        "100,000 waits of an hour, all put down after s": span,
        "100,000 waits of an hour, slots and entries held": float(held),
        "100,000 waits of an hour, largest worker MB": memory / 2**20,
        "100,000 waits of an hour, of that before they came MB": before / 2**20,
        "100,000 waits of an hour, workers' share of a core %": 100 * idle / WATCHED,
        "100,000 waits of an hour, another run's result p50, ms": 1_000 * statistics.median(latencies),
    }


def fan_out(stage: Stage, scale: float) -> Figures:
    """A parent with 10,000 children, on two workers: from its enqueue to its result, in order."""
    count = int(10_000 * scale)
    with stage.crew(2):
        _task("clock").enqueue().result(timeout=20)  # type: ignore[attr-defined]
        began = time.perf_counter()
        handle = _task("fan").enqueue(count=count)  # type: ignore[attr-defined]
        total = handle.result(timeout=300)
        span = time.perf_counter() - began
    assert total == sum(range(count))
    return {"fan-out of 10,000 children, s": span, "children/s": count / span}


def percentile(values: list[float], share: float) -> float:
    """Of a list that need not be sorted."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def spread(gaps: list[float]) -> Figures:
    """The distribution of recovery times."""
    return {
        "kill -9 to going on, kills": float(len(gaps)),
        "kill -9 to going on, p50 s": statistics.median(gaps),
        "kill -9 to going on, p99 s": percentile(gaps, 0.99),
        "kill -9 to going on, max s": max(gaps),
    }
