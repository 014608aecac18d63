"""Bare rq and DBOS on the same servers, so that ratios can be quoted."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
import venv
from pathlib import Path
from urllib.parse import urlsplit

from tests.benchmarks.scenarios import Figures
from tests.benchmarks.stage import ROOT, Stage

DBOS_SCRIPT = Path(__file__).with_name("dbos_script.py")
DBOS = "dbos>=3.4,<4"


def rq_noop() -> None:
    """The job that rq runs."""


def rq_clock() -> float:
    return time.time()


def rq_peer(stage: Stage, scale: float) -> Figures:
    """rq's SimpleWorker, two processes; results stored, as it does by default."""
    import redis
    from rq import Queue

    client = redis.Redis.from_url(stage.redis_url)
    client.flushdb()  # what an earlier round finished is counted there, too
    queue = Queue("bench-rq", connection=client)
    count = int(1_500 * scale)
    began = time.perf_counter()
    queue.enqueue_many([Queue.prepare_data(rq_noop) for _ in range(count)])
    enqueued = count / (time.perf_counter() - began)
    code = (
        "import sys, redis; from rq import Queue, SimpleWorker; "
        "c = redis.Redis.from_url(sys.argv[1]); "
        "SimpleWorker([Queue('bench-rq', connection=c)], connection=c).work(logging_level='ERROR')"
    )
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", code, stage.redis_url],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(2)
    ]
    try:
        finished = queue.finished_job_registry
        stage.until(lambda: finished.count > 0, "rq begins", 30)
        began, already = time.perf_counter(), finished.count
        stage.until(lambda: finished.count >= count, "rq ends", 120)
        rate = (count - already) / (time.perf_counter() - began)
        waits = []
        for _ in range(max(10, int(60 * scale))):
            called = time.time()
            job = queue.enqueue(rq_clock)
            time.sleep(0.05)
            while job.return_value() is None:
                time.sleep(0.005)
            waits.append(1_000 * (job.return_value() - called))
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait(20)
    return {"no-op runs/s": rate, "bulk enqueue/s": enqueued, "idle latency p50, ms": statistics.median(waits)}


def dbos_python(folder: Path) -> Path:
    """A throwaway virtual environment with DBOS in it."""
    home = folder / "dbos-env"
    if not home.exists():
        venv.create(home, with_pip=True)
        subprocess.run(
            [home / "bin" / "pip", "install", "-q", DBOS],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    return home / "bin" / "python"


def dbos_peer(stage: Stage, scale: float) -> Figures:
    """DBOS with async workflows on a queue that is polled every 20 ms, two processes."""
    stage.query("DROP DATABASE IF EXISTS bench_dbos WITH (FORCE)")
    stage.query("CREATE DATABASE bench_dbos")
    url = urlsplit(stage.database_url)._replace(path="/bench_dbos").geturl()
    python = dbos_python(stage.folder)
    environment = {**os.environ, "BENCH_DBOS_URL": url}
    worker = [
        subprocess.Popen(
            [python, str(DBOS_SCRIPT), "work", str(n)],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for n in range(2)
    ]
    try:
        done = subprocess.run(
            [python, str(DBOS_SCRIPT), "measure", str(scale)],
            env=environment,
            check=True,
            stdout=subprocess.PIPE,
            timeout=300,
        )
    finally:
        for process in worker:
            process.terminate()
        for process in worker:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    figures: Figures = json.loads(done.stdout.decode().strip().splitlines()[-1])
    return figures


ALL = {"rq": rq_peer, "dbos": dbos_peer}
#: Which figure of ours stands against which of theirs.
AGAINST = {
    "no-op runs/s": "no-op runs/s, async",
    "durable steps/s": "durable steps/s",
    "bulk enqueue/s": "bulk enqueue/s",
    "idle latency p50, ms": "idle latency p50, ms",
}
