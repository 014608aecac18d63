"""The RQ worker whose jobs are tickets: each ticket is a shift of the engine (DESIGN D2).

RQ wakes, counts, suspends and stops it as any other worker; the runs themselves never pass through Redis.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from typing import Any, Final

import redis
from django.db import connections
from rq import SimpleWorker
from rq.exceptions import InvalidJobOperation
from rq.executions import Execution
from rq.job import Job
from rq.suspension import is_suspended

from queues import tickets
from runs import discovery, registration
from runs.engine.engine import Engine
from runs.engine.limits import Limits

logger = logging.getLogger("holdfast.worker")

#: Seconds between the signs of life that RQ expects, and between looks whether RQ has been suspended.
RQ_BEAT, SUSPENSION_LOOK = 30.0, 1.0
#: Seconds that the main loop waits for a ticket at a time, and that Redis may take to answer beyond that: so soon is
#: a connection noticed that is dead and was never closed. (RQ has one such time for all it asks, and may ask two or
#: three things of a dead connection, one after the other, before it believes it.)
TICKET_WAIT, REDIS_ANSWER = 4, 2
#: Seconds that threads of runs that were left get to end before the process does.
LAST_CALL: Final = 2.0
#: Exit code of a worker that was declared lost while it lived.
FENCED: Final = 3


def _end_soon(code: int) -> None:
    """Python waits at its exit for every thread of a pool: one in the middle of somebody's code may take hours, and
    what it does is no longer this worker's."""

    def end() -> None:
        threading.Event().wait(LAST_CALL)
        os._exit(code)

    threading.Thread(target=end, name="holdfast-last-call", daemon=True).start()


