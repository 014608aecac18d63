"""Timeouts that count only the time in which the event loop ran.

All coroutine tasks of a worker share one event loop. One of them that computes without yielding keeps the others from
going on, and that is not their doing: the time in which the loop stood still is taken off their timeouts. The one that
held it up pays for it in full, and a line in its log says so; but not for what nobody here did, when the machine was
frozen or had no time for this process.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from runs.engine.duty import Duty

if TYPE_CHECKING:
    from runs.engine.context import ActiveRun

logger = logging.getLogger("holdfast.engine")

#: Seconds between two questions to the loop whether it runs, and without an answer after which it stands still.
ASK, STILL = 0.1, 0.15
#: Seconds between two looks that count as watched, at most: for the rest of them this process may not have run at all.
MISSED: Final = 0.3
#: Seconds for which a run holds up the loop before its log says so.
WORTH_SAYING: Final = 1.0


class LoopWatch(Duty):
    """Asks the event loop again and again whether it runs, and knows for how long it did not.

    Args:
        loop: The loop that is watched.
        run_of: Whose code a task of the loop is; None when it is no run's.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, run_of: Callable[[asyncio.Task[object]], ActiveRun | None]
    ) -> None:
        super().__init__("loop-watch")
        self._loop = loop
        self._run_of = run_of
        self._ending = threading.Event()
        self._asked_at: float | None = None  # None: answered
        self._still = 0.0
        self._held_up: dict[int, float] = {}  # id of a run's stay → seconds; only while it is at work
        self._culprit: ActiveRun | None = None
        self._watched = 0.0  # seconds since the loop was asked in which this thread ran as well
        self._spent = 0.0  # processor time of the loop's thread when it was last seen

    def close(self) -> None:
        self._ending.set()
        self.join(5)

    @property
    def stands_still(self) -> bool:
        """Whether the loop has been asked and does not answer."""
        asked_at = self._asked_at
        return asked_at is not None and time.monotonic() - asked_at >= STILL

    # ── its own thread ───────────────────────────────────────────────────────────────────────────────────────────

    def serve(self) -> None:
        looked_at = time.monotonic()
        while not self._ending.wait(ASK):
            now = time.monotonic()
            passed, looked_at = now - looked_at, now
            if self._asked_at is None:
                self._watched = 0.0
                self._asked_at = now
                self._loop.call_soon_threadsafe(self.seen)
                continue
            self._watched += min(passed, MISSED)
            if self.stands_still:
                task = asyncio.current_task(self._loop)
                if task is not None:
                    self._culprit = self._run_of(task)

    # ── the loop's thread ────────────────────────────────────────────────────────────────────────────────────────

    def seen(self) -> None:
        """The loop runs: counts how long it had not."""
        spent = time.thread_time()
        used, self._spent = spent - self._spent, spent
        asked_at, self._asked_at = self._asked_at, None
        culprit, self._culprit = self._culprit, None
        if asked_at is None or (gap := time.monotonic() - asked_at) < STILL:
            return
        gap += ASK  # it may have stopped as soon as it had answered the time before
        self._still += gap
        if culprit is not None:
            # It computed, or it was watched while it waited. The rest is the machine's.
            held_up = min(gap, max(used, self._watched + ASK))
            self._held_up[id(culprit)] = self._held_up.get(id(culprit), 0.0) + held_up
            if held_up >= WORTH_SAYING:
                culprit.say(logging.WARNING, _ADVICE.format(gap=held_up), None)

    def still(self, run: ActiveRun) -> float:
        """Seconds in which the loop stood still, without those that this run is itself to blame for."""
        return self._still - self._held_up.get(id(run), 0.0)

    def forget(self, run: ActiveRun) -> None:
        """Its stay is over."""
        self._held_up.pop(id(run), None)


_ADVICE: Final = (
    "this run held up the event loop of its worker for {gap:.1f} s: nothing else could go on there. Make the task or "
    "step a plain `def`, which gets a thread, or move the work with asyncio.to_thread."
)


class Within:
    """`async with Within(limit, run, watch)`: as `asyncio.timeout(limit)`, in the run's fair time."""

    def __init__(self, limit: float | None, run: ActiveRun, watch: LoopWatch | None) -> None:
        self._limit = limit
        self._run = run
        self._watch = watch
        self._scope = asyncio.timeout(None)
        self._handle: asyncio.TimerHandle | None = None

    def expired(self) -> bool:
        """Whether the time was up."""
        return self._scope.expired()

    def restart(self) -> None:
        """The whole time again, from now on. From any thread."""
        self._began, self._still = time.monotonic(), self._stood_still()

    async def __aenter__(self) -> Self:
        await self._scope.__aenter__()
        if self._limit is not None:
            self.restart()
            self._check()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if self._handle is not None:
            self._handle.cancel()
        await self._scope.__aexit__(kind, error, at)

    def _check(self) -> None:
        assert self._limit is not None
        loop = asyncio.get_running_loop()
        # The timer may be the first thing that the loop gets to after it stood still.
        if self._watch is not None:
            self._watch.seen()
        fair = time.monotonic() - self._began - (self._stood_still() - self._still)
        left = self._limit - fair
        if left > 0:
            self._handle = loop.call_later(left, self._check)
        else:
            self._scope.reschedule(loop.time())

    def _stood_still(self) -> float:
        """Seconds; a run with a loop of its own has nobody to blame."""
        return 0.0 if self._watch is None else self._watch.still(self._run)
