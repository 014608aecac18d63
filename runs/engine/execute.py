"""Calling the task's function, and naming the outcome."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from pydantic import ValidationError

from runs.engine import failure, hooks, memory, middleware, passage
from runs.engine.context import ActiveRun
from runs.engine.database import tidy_shared
from runs.engine.deferring import FIRST_DELAY
from runs.engine.outcome import Continue, Fenced, HandOver, Mismatch, Outcome, PutDown, Stop, Unresolved
from runs.errors import InvalidPayload
from runs.sdk import codec
from runs.sdk.retry import is_abort
from runs.states import AttemptStatus, Status


async def execute_async(run: ActiveRun) -> Outcome:
    """A stay of a coroutine task. Raises Fenced only."""
    if (breaker := passage.guard(run)) is None:
        return await _stay_async(run)
    try:
        passed = await passage.enter_async(run, breaker)
    except (PutDown, asyncio.CancelledError):
        return cut_off(run)
    began = run.now()
    outcome = await _stay_async(run)
    passage.leave(run, passed, began, outcome)
    return outcome


def execute_sync(run: ActiveRun) -> Outcome:
    """A stay of a plain function, in a thread of its own. Raises Fenced only."""
    if (breaker := passage.guard(run)) is None:
        return _stay_sync(run)
    try:
        passed = passage.enter_sync(run, breaker)
    except PutDown:
        return cut_off(run)
    began = run.now()
    outcome = _stay_sync(run)
    passage.leave(run, passed, began, outcome)
    return outcome


async def _stay_async(run: ActiveRun) -> Outcome:
    scope = run.within(limit) if (limit := run.time_left) is not None else None
    try:
        if scope is None:
            value = await _call_async(run)
        else:
            async with scope:
                value = await _call_async(run)
    except Fenced:
        raise
    except BaseException as error:
        if run.unwound is not None:  # in whatever group or handler the unwinding got caught
            return put_down(run.unwound)
        if scope is not None and scope.expired() and isinstance(error, TimeoutError):
            return timed_out(run, error)
        if run.cancelled_by_worker:
            return put_down(HandOver())
        tidy_shared(error)
        return failed(run, error)
    if scope is not None and scope.expired():
        return timed_out(run, TimeoutError())
    return completed(run, value)


def _stay_sync(run: ActiveRun) -> Outcome:
    began, limit = time.monotonic(), run.time_left
    try:
        value = _call_sync(run)
    except Fenced:
        raise
    except BaseException as error:
        return put_down(run.unwound) if run.unwound is not None else failed(run, error)
    if limit is not None and time.monotonic() - began > limit:
        return timed_out(run, TimeoutError())
    return completed(run, value)


async def _call_async(run: ActiveRun) -> Any:
    arguments = run.arguments()
    if run.task.hooks:
        await hooks.begin_async(run)
    if wrappers := middleware.around(run):
        return await middleware.call_async(run, wrappers, arguments)
    return await run.task.function(**arguments)


def _call_sync(run: ActiveRun) -> Any:
    arguments = run.arguments()
    if run.task.hooks:
        hooks.begin_sync(run)
    if wrappers := middleware.around(run):
        return middleware.call_sync(run, wrappers, arguments)
    return run.task.function(**arguments)


def completed(run: ActiveRun, value: Any) -> Outcome:
    """With its result; unless the run's code made one although it was being unwound: then it comes back, or is over
    as what it was stopped for; or its history has more."""
    run.check_end()
    if run.unwound is not None:
        return put_down(run.unwound)
    try:
        if value is not None:
            value = validated(run, value)
        output = codec.dump(run.task.output, value, "result", codec.MAX_STORED)
        if not run.task.output_is_plain and (unreadable := codec.unreadable(run.task.output, output)) is not None:
            raise codec.unreadable_result(unreadable, "result")
    except Exception as error:
        return failed(run, error)
    return Outcome(Status.COMPLETED, AttemptStatus.COMPLETED, output=output)


def validated(run: ActiveRun, value: Any) -> Any:
    """The result as its annotation has it. Raises InvalidResult."""
    try:
        return run.task.output.validate_python(value)
    except ValidationError as error:
        raise codec.unfit_result(error, "result") from None


def failed(run: ActiveRun, error: BaseException) -> Outcome:
    """Again after a delay, or for good."""
    error = memory.named(run, error)
    text = failure.encode(failure.describe(error))
    failures = run.started.failures + 1
    retry, blameless = run.task.retry, is_abort(error) or isinstance(error, InvalidPayload)
    if isinstance(error, InvalidPayload) or not retry.allows(error, failures, max_attempts=run.started.max_attempts):
        return Outcome(Status.FAILED, AttemptStatus.FAILED, error=text, failed=1, blameless=blameless)
    return Outcome(Status.RETRYING, AttemptStatus.FAILED, error=text, failed=1, delay=retry.delay(failures, error))


def timed_out(run: ActiveRun, error: BaseException) -> Outcome:
    named = TimeoutError(f"the attempt took longer than max_duration, {run.task.max_duration:g} s")
    named.__traceback__ = error.__traceback__
    return Outcome(Status.TIMED_OUT, AttemptStatus.TIMED_OUT, error=failure.encode(failure.describe(named)), failed=1)


def put_down(unwound: PutDown) -> Outcome:
    """The attempt stays open and the run comes back, unless it was stopped, or a person has to decide first."""
    if isinstance(unwound, Stop):
        return Outcome(Status(unwound.status), AttemptStatus(unwound.status))
    if isinstance(unwound, Unresolved):
        return Outcome(Status.UNKNOWN, AttemptStatus.FAILED, error=unwound.error)
    if isinstance(unwound, Continue):
        return Outcome(
            Status.QUEUED, AttemptStatus.COMPLETED, delay=0.0, parked=unwound.parked, continues=unwound.payload
        )
    if isinstance(unwound, Mismatch):
        return Outcome(Status.WAITING, None, delay=FIRST_DELAY, waiting_for=unwound.waiting_for)
    if isinstance(unwound, HandOver):
        return Outcome(Status.QUEUED, None, delay=0.0)
    return Outcome(Status.WAITING, None, delay=unwound.delay, waiting_for=unwound.waiting_for, parked=unwound.parked)


def cut_off(run: ActiveRun) -> Outcome:
    """Of a stay that was cancelled before the function was called, or after its end: if there is a hook for what it is
    stopped as, the run is entered once more for that."""
    unwound = run.unwound or HandOver()
    if isinstance(unwound, Stop) and unwound.status in hooks.stoppable(run.task.hooks).split():
        return hooks.again()
    return put_down(unwound)