class ShiftWorker(SimpleWorker):
    """Runs shifts. `rqworker --worker-class runs.engine.worker.ShiftWorker` works; `manage.py work` is shorter."""

    log_job_description = False
    log_result_lifespan = False
    exponential_backoff_factor = 1.0  # when Redis is away, look again every second, not ever more rarely

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.engine: Engine | None = None
        self._beaten = self._looked = time.monotonic()
        self._suspended = False
        self._burst = False
        self._execution: Execution | None = None
        self._job: Job | None = None

    # ── RQ's life cycle ──────────────────────────────────────────────────────────────────────────────────────────

    @property
    def dequeue_timeout(self) -> int:
        return TICKET_WAIT

    @property
    def connection_timeout(self) -> int:
        return TICKET_WAIT + REDIS_ANSWER

    def work(self, burst: bool = False, *args: Any, **kwargs: Any) -> bool:
        """As rq's. The engine starts with it and stops with it.

        Raises:
            HoldfastError: the tasks cannot be imported, or cannot be stored as they are declared.
        """
        discovery.discover()
        registration.register_all()
        connections.close_all()  # the engine has connections of its own; this thread needs none
        self._burst = burst
        self.engine = Engine(
            name=self.name,
            pools=self.queue_names(),
            limits=Limits.from_settings(),
            # The main thread may sit in a blocking read of Redis: only a signal gets it out of there.
            on_fenced=lambda: os.kill(os.getpid(), signal.SIGTERM),
        )
        self.engine.start()
        tickets.on_ticket = self._shift
        try:
            if burst:
                self._install_signal_handlers()  # type: ignore[no-untyped-call]
                if not tickets.suspended():
                    self.engine.shift(lambda: self._must_end() or tickets.suspended(), linger=0.3)
            return bool(super().work(burst, *args, **kwargs))
        finally:
            tickets.on_ticket = None
            self.engine.stop()
            if self.engine.left_work:
                _end_soon(FENCED if self.engine.fenced else 0)

    def execute_job(self, job: Job, queue: Any) -> None:
        """A ticket. RQ's own bookkeeping around it needs Redis; the shift does not, nor what follows it."""
        try:
            super().execute_job(job, queue)
        except redis.RedisError as error:
            self._without_redis(error)

    def prepare_execution(self, job: Job) -> Execution:
        self._job, self._execution = job, super().prepare_execution(job)
        return self._execution

    def handle_job_success(self, job: Job, queue: Any, started_job_registry: Any, execution: Execution) -> None:
        """A shift is over. Redis may have been emptied meanwhile: of a ticket nothing has to be kept."""
        try:
            super().handle_job_success(job, queue, started_job_registry, execution)
        except InvalidJobOperation:
            logger.info("Redis has forgotten the ticket of this shift; was it emptied? Nothing is lost by it")
            with self.connection.pipeline() as pipeline:
                self.cleanup_execution(job, pipeline=pipeline, execution=execution)
                pipeline.execute()

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """RQ calls it around every dequeue. When Redis is away, so are tickets: work a shift without one."""
        try:
            super().heartbeat(timeout, pipeline)
        except redis.RedisError as error:
            self._without_redis(error)

    def set_state(self, state: Any, pipeline: Any = None) -> None:
        """For RQ's pages; without Redis there is nobody to tell, and rq's loop would end over it."""
        with contextlib.suppress(redis.RedisError):
            super().set_state(state, pipeline)

    def check_for_suspension(self, burst: bool) -> None:
        """Waits while `rq suspend` holds workers back; runs that are here go on meanwhile. Without Redis nobody has
        suspended us."""
        with contextlib.suppress(redis.RedisError):
            super().check_for_suspension(burst)
        if self._suspended:  # it came in the middle of a shift, whose ticket is spent: what was left has none
            self._suspended = False
            for pool in self.queue_names():
                tickets.push_safely(pool)

    def run_maintenance_tasks(self) -> None:
        """Not without Redis."""
        with contextlib.suppress(redis.RedisError):
            super().run_maintenance_tasks()  # type: ignore[no-untyped-call]

    def teardown(self) -> None:
        """A goodbye that Redis does not hear is no reason to end with an error: the registration expires."""
        try:
            super().teardown()  # type: ignore[no-untyped-call]
        except redis.RedisError as error:
            logger.debug("no goodbye to RQ: %s", error)

    def _without_redis(self, error: redis.RedisError) -> None:
        if self.engine is None or self._must_end():
            return
        logger.warning("Redis is away (%s); looking for work in PostgreSQL until it is back", error)
        self.engine.shift(self._redis_is_back, linger=float("inf"))
        if not self._must_end():
            # It may have come back empty. Whoever finds itself registered still says so by a ValueError.
            with contextlib.suppress(redis.RedisError, ValueError):
                self.register_birth()  # type: ignore[no-untyped-call]

    def handle_warm_shutdown_request(self) -> None:
        super().handle_warm_shutdown_request()  # type: ignore[no-untyped-call]
        if self.engine is not None:
            self.engine.draining = True

    # ── shift ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _shift(self, pool: str) -> None:
        assert self.engine is not None
        logger.debug("a ticket for %s", pool)
        self._suspended = bool(is_suspended(self.connection, self))
        if self._suspended:  # since we began to wait for a ticket; a shift would lease before it looks
            return
        self.engine.shift(self._must_end, linger=0.3 if self._burst else 5.0, tick=self._tick)

    def _must_end(self) -> bool:
        return bool(self._stop_requested or self._suspended or (self.engine and self.engine.draining))

    def _redis_is_back(self) -> bool:
        if self._must_end():
            return True
        try:
            return bool(tickets.connection().ping())
        except redis.RedisError:
            return False

    def _tick(self) -> None:
        """Twice a second during a shift: RQ's heartbeat (its own assumes short jobs) and `rq suspend`."""
        now = time.monotonic()
        try:
            if now - self._looked >= SUSPENSION_LOOK:
                self._looked = now
                self._suspended = bool(is_suspended(self.connection, self))
            if now - self._beaten >= RQ_BEAT and self._job is not None and self._execution is not None:
                self._beaten = now
                self.maintain_heartbeats(self._job, self._execution)
        except redis.RedisError as error:
            logger.debug("no sign of life to RQ: %s", error)


__all__: Final = ["ShiftWorker"]
