"""`checkpoint(state)`: the explicit half of durability; `current_run().state` is the other end."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from runs.errors import NotInRun, StepMisuse
from runs.sdk.context import RunContext, current


def _run(name: str) -> RunContext:
    run = current.get()
    if run is None:
        raise NotInRun(f"{name}() was called outside a run. Call it inside a task that a worker executes.")
    return run


def checkpoint(state: Any) -> None:
    """Stores `state` (anything JSON can hold) and returns when it is durable.

    On re-entry after a crash or retry, `current_run().state` is the state that was stored last.
    """
    run = _run("checkpoint")
    if run.is_async:
        raise StepMisuse("checkpoint() would block the event loop of this async task. Write: await acheckpoint(state)")
    done = threading.Event()
    problem: list[BaseException] = []

    def saved(error: BaseException | None) -> None:
        if error is not None:
            problem.append(error)
        done.set()

    run.save_state(state, saved)
    done.wait()
    if problem:
        raise problem[0]


async def acheckpoint(state: Any) -> None:
    """`checkpoint` for `async def`."""
    run = _run("acheckpoint")
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def settle(error: BaseException | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    def saved(error: BaseException | None) -> None:
        loop.call_soon_threadsafe(settle, error)

    run.save_state(state, saved)
    await done
