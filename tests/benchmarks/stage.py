"""The stage: servers in a temporary folder, Django set up on them, worker and scheduler processes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TASKS = Path(__file__).with_name("tasks.py")


class Stage:
    """Servers, and the processes of one scenario."""

    def __init__(self, folder: Path, database_url: str, redis_url: str) -> None:
        self.folder = folder
        self.ledger = folder / "ledger"
        self.database_url = database_url
        self.redis_url = redis_url

    def query(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return list(cursor.fetchall()) if cursor.description else []

    def until(self, condition: Callable[[], bool], what: str, timeout: float = 120.0) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"after {timeout:.0f} s still not: {what}")
            time.sleep(0.02)

    def drained(self) -> bool:
        return self.query("SELECT EXISTS (SELECT FROM queues_entry) OR EXISTS (SELECT FROM queues_lease)") == [(False,)]

    def pause(self, paused: bool) -> None:
        from queues.tickets import wake

        self.query("UPDATE queues_queue SET paused_at = CASE WHEN %s THEN now() END", paused)
        if not paused:
            wake(["default"])

    @contextmanager
    def crew(self, workers: int = 2) -> Iterator[list[subprocess.Popen[bytes]]]:
        """Worker processes and a scheduler, ready for work, ended by their pid."""
        before = self.query("SELECT coalesce(max(id), 0) FROM queues_worker")[0][0]
        commands = [["work", "--name", f"bench-{time.time_ns()}-{n}"] for n in range(workers)] + [["schedule"]]
        environment = {**os.environ, "BENCH_LEDGER": str(self.ledger)}
        processes = [
            subprocess.Popen(
                [sys.executable, str(ROOT / "manage.py"), *command],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for command in commands
        ]
        try:
            self.until(
                lambda: self.query("SELECT count(*) FROM queues_worker WHERE id > %s", before)[0][0] == workers,
                "the workers register",
                30,
            )
            yield processes
        finally:
            for process in processes:
                if process.poll() is None:
                    process.terminate()
            for process in processes:
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


@contextmanager
def stage(kept: Path | None = None) -> Iterator[Stage]:
    """Starts the servers, migrates, and takes everything away again, also when it is terminated; but for a data folder
    that is `kept`."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    for name in list(os.environ):
        if name.startswith("HOLDFAST_") or name in {"DATABASE_URL", "REDIS_URL"}:
            del os.environ[name]
    folder = Path(tempfile.mkdtemp(prefix="holdfast-bench-"))
    data = kept or Path(tempfile.mkdtemp(prefix="holdfast-bench-data-"))
    from holdfast.embedded import EmbeddedServers

    try:
        with EmbeddedServers(data, durable=True, die_with_parent=True) as servers:
            os.environ.update(
                DATABASE_URL=servers.database_url,
                REDIS_URL=servers.redis_url,
                HOLDFAST_DATA_DIR=str(data),
                HOLDFAST_TASKS=str(TASKS),
                HOLDFAST_DEMO="0",
                HOLDFAST_SECRET_KEY="for-benchmarks-only-" * 3,
                DJANGO_SETTINGS_MODULE="holdfast.settings",
            )
            import django
            from django.core.management import call_command

            django.setup()
            call_command("migrate", verbosity=0)
            from runs import registration

            registration.discover()
            registration.register_all()
            yield Stage(folder, servers.database_url, servers.redis_url)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if kept is None:
            shutil.rmtree(data, ignore_errors=True)
