"""Breakers in one process: what its steps' calls come to, and whether the next one may go through.

A thread says and asks it four times a second, as long as anything here uses a breaker. A closed breaker costs a step a
look at what that thread has found; only probes of a half open one are asked for, each by itself.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import psycopg

from holdfast import db
from holdfast.telemetry import emit
from queues import store
from queues.declare import guards
from queues.models import BreakerState, Queue
from queues.store import BreakerView, Calls, Conn

if TYPE_CHECKING:
    from queues.breaker import Breaker

logger = logging.getLogger("holdfast.breakers")

#: Seconds between two exchanges, and after a failed one; what was found is believed for so long, and looked for as long
#: as somebody has asked lately.
PACE, AGAIN, BELIEVED, IDLE = 0.25, 1.0, 5.0, 3.0
#: Failures that are said at once.
URGENT: Final = 5
#: Retries that a window may have, whatever its budget.
FREE_RETRIES: Final = 10


@dataclass(frozen=True, slots=True)
class Pass:
    """A call may go through. As a probe, of which number of the breaker's state?"""

    breaker: Breaker
    retry: bool
    probe: int | None = None


@dataclass(frozen=True, slots=True)
class Stopped:
    """A call may not go through; it asks again after so many seconds."""

    seconds: float
    words: str


Verdict = Pass | Stopped


class Breakers:
    """See the module. From any thread."""

    def __init__(self, guards: Mapping[int, Breaker] | None = None) -> None:
        #: By the id of a queue, the breaker that protects the stays of its runs.
        self.guards = guards or {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._counts: dict[str, Calls] = {}
        self._probes: list[tuple[str, int, bool]] = []
        self._used: dict[str, Breaker] = {}
        self._seen: dict[str, tuple[float, BreakerView]] = {}
        self._asked: list[tuple[Breaker, bool, Future[Verdict]]] = []
        self._declared: dict[str, Breaker] = {}
        self._thread: threading.Thread | None = None
        self._ending = False
        self._at = 0.0  # when it was last asked

    def learn_guards(self) -> None:
        """Finds out which queues have breakers. Their rows are there once tasks are registered."""
        if declared := guards():
            found = Queue.objects.filter(name__in=declared).values_list("id", "name")
            self.guards = {queue_id: declared[name] for queue_id, name in found}

    # ── a step ───────────────────────────────────────────────────────────────────────────────────────────────────

    def ask(self, breaker: Breaker, *, retry: bool) -> Verdict | Future[Verdict]:
        """Whether a call may go through; a future where that has to be asked for."""
        self._at = time.monotonic()
        with self._lock:
            at, view = self._seen.get(breaker.name, (float("-inf"), None))
            if view is not None and self._at - at < BELIEVED:
                verdict = self._judge(breaker, view, retry=retry)
                if verdict is not None:
                    return verdict
            self._start(breaker)
            answer: Future[Verdict] = Future()
            self._asked.append((breaker, retry, answer))
        self._wake.set()
        return answer

    def report(self, passed: Pass, *, failed: bool, seconds: float) -> None:
        """What a call came to."""
        breaker = passed.breaker
        slow = breaker.slow is not None and seconds >= breaker.slow
        with self._lock:
            self._start(breaker)  # whoever asked may have been the process of an isolated run
            if passed.probe is not None:
                self._probes.append((breaker.name, passed.probe, failed or slow))
            counts = self._counts.get(breaker.name, Calls()).plus(Calls(1, int(failed), int(slow), int(passed.retry)))
            self._counts[breaker.name] = counts
            urgent = passed.probe is not None or counts.failures + counts.slow >= URGENT
        if urgent:
            self._wake.set()

    def _judge(self, breaker: Breaker, view: BreakerView, *, retry: bool) -> Verdict | None:
        """By what is known; None when a probe has to be asked for. Called with the lock."""
        if view.state == BreakerState.OPEN:
            left = breaker.cooldown if view.left is None else view.left
            return Stopped(left + random.uniform(0, breaker.cooldown), f"breaker {breaker.name!r}, which is open")  # noqa: S311
        if view.state == BreakerState.HALF_OPEN:
            return None
        ours = self._counts.get(breaker.name, Calls())
        if retry and breaker.retry_budget is not None:
            firsts, retries = view.firsts + ours.calls - ours.retries, view.retries + ours.retries
            if retries >= max(FREE_RETRIES, breaker.retry_budget * firsts):
                return _later(breaker, f"the retry budget of breaker {breaker.name!r}")
        return Pass(breaker, retry)

    # ── the thread ───────────────────────────────────────────────────────────────────────────────────────────────

    def _start(self, breaker: Breaker) -> None:
        self._used[breaker.name] = breaker.current
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="holdfast-breakers", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Says what is left to be said."""
        self._ending = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(2.0)

    def _serve(self) -> None:
        conn: Conn | None = None
        while True:
            self._wake.wait(PACE)
            self._wake.clear()
            ending = self._ending
            if not (ending or self._counts or self._asked or time.monotonic() - self._at < IDLE):
                continue
            try:
                conn = conn or db.connect("breakers")
                self._exchange(conn)
            except Exception as error:  # without this thread, whoever asks would wait for ever
                strange = not isinstance(error, psycopg.Error)
                logger.warning("breakers cannot be asked (%r); trying again", error, exc_info=strange)
                if conn is not None:
                    conn.close()
                conn = None
                threading.Event().wait(0 if ending else AGAIN)
            if ending:
                break
        if conn is not None:
            conn.close()

    def _exchange(self, conn: Conn) -> None:
        with self._lock:
            counts, self._counts = self._counts, {}
            probes, self._probes = self._probes, []
            used = dict(self._used)
        try:
            for name, breaker in used.items():
                if self._declared.get(name) != breaker:  # its declaration may be imported after its first use by name
                    store.declare_breaker(conn, breaker)
                    self._declared[name] = breaker
            if counts or probes:
                store.report_calls(conn, source=os.getpid(), counts=counts, probes=probes)
        except Exception:
            with self._lock:  # what was not said is said later
                for name, of in counts.items():
                    self._counts[name] = of.plus(self._counts.get(name, Calls()))
                self._probes = probes + self._probes
            raise
        views, turned = store.judge_breakers(conn, list(used))
        with self._lock:
            self._seen = {view.name: (time.monotonic(), view) for view in views}
            asked, self._asked = self._asked, []
        for name, state in turned:
            emit("breaker.turned", breaker=name, state=state)
        self._answer(conn, asked)

    def _answer(self, conn: Conn, asked: list[tuple[Breaker, bool, Future[Verdict]]]) -> None:
        for place, (breaker, retry, answer) in enumerate(asked):
            if answer.cancelled():  # its run was stopped meanwhile, and takes no probe
                continue
            with self._lock:
                known = self._seen.get(breaker.name)
                verdict = self._judge(breaker, known[1], retry=retry) if known is not None else None
            if verdict is None:
                try:
                    probe = store.take_probe(conn, breaker.name)
                except Exception:
                    with self._lock:
                        self._asked = asked[place:] + self._asked
                    raise
                words = f"breaker {breaker.name!r}, which is half open"
                verdict = Pass(breaker, retry, probe) if probe is not None else _later(breaker, words)
            if answer.set_running_or_notify_cancel():
                answer.set_result(verdict)


def _later(breaker: Breaker, words: str) -> Stopped:
    """At any moment of the next cooldown and a half: what waits for one thing does not come back at once."""
    return Stopped(random.uniform(0.5, 1.5) * breaker.cooldown, words)  # noqa: S311
