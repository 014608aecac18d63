"""What a bulk job does in a second."""

from __future__ import annotations

from typing import Any

from tests.benchmarks.stage import Stage

Figures = dict[str, float]
ERROR = '{"type": "builtins.ConnectionError", "message": "no route", "fingerprint": "bench", "traceback": ""}'


def bulk(stage: Stage, scale: float) -> Figures:
    """20,000 failed runs are retried by a bulk job, and then cancelled by another, on one worker. Their queue is
    paused: nothing else is at work."""
    count = int(20_000 * scale)
    with stage.crew(1):
        _hold(stage, True)
        try:
            _failed(stage, count)
            retried = _work(stage, "retry", count)
            cancelled = _work(stage, "cancel", count)
        finally:
            _hold(stage, False)
    return {"bulk retry, runs/s": count / retried, "bulk cancel, runs/s": count / cancelled}


def _hold(stage: Stage, paused: bool) -> None:
    """Pauses the queue of the runs, and no other."""
    stage.query("UPDATE queues_queue SET paused_at = CASE WHEN %s THEN now() END WHERE name = 'default'", paused)


def _failed(stage: Stage, count: int) -> None:
    """So many runs that have failed at their first attempt."""
    from runs.sdk.task import registry

    task: Any = registry.get("bench-clock")
    task.enqueue_many([{}] * count)
    stage.query("DELETE FROM queues_entry")
    stage.query(
        "UPDATE runs_run SET status = 'failed', attempt = 1, failures = 1, started_at = now(), finished_at = now(), "
        "error = %s::jsonb WHERE task_id = 'bench-clock' AND finished_at IS NULL",
        ERROR,
    )
    stage.query("ANALYZE")


def _work(stage: Stage, action: str, count: int) -> float:
    """Seconds from the beginning of a job's run to its end."""
    from holdfast.access.grants import Actor
    from runs.bulk.services import bulk_create

    status = {"retry": "failed", "cancel": "queued"}[action]
    search = f"task:bench-clock status:{status}"
    job = bulk_create(action=action, search=search, reason="a benchmark", actor=Actor.local())
    stage.until(
        lambda: stage.query("SELECT finished_at IS NOT NULL FROM runs_run WHERE id = %s", job.id) == [(True,)],
        f"{count} runs are acted upon",
        timeout=900,
    )
    job.refresh_from_db()
    assert (job.total, job.done) == (count, count), (job.total, job.done, job.skipped, job.failed)
    span = stage.query(
        "SELECT extract(epoch FROM finished_at - started_at)::float8 FROM runs_run WHERE id = %s", job.id
    )
    return float(span[0][0])
