"""The pulse of a worker: its lock, its heartbeat, and the look after others (DESIGN D8).

A thread of its own, never the tasks' event loop: a task that computes for an hour without yielding does not keep the
worker from proving that it lives.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import time
from typing import TYPE_CHECKING

import psutil
import psycopg

from holdfast import db
from queues import store as queue_store
from runs.engine.duty import Duty
from runs.engine.looking import Looks
from runs.engine.recovery import Watch

if TYPE_CHECKING:
    from runs.engine.engine import Engine

logger = logging.getLogger("holdfast.beat")

#: Seconds between heartbeats, and between looks for dead workers.
BEAT, LOOK = 2.0, 0.5
#: Seconds between attempts to have the connection and its lock back, before anybody concludes that we died.
RECONNECT = 0.1
#: Longest wait for a lock of PostgreSQL: whoever holds rows for long must not keep the heart from beating.
PATIENCE = "2s"


class Beat(Duty):
    """Holds the connection whose life is the worker's."""

    def __init__(self, engine: Engine, timeout: float) -> None:
        super().__init__("beat")
        self._engine = engine
        self._timeout = timeout
        self._woken, self._waker = socket.socketpair()  # once a byte is sent, which nobody takes, this is to end
        self._conn = _connect()
        self._process = psutil.Process()

    @property
    def conn(self) -> queue_store.Conn:
        """For registering, before the thread starts."""
        return self._conn

    def first(self) -> None:
        """Once registered, and before anything is leased: from here on this process knows the database's time."""
        self._beat()

    def close(self) -> None:
        self._waker.send(b"x")  # to close it would tell nothing while a forked process has a copy
        self.join(5)
        self._conn.close()

    def serve(self) -> None:
        beaten, away = 0.0, False
        watch, looks = Watch(self._timeout, self._engine.worker_id), Looks(self._engine)
        pause = 0.0
        while not self._is_over(pause):
            try:
                if self._conn.closed or self._conn.broken:
                    self._reconnect()
                    beaten = 0.0
                away = False
                if time.monotonic() - beaten >= BEAT:
                    beaten = time.monotonic()
                    if not self._beat():
                        self._engine.fence()
                        return
                if watch.look(self._conn):
                    self._engine.wake()
                looks.answer(self._conn)
            except psycopg.Error as error:
                # A connection that is well is kept, whatever a statement met: with it the lock would go. One that may
                # only read will never beat again.
                if error.sqlstate == db.READ_ONLY:
                    self._conn.close()
                if not away:
                    logger.warning("no heartbeat (%s); trying again", str(error).strip().splitlines()[0])
                away = self._conn.closed or self._conn.broken
            pause = RECONNECT if away else LOOK

    def _is_over(self, seconds: float) -> bool:
        """Rests for that time, or until this is to end, or PostgreSQL has something to say. To a session that asks for
        nothing that is mostly its end, after which others wait for less than a second before they think us dead."""
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        if not self._conn.closed:
            poll.register(self._conn.fileno(), select.POLLIN)
        return self._woken.fileno() in dict(poll.poll(seconds * 1000))

    def _beat(self) -> bool:
        asked = time.monotonic()
        answer = queue_store.worker_beat(
            self._conn,
            self._engine.worker_id,
            running=self._engine.in_flight,
            memory=self._process.memory_info().rss,
            draining=self._engine.draining,
        )
        if answer is None:
            return False
        now, leave = answer
        self._engine.clock.set(now, asked)
        if leave and not self._engine.draining:
            logger.info("asked to leave; finishing what is at work")
            os.kill(os.getpid(), signal.SIGTERM)  # whatever ends this worker in good order ends it now
        return True

    def _reconnect(self) -> None:
        """A new connection holds no lock: take it again before anybody concludes that we died. (They look at the start
        of PostgreSQL for which we last said that we hold it.)"""
        conn = _connect()
        if not queue_store.worker_hold(conn, self._engine.worker_id):
            conn.close()
            raise psycopg.OperationalError("the session that was cut off holds the worker's lock still")
        self._conn = conn


def _connect() -> queue_store.Conn:
    conn = db.connect("beat")
    conn.execute(f"SET lock_timeout = '{PATIENCE}'")
    return conn
