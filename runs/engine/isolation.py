"""Isolated runs, as their worker sees them: one thread for each stay, which relays what the run's process says to the
writer, watches the clock, and names the outcome when the process ends without one."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import selectors
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from enum import Enum
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import psycopg

from holdfast import db
from runs import store
from runs.engine import execute, forkserver, hooks, passage
from runs.engine.breakers import Pass
from runs.engine.child import live, sendable
from runs.engine.context import ActiveRun
from runs.engine.death import End, died, words
from runs.engine.duty import Duty
from runs.engine.forkserver import DIED, ENDED, FORKED, REFUSED, Control
from runs.engine.frames import Stack
from runs.engine.outcome import Fenced, HandOver, Outcome, Stop
from runs.engine.port import Port
from runs.engine.wire import Begin, Done, HandingOver, Inbox, LetIn, Look, Put, Receipt, Seen, Settled, pack
from runs.errors import DeclarationError
from runs.sdk.task import Registry, Task, registry
from runs.states import AttemptStatus, Status

if TYPE_CHECKING:
    from runs.engine.leaser import Work

logger = logging.getLogger("holdfast.isolation")

#: Seconds between SIGTERM and SIGKILL.
MERCY: Final = 2.0
#: Seconds by which coroutines may be late: `max_duration` ends them from within, where their code yields.
LATE: Final = 0.5
#: Seconds that a process gets to end after it has reported its outcome.
LINGER: Final = 2.0
#: Seconds without a report after which a process whose socket is closed counts as gone.
UNREPORTED: Final = 5.0
_BLOCK: Final = 262_144
#: Calls of the writer that go by the run, as they do where it has no process of its own; and those that may make their
#: caller wait, so that they are made without the run's lock.
_BY_THE_RUN: Final = ("put_log", "put_usage", "put_progress", "put_beat")
_UNGUARDED: Final = ("count",)


class Why(Enum):
    """Why the worker ends a process."""

    TIMED_OUT = "timed out"
    HAND_OVER = "handed over"
    CANCELLED = "cancelled"
    FENCED = "fenced"


def start(tasks: Registry) -> Control | None:
    """The fork server, if any of the tasks needs one. Call it while the process has one thread.

    Raises:
        DeclarationError: this is no system that isolated tasks can run on.
    """
    apart = [task.id for task in tasks if task.isolation is not None]
    if not apart:
        return None
    if sys.platform != "linux":
        raise DeclarationError(
            f'tasks {", ".join(apart)}: isolation="process" needs Linux, which limits a process\'s memory and ends it '
            "with its worker. Run the worker there, or leave isolation out."
        )
    return forkserver.start(live)


def is_late(task: Task[..., Any], wards: Wards | None) -> bool:
    """It needs a process, and was not known when this worker started."""
    return task.isolation is not None and (wards is None or task.id not in wards.known)


class Wards(Duty):
    """All stays of isolated runs in this worker; the thread hears what the fork server reports."""

    def __init__(self, control: Control, port: Port) -> None:
        super().__init__("wards")
        self._control = control
        self._port = port
        #: The tasks that forked processes have. A module that a run imports is not in them.
        self.known = frozenset(registry.ids())
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._stays: dict[int, Stay] = {}
        self._closing = False

    # ── what the engine calls, from any thread ───────────────────────────────────────────────────────────────────

    def admit(self, run: ActiveRun) -> Stay:
        """From here on the run can be killed; `execute` is to follow, in a thread that it may keep."""
        stay = Stay(next(self._numbers), run, self._port, self._control)
        with self._lock:
            self._stays[stay.number] = stay
        run.cancel_child = lambda: stay.kill(Why.CANCELLED)
        return stay

    def execute(self, stay: Stay, work: Work) -> Outcome | None:
        """A stay, from the fork to the end of its process. Returns None when nothing is to be written."""
        try:
            return stay.execute(work)
        except psycopg.Error as error:
            logger.warning("run %s goes back: its earlier attempts cannot be read (%s)", stay.run.id, error)
            return execute.put_down(HandOver())
        except OSError as error:  # of the control socket: this worker is about to end
            logger.error("run %s goes back: the fork server cannot be reached (%s)", stay.run.id, error)
            return execute.put_down(HandOver())
        finally:
            stay.run.cancel_child = None
            with self._lock:
                del self._stays[stay.number]
            stay.close()

    def kill(self, run_id: UUID, why: Why) -> bool:
        """Ends the process of a run. False when it has none here."""
        found = [stay for stay in self._all() if stay.run.id == run_id]
        for stay in found:
            stay.kill(why)
        return bool(found)

    def look(self, run_id: UUID, token: int) -> Future[Stack] | None:
        """Asks the process of a run where it is. None when it has none here."""
        found = next((s for s in self._all() if s.run.id == run_id and s.run.started.token == token), None)
        return found.look() if found is not None else None

    def kill_all(self, why: Why) -> None:
        for stay in self._all():
            stay.kill(why)

    def hand_over(self) -> None:
        """Lets them know that the worker is stopping: they leave at their next step boundary."""
        for stay in self._all():
            stay.nudge()

    def close(self) -> None:
        self._closing = True
        self._control.close()

    # ── the thread ───────────────────────────────────────────────────────────────────────────────────────────────

    def serve(self) -> None:
        while (report := self._control.report()) is not None:
            if report.kind == DIED:
                logger.error("the fork server died (%s); its runs fail, and it is started again", words(report.value))
                end = End(-signal.SIGKILL, instead=f"the fork server of its worker died ({words(report.value)})")
                for stay in self._all():
                    stay.orphaned(end)
                continue
            stay_or_none = self._stays.get(report.number)
            if stay_or_none is None:
                continue
            if report.kind == FORKED:
                stay_or_none.forked(report.value)
            elif report.kind == ENDED:
                stay_or_none.ended(End(report.value, abs(report.more), report.more < 0))
            elif report.kind == REFUSED:
                why = f"no process could be started for it: {os.strerror(report.value)}"
                stay_or_none.ended(End(-1, instead=why))
        if not self._closing:
            raise RuntimeError("the fork server and its keeper are gone")

    def _all(self) -> list[Stay]:
        with self._lock:
            return list(self._stays.values())


class Stay:
    """One stay of one run in a process of its own."""

    def __init__(self, number: int, run: ActiveRun, port: Port, control: Control) -> None:
        self.number = number
        self.run = run
        self.pid = 0
        self._port = port
        self._control = control
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._wake_r, self._wake_w = os.pipe()
        os.set_blocking(self._wake_r, False)
        os.set_blocking(self._wake_w, False)
        self._begun = self._closed = False
        self._close_lock = threading.Lock()  # the wake-up pipe's number must not become somebody else's
        self._inbox = Inbox()
        self._out = bytearray()
        self._settled: deque[tuple[int, BaseException | None]] = deque()
        self._told_handover = False
        self._passed: Pass | None = None
        self._looks: deque[Future[Stack]] = deque()  # asked, and not answered yet
        self._looked = 0  # of these, sent
        self._kept = False  # its outcome is stored, and its hook is being called
        self._done: Done | None = None
        self._end: End | None = None
        self._orphaned: End | None = None
        self._why: Why | None = None
        # Moments, by the monotonic clock.
        self._deadline: float | None = None
        self._let_in_at = 0.0
        self._gone_at: float | None = None  # its socket was closed
        self._done_at: float | None = None
        self._term_at: float | None = None
        self._killed = False

    # ── from other threads ───────────────────────────────────────────────────────────────────────────────────────

    def kill(self, why: Why) -> None:
        if self._why is None:
            self._why = why
        self.nudge()

    def look(self) -> Future[Stack]:
        """Where the run is, when its process says so. Never, when that ends before or does not let go of Python."""
        future: Future[Stack] = Future()
        self._looks.append(future)
        self.nudge()
        return future

    def forked(self, pid: int) -> None:
        self.pid = pid

    def ended(self, end: End) -> None:
        self._end = end
        self.nudge()

    def orphaned(self, end: End) -> None:
        """The server died: the kernel ends its children. One that it had not forked yet, the next one will."""
        self._orphaned = end
        if self.pid:
            self._end = end
        self.nudge()

    def nudge(self) -> None:
        with self._close_lock:
            if not self._closed:
                try:
                    os.write(self._wake_w, b"!")
                except BlockingIOError:
                    return  # it is awake already

    def close(self) -> None:
        with self._close_lock:
            self._closed = True
            if self._begun and self._end is None:  # something broke on our side
                with contextlib.suppress(OSError):
                    self._control.signal(self.number, signal.SIGKILL)
            os.close(self._wake_r)
            os.close(self._wake_w)
        self._ours.close()
        self._theirs.close()

    # ── its own thread ───────────────────────────────────────────────────────────────────────────────────────────

    def execute(self, work: Work) -> Outcome | None:
        self.run.memory_limit = _memory_limit(self.run)
        if self._why is not None:
            return self._outcome(End(0))
        limit = self.run.time_left
        if limit is not None and not self.run.concluding:
            self._deadline = time.monotonic() + limit + (LATE if self.run.is_async else 0.0)
        begin = Begin(
            work.started,
            work.facts,
            work.waits,
            work.beats,
            self._port.worker_id,
            self._port.clock,
            self.run.memory_limit,
            self.run.spending.balances(),
            passage.guard(self.run),
        )
        self._out += pack(begin)
        self._begun = True
        self._control.fork(self.number, self._theirs)
        self._theirs.close()
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake_r, selectors.EVENT_READ)
            selector.register(self._ours, selectors.EVENT_READ | selectors.EVENT_WRITE)
            while self._end is None:
                self._turn(selector)
        self._read_rest()
        return self._outcome(self._end)

    def _turn(self, selector: selectors.BaseSelector) -> None:
        if self._port.handing_over() and not self._told_handover:
            self._told_handover = True
            self._out += pack(HandingOver())
        if self._settled:
            receipts = []
            while self._settled:
                receipts.append(self._settled.popleft())
            self._out += pack(Settled(receipts))
        while self._looked < len(self._looks):
            self._looked += 1
            self._out += pack(Look())
        if self._gone_at is None:
            self._send()
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._out else 0)
            if selector.get_key(self._ours).events != events:
                selector.modify(self._ours, events)
        wait = self._escalate()
        for key, mask in selector.select(wait):
            if key.fd == self._wake_r:
                _drain(self._wake_r)
            elif mask & selectors.EVENT_READ and self._read() is False:
                selector.unregister(self._ours)

    def _escalate(self) -> float | None:
        """What time has made due. Returns the seconds until something else is."""
        now = time.monotonic()
        if self._why is None and self._done is None and self._deadline is not None and now >= self._deadline:
            self._why = Why.TIMED_OUT
        if self._why is not None and self._term_at is None:
            self._term_at = now
            self._control.signal(self.number, signal.SIGTERM)
        waits: list[float] = []
        if self._why is None and self._done is None and self._deadline is not None:
            waits.append(self._deadline - now)
        for since, patience in ((self._term_at, MERCY), (self._done_at, LINGER), (self._gone_at, UNREPORTED)):
            if since is None or self._killed:
                continue
            if now >= since + patience:
                self._killed = True
                self._control.signal(self.number, signal.SIGKILL)
            else:
                waits.append(since + patience - now)
        if self._killed and self._gone_at is not None:
            if now >= self._gone_at + 2 * UNREPORTED:
                self._end = self._orphaned or End(-signal.SIGKILL, instead="its process is gone without a word")
                return 0.0
            waits.append(self._gone_at + 2 * UNREPORTED - now)
        return max(0.0, min(waits)) if waits else None

    def _send(self) -> None:
        while self._out:
            try:
                sent = self._ours.send(self._out)
            except BlockingIOError:
                return
            except OSError:  # it is gone; reading will tell
                self._out.clear()
                return
            del self._out[:sent]

    def _read(self) -> bool:
        """Reads once. False when the process has closed its end, or speaks nonsense."""
        try:
            data = self._ours.recv(_BLOCK)
        except BlockingIOError:
            return True
        except OSError:
            data = b""
        try:
            if data:
                for message in self._inbox.feed(data):
                    self._take(message)
                return True
        except Exception as error:  # memory that was overwritten can say anything
            logger.warning("the process of run %s sent what cannot be read (%s)", self.run.id, error)
            self._control.signal(self.number, signal.SIGKILL)
        self._gone_at = time.monotonic()
        return False

    def _read_rest(self) -> None:
        """What it said before it ended."""
        while self._gone_at is None:
            try:
                data = self._ours.recv(_BLOCK, socket.MSG_PEEK)
            except BlockingIOError:
                return  # something that it started holds the socket still
            except OSError:
                return
            if not data:
                return
            self._read()

    def _take(self, message: Any) -> None:
        if isinstance(message, Done):
            self._done, self._done_at = message, time.monotonic()
        elif isinstance(message, Put):
            self._relay(message)
        elif isinstance(message, LetIn):
            self._passed, self._let_in_at = message.passed, self.run.now()
        elif isinstance(message, Seen):
            self._looked -= 1
            self._looks.popleft().set_result(message.stack)
        else:
            raise TypeError(type(message).__name__)

    def _relay(self, put: Put) -> None:
        """A call of the writer. What a stay that is over still says is stored no more, and it is told so."""
        if not put.method.startswith("put_") and put.method != "count":
            raise ValueError(put.method)
        if put.method in _BY_THE_RUN:
            self._take_for_run(put.method, put.args[0])
            return
        if put.method == "put_wait" and isinstance(put.args[0], store.EndingRow):
            self._kept = self.run.concluding = True
            self._deadline = None
        method: Callable[..., None] = getattr(self._port.writer, put.method)
        receipts: list[int] = []

        def real(value: Any) -> Any:
            if not isinstance(value, Receipt):
                return value
            receipts.append(value.number)
            ack: Future[None] = Future()
            ack.add_done_callback(lambda done: self._settle(value.number, done.exception()))
            return ack

        args = [real(value) for value in put.args]
        kwargs = {name: real(value) for name, value in put.kwargs.items()}
        if put.method in _UNGUARDED:
            if not self.run.over:
                method(*args, **kwargs)
            return
        try:
            self.run.while_open(lambda: method(*args, **kwargs))
        except Fenced as fenced:
            for number in receipts:
                self._settle(number, fenced)

    def _take_for_run(self, method: str, row: Any) -> None:
        """What has to go through the run's own queue, pace or sums, which are on this side."""
        if method == "put_log":
            self.run.put_log(row)
        elif method == "put_usage":  # it is spent, even if the stay is over
            self.run.spending.pass_on(row)
        elif not self.run.over:
            (self.run.beats if method == "put_beat" else self.run.said).take(row)

    def _settle(self, number: int, error: BaseException | None) -> None:
        self._settled.append((number, sendable(error)))
        self.nudge()

    # ── its end ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _outcome(self, end: End) -> Outcome | None:
        if self._done is not None:
            return self._done.outcome
        if self._why is Why.FENCED:
            return None
        if self._why is Why.HAND_OVER:
            return execute.put_down(HandOver())
        if self._kept:
            return hooks.again()
        if (decided := hooks.decided(self.run)) is not None:
            self.run.say(logging.ERROR, f"the process of its hook ended ({words(end.code)}); the outcome stands", None)
            return decided
        if self._why is Why.CANCELLED:
            return self._stopped()
        passage.died(self.run, self._passed, self._let_in_at)
        if self._why is Why.TIMED_OUT:
            return hooks.conclude_later(self.run, execute.timed_out(self.run, TimeoutError()))
        return hooks.conclude_later(
            self.run, execute.failed(self.run, died(self.run.task_id, self.run.memory_limit, end))
        )

    def _stopped(self) -> Outcome:
        """As what it was stopped is in the database; so is that it comes back, if there is a hook for that."""
        unwound = self.run.unwound
        if isinstance(unwound, Stop) and unwound.status in hooks.stoppable(self.run.task.hooks):
            return hooks.again()
        return Outcome(Status.CANCELLED, AttemptStatus.CANCELLED)


def _memory_limit(run: ActiveRun) -> int | None:
    """Bytes for this attempt: more than where an earlier one ran out, which its recorded error tells."""
    isolation = run.task.isolation
    assert isolation is not None
    if isolation.memory_limit_max is None or run.attempt == 1:
        return isolation.memory_limit
    with db.connect("isolation") as conn:
        return isolation.after(store.ran_out_at(conn, run.id))


def _drain(descriptor: int) -> None:
    try:
        os.read(descriptor, 4096)
    except BlockingIOError:
        return
