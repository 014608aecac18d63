"""The pulse of a worker: its lock, its heartbeat, and the look after others (DESIGN D8).

A thread of its own, never the tasks' event loop: a task that computes for an hour without yielding does not keep the
worker from proving that it lives.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

import psutil
import psycopg

from holdfast import db
from queues import store as queue_store
from runs.engine import recovery
from runs.engine.duty import Duty

if TYPE_CHECKING:
    from runs.engine.engine import Engine

logger = logging.getLogger("holdfast.beat")

#: Seconds between heartbeats, and between looks for dead workers.
BEAT, LOOK = 2.0, 0.5


class Beat(Duty):
    """Holds the connection whose life is the worker's."""

    def __init__(self, engine: Engine, timeout: float) -> None:
        super().__init__("beat")
        self._engine = engine
        self._timeout = timeout
        self._ending = threading.Event()
        self._conn: queue_store.Conn = db.connect("beat")
        self._process = psutil.Process()

    @property
    def conn(self) -> queue_store.Conn:
        """For registering, before the thread starts."""
        return self._conn

    def close(self) -> None:
        self._ending.set()
        self.join(5)
        self._conn.close()

    def serve(self) -> None:
        beaten = 0.0
        while not self._ending.is_set():
            try:
                if self._conn.closed or self._conn.broken:
                    self._reconnect()
                if time.monotonic() - beaten >= BEAT:
                    beaten = time.monotonic()
                    if not self._beat():
                        self._engine.fence()
                        return
                if recovery.recover(self._conn, timeout=self._timeout, myself=self._engine.worker_id):
                    self._engine.wake()
            except psycopg.Error as error:
                logger.warning("no heartbeat (%s); trying again", str(error).strip().splitlines()[0])
                if not (self._conn.closed or self._conn.broken):
                    self._conn.close()
            self._ending.wait(LOOK)

    def _beat(self) -> bool:
        now = queue_store.worker_beat(
            self._conn,
            self._engine.worker_id,
            running=self._engine.in_flight,
            memory=self._process.memory_info().rss,
            draining=self._engine.draining,
        )
        if now is None:
            return False
        self._engine.clock.set(now)
        return True

    def _reconnect(self) -> None:
        """A new connection holds no lock: take it again before anybody concludes that we died. (They look at the start
        of PostgreSQL for which we last said that we hold it.)"""
        self._conn = db.connect("beat")
        if not queue_store.worker_hold(self._conn, self._engine.worker_id):
            self._conn.close()  # the broken session has not ended yet; the next turn tries again
