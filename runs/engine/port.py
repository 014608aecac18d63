"""What a run needs of its worker."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from uuid import UUID

from runs.engine.waiting import HOLD

if TYPE_CHECKING:
    from runs.engine.breakers import Breakers, Pass
    from runs.engine.clock import Clock
    from runs.engine.context import ActiveRun
    from runs.engine.fairtime import LoopWatch
    from runs.engine.spending import Accounts
    from runs.engine.writer import Writer

#: What is counted into a rollup: kind, task, queue, name, version, status, seconds.
Sample = tuple[str, str, int, str, str, str, float]


class Port:
    """What a run needs of its worker."""

    __slots__ = (
        "accounts",
        "breakers",
        "clock",
        "handing_over",
        "hold",
        "let_in",
        "loop_watch",
        "step_threads",
        "touch",
        "watch",
        "worker_id",
        "writer",
    )

    def __init__(
        self,
        writer: Writer,
        clock: Clock,
        handing_over: Callable[[], bool],
        *,
        watch: Callable[[ActiveRun], None],
        worker_id: int,
        touch: Callable[[UUID], None],
        step_threads: ThreadPoolExecutor,
        accounts: Accounts,
        breakers: Breakers | None = None,
        let_in: Callable[[Pass], None] | None = None,
        loop_watch: LoopWatch | None = None,
        hold: float = HOLD,
    ) -> None:
        self.writer = writer
        self.clock = clock
        self.handing_over = handing_over
        #: Brings answers to a run in which a branch waits.
        self.watch = watch
        self.worker_id = worker_id
        #: Tells open pages that a run has changed past the writer.
        self.touch = touch
        #: Where `async def` tasks have their steps with transaction=True executed.
        self.step_threads = step_threads
        #: The budgets on which runs draw, as far as they are known here.
        self.accounts = accounts
        #: What steps call, and whether they may. None where every call goes through.
        self.breakers = breakers
        #: Tells the worker of an isolated run that its stay may begin. None where the run is in the worker itself.
        self.let_in = let_in
        #: A run whose next wait is over within so many seconds stays. 0 where nobody brings answers.
        self.hold = hold
        #: For how long the event loop stood still. None where a run has one of its own.
        self.loop_watch = loop_watch
