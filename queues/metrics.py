"""Queues and workers as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric

from queues import tickets
from queues.backlog import WORKER_STATES, Backlog, WorkerCount, backlogs, later, worker_counts
from queues.store import Conn


def families(conn: Conn) -> Iterator[Metric]:
    """All of it, as it is now: three statements, however many queues there are."""
    queues = backlogs(conn)
    waiting = later(conn)
    workers = worker_counts(conn)
    yield from _of_queues(queues, waiting)
    yield from _of_workers(workers)


def _of_queues(queues: Sequence[Backlog], waiting: dict[str, int]) -> Iterator[Metric]:
    def gauge(name: str, says: str, values: Iterable[float | None]) -> Metric:
        family = GaugeMetricFamily(f"holdfast_queue_{name}", says, labels=("queue", "pool"))
        for queue, value in zip(queues, values, strict=True):
            if value is not None:
                family.add_metric((queue.queue, queue.pool), value)
        return family

    yield gauge("depth", "Runs that are due and wait for a worker, up to 10,001.", (q.due for q in queues))
    yield gauge(
        "startable",
        "Runs of these that a worker with room could start now: no limit, rate or pause holds them. Scale by this.",
        (q.startable for q in queues),
    )
    yield gauge(
        "head_wait_seconds",
        "How long the oldest startable run has waited; 0 when there is none.",
        (q.head_wait for q in queues),
    )
    yield gauge(
        "oldest_wait_seconds",
        "How long the oldest due run has waited, whatever holds it; 0 when there is none.",
        (q.oldest_wait for q in queues),
    )
    yield gauge("running", "Runs in the hands of workers.", (q.running for q in queues))
    yield gauge(
        "waiting",
        "Runs that go on later: scheduled, retrying, or waiting for a time, an answer or another run.",
        (waiting.get(q.queue, 0) for q in queues),
    )
    yield gauge(
        "concurrency_limit",
        "Runs that may be at work at once; no sample where there is no limit.",
        (q.concurrency_limit for q in queues),
    )
    yield gauge("paused", "1 while the queue is paused or drains.", (float(q.paused) for q in queues))


def _of_workers(workers: Sequence[WorkerCount]) -> Iterator[Metric]:
    says = "Workers that have neither said goodbye nor been declared lost; a silent one is about to be."
    by_state = GaugeMetricFamily("holdfast_workers", says, labels=("state",))
    for state in WORKER_STATES:
        by_state.add_metric((state,), sum(w.count for w in workers if w.state == state))
    yield by_state
    says = "1 while `rq suspend` holds all workers back."
    yield GaugeMetricFamily("holdfast_workers_suspended", says, value=tickets.suspended())
    by_pool = GaugeMetricFamily("holdfast_pool_workers", "Workers that take work of the pool.", labels=("pool",))
    for pool in sorted({pool for w in workers for pool in w.pools}):
        by_pool.add_metric((pool,), sum(w.count for w in workers if pool in w.pools and w.state == "alive"))
    yield by_pool
