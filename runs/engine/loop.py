"""The event loop on which coroutine tasks run, and what a run's code leaves behind on it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextvars import Context
from typing import Any

from runs.engine.context import ActiveRun
from runs.engine.duty import Duty
from runs.sdk.context import current

logger = logging.getLogger("holdfast.engine")


class LoopThread(Duty):
    """Runs the event loop until it is closed."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__("loop")
        self._loop = loop
        self._closing = False

    def close(self) -> None:
        self._closing = True
        self._loop.call_soon_threadsafe(self._loop.stop)

    def serve(self) -> None:
        while not self._closing:
            try:
                self._loop.run_forever()
            except (SystemExit, KeyboardInterrupt) as error:
                # asyncio lets these through the loop as well as to whoever awaits the task: that one fails its run.
                logger.warning("a task within a run raised %s", type(error).__name__)


def new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


async def end_tasks(run: ActiveRun) -> None:
    """What the run's code started and left behind ends with its stay."""
    left = [task for task in run.tasks if not task.done()]
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=5)
    for task in run.tasks:
        if task.done() and not task.cancelled():
            task.exception()  # seen: it was the run's own doing, and its outcome is known already
    run.tasks.clear()


def remember_task(
    loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], context: Context | None = None
) -> asyncio.Task[Any]:
    """Task factory: a task that a run's code starts is noted in the run."""
    task = asyncio.Task(coroutine, loop=loop, context=context)
    run = current.get()
    if isinstance(run, ActiveRun):
        run.tasks.add(task)
        task.add_done_callback(run.tasks.discard)
    return task
