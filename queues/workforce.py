"""`manage.py work --max`: worker processes of this machine, as many as their queues need."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Sequence
from typing import Final

import psycopg

from holdfast import db
from holdfast.errors import ConfigError
from holdfast.supervisor.child import Child
from holdfast.supervisor.family import Family
from queues import tickets
from queues.backlog import backlogs, worker_loads
from queues.scaling import Bounds, Look, Scaler
from queues.store import Conn

#: Seconds between looks at the queues. Where a look itself takes long: so many times longer, up to so many seconds.
LOOK, SPARE, LONGEST = 1.0, 10.0, 10.0
#: Seconds that a look may take: nothing else is noticed meanwhile.
PATIENCE: Final = 5.0


@contextlib.contextmanager
def _no_longer_than(seconds: float) -> Iterator[None]:
    """Raises TimeoutError in the middle of whatever takes longer: a server that is frozen says nothing, and no setting
    of its own makes it."""

    def ring(number: int, frame: object) -> None:
        raise TimeoutError(f"no answer within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Workforce(Family):
    """Workers of these pools, until Ctrl-C or SIGTERM.

    Args:
        pools: what they serve.
        bounds: between how many there are.
        grace: seconds that a worker may go on after SIGTERM.
        words: further words of each worker's command.
    """

    def __init__(self, pools: Sequence[str], bounds: Bounds, *, grace: float, words: Sequence[str] = ()) -> None:
        super().__init__("work", grace=grace)
        self._pools = pools
        self._bounds = bounds
        self._scaler = Scaler(bounds)
        self._words = ["work", *(word for pool in pools for word in ("--pool", pool)), *words]
        self._numbers = 0  # of workers that were ever hired
        self._leaving: dict[Child, float] = {}  # drained; when their patience ends
        self._loads: dict[int, float] = {}  # of workers that are registered, by pid
        self._proven = False  # a worker has taken work: this configuration is fit
        self._conn: Conn | None = None
        self._look_due = 0.0
        self._away = False
        self._exit_code = 0

    def run(self) -> int:
        """Returns the exit code: 2 if a worker found the configuration unfit before any could work."""
        with self._signals(), contextlib.ExitStack() as stack:
            stack.callback(self._disconnect)
            stack.callback(self._stop_children)
            self._say(f"{self._bounds.least} to {self._bounds.most} workers serve {', '.join(self._pools)}")
            self._hire(self._bounds.least)
            while not self._stops and not self._exit_code:
                self._tick()
                self._restart_due()
                self._see_off()
                if time.monotonic() >= self._look_due:
                    self._scale()
            if self._stops:
                self._say("stopping; Ctrl-C again stops at once")
        self._say("stopped")
        return self._exit_code

    # --- how many ---------------------------------------------------------------------------------------------------

    @property
    def _staff(self) -> list[Child]:
        """Those that are to stay."""
        return [child for child in self._children if child not in self._leaving]

    def _scale(self) -> None:
        began = time.monotonic()
        look = self._look()
        if look is not None and (decision := self._scaler.decide(look)) is not None:
            self._say(decision.why)
            self._hire(decision.target - look.workers)
            self._dismiss(look.workers - decision.target)
        ended = time.monotonic()
        self._look_due = ended + min(LONGEST, max(LOOK, SPARE * (ended - began)))

    def _look(self) -> Look | None:
        """None while PostgreSQL does not answer: then everything stays as it is."""
        staff = self._staff
        try:
            with _no_longer_than(PATIENCE):
                if self._conn is None:
                    self._conn = db.connect("scaling")
                    self._conn.execute(f"SET statement_timeout = '{PATIENCE:.0f}s'")
                waiting = [queue for queue in backlogs(self._conn, self._pools) if queue.startable]
                self._loads = worker_loads(self._conn, [child.pid for child in staff if child.pid is not None])
        except (psycopg.Error, TimeoutError) as error:
            self._lost(error)
            return None
        if self._away:
            self._away = False
            self._say("PostgreSQL is back")
        self._proven = self._proven or bool(self._loads)
        return Look(
            now=time.monotonic(),
            workers=len(staff),
            starting=sum(child.pid not in self._loads for child in staff),
            draining=len(self._leaving),
            due=sum(queue.startable for queue in waiting),
            head_wait=max((queue.head_wait for queue in waiting), default=0.0),
            load=sum(self._loads.values()),
            suspended=bool(waiting) and tickets.suspended(),
        )

    def _lost(self, error: psycopg.Error | TimeoutError) -> None:
        self._disconnect()
        if not self._away:
            self._away = True
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            self._say(f"PostgreSQL does not answer ({reason}); the number of workers stays as it is", bad=True)

    def _disconnect(self) -> None:
        if self._conn is not None:
            self._conn.close()
            self._conn = None

    # --- who comes and goes -----------------------------------------------------------------------------------------

    def _hire(self, many: int) -> None:
        for _ in range(many):
            self._numbers += 1
            self._add(Child(f"worker-{self._numbers}", self._words, {**os.environ, "PYTHONUNBUFFERED": "1"}))

    def _dismiss(self, many: int) -> None:
        """Those go that do least: they finish what they have, and give back what takes longer than their grace."""
        idlest = sorted(self._staff, key=lambda child: self._loads.get(child.pid or 0, 0.0))
        for child in idlest[: max(0, many)]:
            self._say(f"{child.name} finishes what it has, and leaves")
            child.lasting, child.due = False, None
            self._leaving[child] = time.monotonic() + self._grace
            child.signal(signal.SIGTERM)

    def _see_off(self) -> None:
        for child, patience in list(self._leaving.items()):
            if not child.running:
                del self._leaving[child]
                self._children.remove(child)
            elif time.monotonic() > patience:
                child.signal(signal.SIGKILL)

    def _ended(self, child: Child, code: int) -> None:
        if child in self._leaving and not self._stopping:
            self._say(f"{child.name} left")
        elif code == ConfigError.exit_code and not self._proven and not self._stopping:
            self._say(f"{child.name} cannot work with this configuration", bad=True)
            self._exit_code = code
        else:
            super()._ended(child, code)
