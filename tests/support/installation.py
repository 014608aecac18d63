"""A pair of servers of a test's own, which it may stop as it likes, and the processes that work on them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from holdfast.embedded import EmbeddedServers
from holdfast.embedded.process import find
from runs import store
from tests.support.processes import ROOT, Fleet
from tests.support.waiting import eventually


@dataclass
class Installation:
    """Asked and fed through connections of its own, which come back as the servers do."""

    servers: EmbeddedServers
    fleet: Fleet
    _conn: psycopg.Connection[Any] | None = None

    def migrate(self) -> None:
        done = subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), "migrate", "--verbosity", "0"],
            env=self.fleet.environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def worker(self, name: str, **environment: str) -> Any:
        process = self.fleet.start(name, "work", "--name", name, **environment)
        eventually(
            lambda: self.ask("SELECT 1 FROM queues_worker WHERE name = %s", name), f"{name} registers", timeout=90
        )
        return process

    # ── the servers ──────────────────────────────────────────────────────────────────────────────────────────────

    def restart_postgresql(self, how: signal.Signals) -> None:
        """SIGINT: fast; SIGQUIT: immediate, with recovery at the next start; SIGKILL: as the machine's own killer."""
        self.kill_postgresql(how)
        self.servers.ensure()

    def kill_postgresql(self, how: signal.Signals) -> None:
        files = self.servers.data_dir / "postgres"
        running = find(files / "postmaster.pid", "postgres", files)
        assert running is not None
        os.kill(running.pid, how)
        running.wait(60)

    def configure(self, line: str) -> None:
        """PostgreSQL starts again with this setting."""
        with (self.servers.data_dir / "conf" / "postgres.local.conf").open("a") as file:
            file.write(line + "\n")
        self.restart_postgresql(signal.SIGINT)

    @contextmanager
    def locked(self, query: str) -> Iterator[None]:
        """A session holds what the query locks, for as long as it and PostgreSQL live."""
        with suppress(psycopg.OperationalError), psycopg.connect(self.servers.database_url) as conn:
            conn.execute(query)
            yield

    # ── what is in them ──────────────────────────────────────────────────────────────────────────────────────────

    def conn(self) -> psycopg.Connection[Any]:
        if self._conn is None or self._conn.closed or self._conn.broken:
            self._conn = psycopg.connect(self.servers.database_url, autocommit=True, connect_timeout=20)
        return self._conn

    def ask(self, query: str, *params: Any) -> list[tuple[Any, ...]]:
        """Rows; asked again when the connection broke."""
        deadline = time.monotonic() + 60
        while True:
            try:
                return self.conn().execute(query, params).fetchall()
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def enqueue(self, task: str, lane: int, payloads: Sequence[dict[str, Any]], **options: Any) -> list[UUID]:
        """One transaction; raises psycopg.Error when it cannot be said that it was committed. No wake-up goes out:
        the sweeper's work."""
        new = store.NewRuns(
            task=task, queue="default", lane=lane, payloads=[json.dumps(p) for p in payloads], max_attempts=3, **options
        )
        return store.enqueue(self.conn(), new)[0]

    def all_final(self, ids: Sequence[UUID], timeout: float = 60.0) -> None:
        def left() -> list[tuple[Any, ...]]:
            return self.ask("SELECT id, status FROM runs_run WHERE id = ANY(%s) AND finished_at IS NULL", list(ids))

        eventually(lambda: not left(), f"all {len(ids)} runs end", timeout)

    def statuses(self, ids: Sequence[UUID]) -> set[str]:
        return {row[0] for row in self.ask("SELECT status FROM runs_run WHERE id = ANY(%s)", list(ids))}

    def count(self, table: str) -> int:
        return int(self.ask(f"SELECT count(*) FROM {table}")[0][0])

    def close(self) -> None:
        self.fleet.stop()
        if self._conn is not None:
            self._conn.close()
        self.servers.stop()


def environment_of(servers: EmbeddedServers, base: dict[str, str], **more: str) -> dict[str, str]:
    kept = {name: value for name, value in base.items() if not name.startswith("HOLDFAST_")}
    return {
        **kept,
        "DATABASE_URL": servers.database_url,
        "REDIS_URL": servers.redis_url,
        "HOLDFAST_SECRET_KEY": base["HOLDFAST_SECRET_KEY"],
        "HOLDFAST_DATA_DIR": str(Path(servers.data_dir)),
        "PYTHONUNBUFFERED": "1",
        **more,
    }
