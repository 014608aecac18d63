"""A long process that looks again and again: signals, a connection that heals, jobs that are due at their own pace."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import psycopg

from holdfast import db

logger = logging.getLogger("holdfast.poller")

#: A job of a poller: gets the connection (autocommit), returns the seconds after which to call it again at the latest.
Job = Callable[[db.Conn], float | None]
#: Seconds to wait after PostgreSQL did not answer.
RECONNECT = 0.3


@dataclass(slots=True)
class _Duty:
    job: Job
    every: float  # seconds
    due: float = field(default=0.0)


class Poller:
    """Calls each job at least every so many seconds, until SIGTERM or SIGINT.

    A job that fails is logged and called again at its next time: one broken duty does not keep the others from theirs.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._duties: list[_Duty] = []
        self._stop = threading.Event()
        self._conn: db.Conn | None = None

    def every(self, seconds: float, job: Job) -> None:
        self._duties.append(_Duty(job, seconds))

    def stop(self) -> None:
        self._stop.set()

    def run(self) -> None:
        """Blocks until `stop`, SIGTERM or SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stop())
        while not self._stop.is_set():
            for duty in self._duties:
                if time.monotonic() >= duty.due:
                    self._perform(duty)
            self._stop.wait(max(0.0, min(d.due for d in self._duties) - time.monotonic()))
        if self._conn is not None:
            self._conn.close()

    def _perform(self, duty: _Duty) -> None:
        pause = duty.every
        try:
            if self._conn is None or self._conn.closed or self._conn.broken:
                self._conn = db.connect(self._name)
            sooner = duty.job(self._conn)
            if sooner is not None:
                pause = max(0.0, min(pause, sooner))
        except psycopg.Error as error:
            if not (isinstance(error, psycopg.OperationalError) or db.is_passing(error)):
                self._failed(duty)
            else:
                logger.warning("%s: PostgreSQL is away (%s)", self._name, str(error).strip().splitlines()[0])
                pause = RECONNECT
            if error.sqlstate == db.READ_ONLY and self._conn is not None:
                self._conn.close()  # this session stays so, whatever becomes of the server
        except Exception:
            self._failed(duty)
        duty.due = time.monotonic() + pause

    def _failed(self, duty: _Duty) -> None:
        logger.exception("%s: %s failed; it is tried again", self._name, getattr(duty.job, "__name__", duty.job))
