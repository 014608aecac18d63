"""A worker process's engine: its threads, its event loop, its runs in flight.

    leaser ──runs──▶ event loop (async def) / threads (def) / processes ──rows──▶ writer ──commits──▶ PostgreSQL
       ▲                                                                            │
       └─────────────────────────────────── something ended, there may be room ─────┘
    beat: lock, heartbeat, the dead          ear: wake-ups from Redis          hints: open pages

The engine lives as long as the process. A *shift* is the time in which it leases: from a ticket until there has been
nothing to do for a while.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, copy_context
from functools import partial
from importlib.metadata import version
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db import close_old_connections

from holdfast import db
from holdfast.telemetry import emit
from queues import store as queue_store
from queues import tickets
from queues.models import Lane
from runs import registration, store
from runs.engine import capture, database, deferring, hooks, isolation, middleware
from runs.engine.batch import Batch
from runs.engine.beat import Beat
from runs.engine.breakers import Breakers
from runs.engine.clock import Clock
from runs.engine.context import ActiveRun
from runs.engine.ending import broken, finish_row, samples
from runs.engine.execute import cut_off, execute_async, execute_sync
from runs.engine.fairtime import LoopWatch
from runs.engine.hints import Hints
from runs.engine.isolation import Stay, Wards, Why
from runs.engine.leaser import Ear, Leaser, Work
from runs.engine.limits import Limits
from runs.engine.loop import LoopThread, end_tasks, new_loop, remember_task
from runs.engine.outcome import Fenced, Outcome, Stop
from runs.engine.port import Port, Sample
from runs.engine.spending import Accounts
from runs.engine.tail import Trimmer
from runs.engine.writer import Writer
from runs.models import RollupKind
from runs.sdk.context import current, set_executing
from runs.sdk.task import registry
from runs.states import Status

logger = logging.getLogger("holdfast.engine")

#: Seconds without work after which a shift ends.
LINGER: Final = 5.0
#: Seconds between two looks whether a shift is to end.
LOOK: Final = 0.5
#: Seconds that runs get to leave at a step boundary once the grace period is over.
HANDOVER: Final = 2.0


class Engine:
    """See the module. `start`, then `shift` as often as there are tickets, then `stop`."""

    def __init__(self, *, name: str, pools: list[str], limits: Limits, on_fenced: Callable[[], None]) -> None:
        self.name = name
        self.pools = pools
        self.limits = limits
        self._on_fenced = on_fenced
        self.clock = Clock()
        self.accounts = Accounts()
        self.worker_id = 0
        self.draining = self.fenced = self._handing_over = False
        self._runs: dict[UUID, ActiveRun] = {}
        self._lock = threading.Lock()
        self._used = dict.fromkeys(Lane, 0)
        self._busy_at = time.monotonic()
        self._drivers: dict[UUID, asyncio.Task[None]] = {}
        self._watched: dict[UUID, ActiveRun] = {}  # runs with a branch that waits here
        self._let_go: set[UUID] = set()  # runs whose leases were gone: if we were declared lost, they overlap
        self._tokens: set[int] = set()  # leases whose end has not been committed yet
        #: Work had to be left in the middle: its threads may go on for as long as they like.
        self.left_work = False
        self._loop = new_loop()
        self._loop.set_task_factory(remember_task)  # type: ignore[arg-type]  # `context` by name is 3.11's way
        self._loop_thread = LoopThread(self._loop)
        self._threads = ThreadPoolExecutor(max(1, limits.threads), thread_name_prefix="holdfast-run")
        # Apart from the runs' threads: a step must not wait for the end of other runs.
        self._step_threads = ThreadPoolExecutor(max(1, limits.threads), thread_name_prefix="holdfast-step")
        self._stays = ThreadPoolExecutor(max(1, limits.processes), thread_name_prefix="holdfast-stay")
        self._wards: Wards | None = None
        self._breakers = Breakers()

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        """Registers the worker and starts its threads; leases nothing yet."""
        middleware.everywhere()  # one that is not there is said before anything begins
        # What is there now stays: no collection has to walk through Django and the tasks' modules to find that out.
        gc.collect()
        gc.freeze()
        control = isolation.start(registry)  # before there is a thread: it forks
        self._breakers.learn_guards()
        self._beat = Beat(self, self.limits.heartbeat_timeout)
        self.worker_id = queue_store.worker_register(
            self._beat.conn,
            name=self.name,
            pools=self.pools,
            hostname=settings.HOLDFAST_HOST,
            pid=os.getpid(),
            version=version("holdfast"),
            coroutines=self.limits.coroutines,
            threads=self.limits.threads,
            processes=self.limits.processes,
        )
        self._beat.first()
        self._trimmer = Trimmer()
        self._writer = Writer(
            self.worker_id, self._committed, self.fence, self._trimmer.trim, self._runs.get, self.leave_lost
        )
        self._loop_watch = LoopWatch(self._loop, self._run_of)
        self._port = Port(
            self._writer,
            self.clock,
            lambda: self._handing_over,
            watch=self._watch,
            worker_id=self.worker_id,
            touch=lambda run_id: self._hints.touch([run_id], lists=False),
            step_threads=self._step_threads,
            accounts=self.accounts,
            breakers=self._breakers,
            loop_watch=self._loop_watch,
        )
        self._leaser = Leaser(self)
        self._ear = Ear(self.pools, self._leaser.wake, self._set_hearing)
        self._hints = Hints()
        capture.install()
        set_executing(True)
        if control is not None:
            self._wards = Wards(control, self._port)
            self._wards.start()
        for thread in (
            self._loop_thread,
            self._loop_watch,
            self._trimmer,
            self._writer,
            self._leaser,
            self._ear,
            self._hints,
            self._beat,
        ):
            thread.start()
        deferring.wake(self._leaser.versions)
        emit("worker.started", worker=self.name)

    def stop(self) -> None:
        """Drains, hands over what is left, says goodbye. Safe to call twice."""
        self.draining = True
        self._leaser.active = False
        self._ear.close()
        self._leaser.close()
        if not self.fenced:
            self._drain()
            self._writer.close(timeout=10)
        self._breakers.close()
        self._trimmer.close()
        self._hints.close()
        if not self.fenced and self._writer.is_alive() is False:
            self._say_goodbye()
        self._beat.close()
        self._loop_watch.close()
        self._loop_thread.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._step_threads.shutdown(wait=False, cancel_futures=True)
        if self._wards is not None:
            self._wards.close()
        self._stays.shutdown(wait=False, cancel_futures=True)
        set_executing(False)
        emit("worker.stopped", worker=self.name)

    def _drain(self) -> None:
        if not self._wait_idle(self.limits.grace):
            logger.info("%d runs are still at work after %g s; handing them over", self.in_flight, self.limits.grace)
            self._handing_over = True
            if self._wards is not None:
                self._wards.hand_over()
            if not self._wait_idle(HANDOVER):
                self.left_work = True
                self._loop.call_soon_threadsafe(self._cancel_all)
                if self._wards is not None:
                    self._wards.kill_all(Why.HAND_OVER)
                self._wait_idle(HANDOVER + isolation.MERCY)

    def _wait_idle(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        while self._runs and time.monotonic() < deadline and not self.fenced:
            threading.Event().wait(0.02)
        return not self._runs

    def _cancel_all(self) -> None:
        for run_id, driver in list(self._drivers.items()):
            run = self._runs.get(run_id)
            if run is not None:
                run.cancelled_by_worker = True
            driver.cancel()

    def _say_goodbye(self) -> None:
        # Whatever a thread still holds stays leased; as the lock goes with this process, it is recovered at once.
        if not self._runs:
            with db.connect("goodbye") as conn:
                queue_store.worker_stop(conn, self.worker_id)
        if self._handing_over:
            tickets.wake(self.pools)

    def fence(self) -> None:
        """This worker was declared lost while it lived (it was frozen, or cut off): stop quietly, write nothing."""
        if self.fenced:
            return
        self.fenced = True
        self._leaser.active = False
        ids = [*self._runs, *self._let_go]
        logger.error("declared lost while %d runs were at work; they belong to others now", len(ids))
        with db.connect("fenced") as conn, conn.transaction():
            queue_store.worker_returned(conn, self.worker_id)
            store.record_overlap(conn, worker=self.worker_id, ids=ids)
        emit("worker.fenced", worker=self.name, runs=len(ids))
        self.left_work = True
        self._loop.call_soon_threadsafe(self._cancel_all)
        if self._wards is not None:
            self._wards.kill_all(Why.FENCED)
        self._on_fenced()

    # ── shift ────────────────────────────────────────────────────────────────────────────────────────────────────

    def shift(
        self,
        until: Callable[[], bool],
        *,
        linger: float = LINGER,
        tick: Callable[[], None] | None = None,
        look: float = LOOK,
    ) -> None:
        """Works until there has been nothing to do for `linger` seconds, or `until()` says so (asked every `look`
        seconds).

        `tick` is called at the same pace, from this thread.
        """
        self._busy_at = time.monotonic()
        self._ear.listen()
        self._leaser.active = True
        self._leaser.wake()
        try:
            while not until() and not self.fenced:
                threading.Event().wait(min(look, linger))
                if tick is not None:
                    tick()
                if self._idle_for() >= linger:
                    # Deaf first, then one last look: an enqueuer that still found us listening is seen by it.
                    self._ear.deaf()
                    self._leaser.look_once(timeout=5)
                    if not self._runs:
                        return
                    self._ear.listen()
        finally:
            self._leaser.active = False
            self._ear.deaf()

    def _idle_for(self) -> float:
        return 0.0 if self._runs else time.monotonic() - self._busy_at

    def wake(self) -> None:
        """There is work: now, if a shift is on; otherwise by a ticket, which begins one."""
        if self._leaser.active:
            self._leaser.wake()
        else:
            for pool in self.pools:
                tickets.push_safely(pool)

    def _set_hearing(self, hearing: bool) -> None:
        self._leaser.hearing = hearing

    # ── work ─────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def in_flight(self) -> int:
        return len(self._runs)

    def free(self) -> tuple[int, int, int]:
        """Room for more, by lane: coroutines, threads, processes."""
        if self.draining or self.fenced:
            return 0, 0, 0
        with self._lock:
            return (
                # While one run holds up the loop, a coroutine would only be kept from workers that can run it.
                0 if self._loop_watch.stands_still else self.limits.coroutines - self._used[Lane.COROUTINE],
                self.limits.threads - self._used[Lane.THREAD],
                self.limits.processes - self._used[Lane.PROCESS],
            )

    def begin(self, work: Sequence[Work]) -> None:
        """Starts leased runs. Called by the leaser's thread."""
        coroutines: list[ActiveRun] = []
        threads: list[ActiveRun] = []
        processes: list[tuple[ActiveRun, Work]] = []
        samples: list[Sample] = []
        for item in work:
            started = item.started
            self._tokens.add(started.token)
            task = registration.find(started.task_id)
            is_late = task is not None and isolation.is_late(task, self._wards)
            if task is None or is_late or deferring.is_refused(task, started, item.facts, item.waits):
                self._writer.put_finish(deferring.row(task, started, is_late=is_late), ())
                continue
            run = ActiveRun(self._port, task, started, item.facts, item.waits, item.beats)
            if task.isolation is not None:
                processes.append((run, item))
            else:
                (coroutines if task.is_async else threads).append(run)
            if (earlier := self._runs.get(run.id)) is not None:
                earlier.leave()
            self._runs[run.id] = run
            waited = item.grant.waited
            samples.append((RollupKind.DELAY, task.id, started.queue_id, "", task.version, "started", waited))
        with self._lock:
            self._used[Lane.COROUTINE] += len(coroutines)
            self._used[Lane.THREAD] += len(threads)
            self._used[Lane.PROCESS] += len(processes)
        self._writer.count(samples)
        self._hints.touch([item.started.id for item in work], lists=True)
        if coroutines:
            self._loop.call_soon_threadsafe(self._spawn, coroutines)
        for run in threads:
            context = Context()
            context.run(current.set, run)
            self._threads.submit(context.run, self._drive_sync, run)
        for run, item in processes:
            assert self._wards is not None
            self._stays.submit(self._drive_process, self._wards, self._wards.admit(run), item)

    def reconcile(self, held: Callable[[], dict[UUID, int]]) -> None:
        """Makes what this worker has in hand agree with `held()`, its leases (entry id → token) in the database.

        They differ when a connection broke: a lease was committed and we never heard of it, or a crash of PostgreSQL
        took back one that had not reached the disk. Called by the leaser's thread, which alone begins runs.
        """
        # Before the look: what is over meanwhile was known then, and is no surprise.
        tokens = set(self._tokens)
        leases = self.leave_lost(held)
        for run_id, token in leases.items():
            if token not in tokens:
                logger.warning("run %s was leased without our hearing of it; giving it back", run_id)
                self._tokens.add(token)
                row = store.FinishRow(run_id, token, Status.QUEUED, None, None, None, 0, 0.0, None)
                self._writer.give_back(row)

    def leave_lost(self, held: Callable[[], dict[UUID, int]]) -> dict[UUID, int]:
        """Leaves the runs whose lease is gone to others. Returns what `held()` says. From any thread."""
        mine = dict(self._runs)  # before the look
        leases = held()
        for run_id, run in mine.items():
            # One whose end was committed meanwhile is closed already.
            if leases.get(run_id) != run.started.token and run.leave():
                logger.warning("the lease of run %s is gone; leaving the run to others", run_id)
                self._let_go.add(run_id)
                self._loop.call_soon_threadsafe(self._cancel, run_id)
        return leases

    def _watch(self, run: ActiveRun) -> None:
        self._watched[run.id] = run
        self._leaser.wake()

    def watched(self) -> dict[UUID, ActiveRun]:
        """Runs in which a branch waits here."""
        return dict(self._watched)

    def flush_progress(self) -> None:
        """What runs said of themselves and was not told yet."""
        for run in tuple(self._runs.values()):
            run.flush_said()

    def until_due(self, most: float) -> float:
        """Seconds until a wait is over that somebody waits for here, `most` at most."""
        dues = [run.waits.next_due for run in tuple(self._watched.values())]
        return max(0.0, min(most, min(dues) - self.clock.now())) if dues else most

    def stop_runs(self, stopping: Mapping[UUID, str]) -> None:
        """Runs that are to stop, and as what. They say `cancelling` until they have. Called by the leaser's thread."""
        for run_id, status in stopping.items():
            run = self._runs.get(run_id)
            if run is not None and not run.concluding and not isinstance(run.unwound, Stop):
                run.stop(status)
                if run.cancel_hard():
                    continue
                self._loop.call_soon_threadsafe(self._cancel, run_id)

    def _cancel(self, run_id: UUID) -> None:
        if driver := self._drivers.get(run_id):
            driver.cancel()
        self.kill(run_id, Why.FENCED)

    def kill(self, run_id: UUID, why: Why) -> bool:
        """Ends the process of an isolated run. False when this worker has none of it."""
        return self._wards is not None and self._wards.kill(run_id, why)

    def _spawn(self, runs: list[ActiveRun]) -> None:
        for run in runs:
            context = copy_context()
            context.run(current.set, run)
            run.main = self._drivers[run.id] = self._loop.create_task(self._drive_async(run), context=context)
            run.main.add_done_callback(partial(self._never_began, run))

    def _never_began(self, run: ActiveRun, driver: asyncio.Task[None]) -> None:
        """A task that is cancelled before its first step runs none of its code: its run would be held for ever."""
        if self._drivers.get(run.id) is driver:
            del self._drivers[run.id]
            self._ended(run, cut_off(run), Lane.COROUTINE)

    async def _drive_async(self, run: ActiveRun) -> None:
        try:
            outcome = hooks.decided(run) or await execute_async(run)
            if run.tasks:
                await end_tasks(run)
            if run.task.hooks:
                outcome = await hooks.conclude_async(run, outcome)
        except Fenced:
            outcome = None
        except asyncio.CancelledError:  # after the function's end: it is being stopped, or the worker is
            outcome = cut_off(run)
        except BaseException as error:
            outcome = broken(run, error)
        finally:
            self._drivers.pop(run.id, None)
            run.main = None
            self._loop_watch.forget(run)
        self._ended(run, outcome, Lane.COROUTINE)

    def _run_of(self, task: asyncio.Task[Any]) -> ActiveRun | None:
        """Whose code a task of the event loop is."""
        for run_id, driver in list(self._drivers.items()):
            run = self._runs.get(run_id)
            if run is not None and (driver is task or task in set(run.tasks)):
                return run
        return None

    def _drive_sync(self, run: ActiveRun) -> None:
        try:
            close_old_connections()
            outcome = hooks.decided(run) or execute_sync(run)
            if run.task.hooks:
                outcome = hooks.conclude_sync(run, outcome)
        except Fenced:
            outcome = None
        except BaseException as error:
            outcome = broken(run, error)
        database.tidy()
        self._ended(run, outcome, Lane.THREAD)

    def _drive_process(self, wards: Wards, stay: Stay, item: Work) -> None:
        try:
            outcome = wards.execute(stay, item)
        except BaseException as error:
            outcome = broken(stay.run, error)
        self._ended(stay.run, outcome, Lane.PROCESS)

    def _ended(self, run: ActiveRun, outcome: Outcome | None, lane: Lane) -> None:
        """A stay is over: frees the slot and hands the outcome to the writer. None: fenced, so nothing is written."""
        run.flush_print()
        run.flush_said(now=True)
        if self._watched.get(run.id) is run:
            del self._watched[run.id]
        if run.close() and outcome is not None and not self.fenced:
            self._writer.put_finish(finish_row(run, outcome), samples(run, outcome), run.tail)
        with self._lock:
            self._used[lane] -= 1
        self._busy_at = time.monotonic()
        # Its outcome may be committed already, and the run leased again by this very worker.
        if self._runs.get(run.id) is run:
            del self._runs[run.id]

    def _committed(self, batch: Batch) -> None:
        """After each group commit, in the writer's thread."""
        self._tokens.difference_update([row.token for row in batch.finishes])
        if batch.charges:
            self.accounts.committed(batch.charges, batch.balances)
        if batch.pools or (batch.finishes and self._leaser.active):
            self._leaser.wake()
        if batch.pools:
            self._hints.rouse(batch.pools)
        if runs := batch.run_ids:
            self._hints.touch(runs, lists=bool(batch.finishes))
