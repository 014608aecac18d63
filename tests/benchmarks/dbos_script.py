"""Runs inside DBOS's own virtual environment: `work N` serves the queue, `measure SCALE` prints figures as JSON."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time

import sqlalchemy
from dbos import DBOS, DBOSClient, DBOSConfig

URL = os.environ["BENCH_DBOS_URL"]


@DBOS.workflow()
async def noop(n: int) -> None:
    return None


@DBOS.step()
async def tiny(n: int) -> int:
    return n


@DBOS.workflow()
async def ten_steps(n: int) -> int:
    total = 0
    for number in range(10):
        total += await tiny(number)
    return total


@DBOS.workflow()
async def clock() -> float:
    return time.time()


def work(number: str) -> None:
    config: DBOSConfig = {
        "name": "bench",
        "system_database_url": URL,
        "executor_id": f"worker-{number}",
        "application_version": "1",
        "log_level": "ERROR",
        "sys_db_pool_size": 20,
    }
    DBOS(config=config)
    DBOS.launch()
    DBOS.register_queue("bench", worker_concurrency=200, polling_interval_sec=0.02)
    while True:
        time.sleep(1)


def measure(scale: float) -> dict[str, float]:
    engine = sqlalchemy.create_engine(URL.replace("postgresql://", "postgresql+psycopg://", 1))
    client = DBOSClient(system_database_url=URL)

    def call(name: str, *arguments: object) -> object:
        return client.enqueue({"workflow_name": name, "queue_name": "bench", "app_version": "1"}, *arguments)

    def pending(name: str) -> int:
        with engine.connect() as conn:
            text = "SELECT count(*) FROM dbos.workflow_status WHERE name = :n AND status IN ('ENQUEUED', 'PENDING')"
            return int(conn.execute(sqlalchemy.text(text), {"n": name}).scalar() or 0)

    deadline = time.monotonic() + 60
    while True:  # the workers make the tables and the queue
        try:
            handle = call("clock")
            handle.get_result()  # type: ignore[attr-defined]
            break
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)

    def flood(name: str, count: int) -> tuple[float, float]:
        began = time.perf_counter()
        for n in range(count):
            call(name, n)
        enqueued = count / (time.perf_counter() - began)
        while pending(name):
            time.sleep(0.02)
        # Workers serve while the client enqueues: the whole span counts, from the first enqueue to the last end.
        return enqueued, count / (time.perf_counter() - began)

    enqueued, runs = flood("noop", int(1_500 * scale))
    _, tens = flood("ten_steps", int(200 * scale))
    waits = []
    for _ in range(max(10, int(60 * scale))):
        called = time.time()
        handle = call("clock")
        time.sleep(0.05)
        waits.append(1_000 * (handle.get_result() - called))  # type: ignore[attr-defined]
    return {
        "no-op runs/s": runs,
        "durable steps/s": 10 * tens,
        "bulk enqueue/s": enqueued,
        "idle latency p50, ms": statistics.median(waits),
    }


if __name__ == "__main__":
    if sys.argv[1] == "work":
        work(sys.argv[2])
    else:
        print(json.dumps(measure(float(sys.argv[2]))))
