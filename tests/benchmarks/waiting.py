"""What waiting costs: runs that sleep outside of any worker, parents of many children, and deaths."""

from __future__ import annotations

import statistics
import time

import psutil

from tests.benchmarks.stage import Stage

Figures = dict[str, float]


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
