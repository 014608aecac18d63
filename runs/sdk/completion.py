"""`completion`: a step that somebody outside finishes.

@step(retry=Retry(max_attempts=3))
async def render(scene: str) -> Film:
    later = await acompletion(timeout=3600)
    await farm.submit(scene, callback=later.url)  # returns at once; the farm calls back when the film is there
    later.hand_over()

The step ends when its token is completed, with that value as its result; meanwhile the run holds no worker. Failing the
token, or leaving it until its time is over, is a failed try: the next one has a token of its own.
"""

from __future__ import annotations

import asyncio
import uuid
from concurrent.futures import Future
from datetime import timedelta
from typing import NoReturn

from runs.errors import NotInRun, StepMisuse
from runs.sdk.context import RunContext, current, current_step
from runs.sdk.wait import delay_of


class HandedOver(BaseException):
    """Leaves a step's function: its result comes from outside."""


class Completion:
    """Where a step is finished from outside. Durable once you have it."""

    __slots__ = ("_step", "id", "url")

    def __init__(self, step: str, id: uuid.UUID, url: str) -> None:  # noqa: A002
        self._step = step
        #: For `POST /api/v1/waits/{id}/complete`, with an API token.
        self.id = id
        #: For those who have no API token: whoever has this address may finish the step, once.
        self.url = url

    def hand_over(self) -> NoReturn:
        """Leaves the step's function. From now on it is not called again, in whichever attempt: the result is what the
        token is completed with. (A function that returns instead has its own result, and gives the token up.)

        Raises:
            StepMisuse: called elsewhere than in its step.
        """
        if current_step.get() != self._step:
            raise StepMisuse(
                f"hand_over() leaves step {self._step}, and was called elsewhere. Call it at the end of the function "
                "that asked for the completion."
            )
        raise HandedOver


def completion(*, timeout: float | timedelta | None = None) -> Completion:
    """A token by which somebody outside finishes the step that is being executed. Within one try it is always the same.

    Args:
        timeout: Seconds, or a timedelta, within which it has to be completed, counted from this call. Then the try has
            failed with WaitTimeout.

    Raises:
        NotInRun, StepMisuse: called outside a run, outside a step, or in one that nobody else can finish.
    """
    run, seconds = _prepared("completion", timeout)
    if run.is_async:
        raise StepMisuse("completion() would block the event loop of this async step. Write: await acompletion(…)")
    found, stored = _open(run, seconds)
    if stored is not None:
        stored.result()
    return found


async def acompletion(*, timeout: float | timedelta | None = None) -> Completion:  # noqa: ASYNC109 - stored, not waited
    """`completion` for `async def` steps."""
    run, seconds = _prepared("acompletion", timeout)
    found, stored = _open(run, seconds)
    if stored is not None:
        await asyncio.wrap_future(stored)
    return found


def _open(run: RunContext, seconds: float | None) -> tuple[Completion, Future[None] | None]:
    wait_id, url, stored = run.open_completion(seconds)
    return Completion(current_step.get(), wait_id, url), stored


def _prepared(name: str, timeout: float | timedelta | None) -> tuple[RunContext, float | None]:
    run = current.get()
    if run is None:
        raise NotInRun(
            f"{name}() was called outside a run. Call it inside a step of a task that a worker executes; in a unit "
            "test, run the task with holdfast.testing.run_inline."
        )
    if not current_step.get():
        raise StepMisuse(
            f"{name}() was called outside a step. Call it inside the function that @step wraps; between steps, wait "
            "for a token: wait.token(…)."
        )
    return run, delay_of(timeout, f"{name}: timeout")
