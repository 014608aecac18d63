"""Calls a task's hooks around a stay.

`on_start`, `on_success`, `on_failure` and `on_cancel` are durable steps: what is stored of one is never called again.
So that a crash between the end of the code and the end of its hook neither loses nor repeats anything, the outcome is
stored first (`runs_run.ending`; a run that is being stopped has `stopping`). A run that is entered again with one of
them calls its hook and ends; its function is not called.

A hook that fails for good is stored as done, with its error, and changes nothing else; whatever it raises.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from asgiref.sync import async_to_sync
from pydantic import ValidationError

from runs import store
from runs.engine import failure
from runs.engine.outcome import HandOver, Mismatch, Outcome, PutDown, Stop
from runs.engine.tryrows import try_row
from runs.models import SnapshotKind
from runs.sdk import codec
from runs.sdk.context import current_step
from runs.sdk.hooks import Failure
from runs.sdk.step import Step
from runs.states import AttemptStatus, Status

if TYPE_CHECKING:
    from runs.engine.context import ActiveRun

#: Which hook belongs to a final status. A run that crashed or expired has nobody to call one.
OF_STATUS = {
    Status.COMPLETED: "on_success",
    Status.FAILED: "on_failure",
    Status.TIMED_OUT: "on_failure",
    Status.CANCELLED: "on_cancel",
}

#: What a hook may raise: a cancellation, too, if nobody has asked for it from outside (see `_is_asked_for`).
THEIRS: Final = (Exception, SystemExit, KeyboardInterrupt, asyncio.CancelledError)


def stoppable(hooks: dict[str, Step[..., Any]]) -> str:
    """The final statuses for which a run that is stopped while it waits is entered once more, as one text."""
    return " ".join(status for status in (Status.CANCELLED, Status.TIMED_OUT) if OF_STATUS[status] in hooks)


def decided(run: ActiveRun) -> Outcome | None:
    """The outcome of a run that is entered for its hook alone."""
    if run.started.ending is not None:
        kept = json.loads(run.started.ending)
        return Outcome(
            Status(kept["status"]), AttemptStatus(kept["attempt"]), kept["output"], kept["error"], kept["failed"]
        )
    if run.started.stopping is not None:
        run.stop(run.started.stopping)
        return stopped(run.started.stopping)
    return None


def stopped(status: str) -> Outcome:
    """The outcome of a run that was stopped as `status`."""
    return Outcome(Status(status), AttemptStatus(status))


# ── before ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def begin_async(run: ActiveRun) -> None:
    """`on_start` of a run's first stay, `on_resume` of one that comes back."""
    hooks = run.task.hooks
    if "on_start" in hooks and run.started.round == 1:
        await _once_async(run, hooks["on_start"], _nothing)
    if "on_resume" in hooks and run.started.active is not None:
        await _now_async(run, hooks["on_resume"], None)


def begin_sync(run: ActiveRun) -> None:
    """`begin_async` of a plain function."""
    hooks = run.task.hooks
    if "on_start" in hooks and run.started.round == 1:
        _once_sync(run, hooks["on_start"], _nothing)
    if "on_resume" in hooks and run.started.active is not None:
        _now_sync(run, hooks["on_resume"], None)


# ── after ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def conclude_async(run: ActiveRun, outcome: Outcome) -> Outcome:
    """The hook that belongs to an outcome; the outcome itself, unless the worker is stopping meanwhile."""
    hook = _hook_for(run, outcome)
    if hook is None:
        return outcome
    try:
        if outcome.delay is not None:
            await _now_async(run, hook, json.loads(outcome.waiting_for or "null"))
            return outcome
        if (ack := _keep(run, outcome)) is not None:
            await asyncio.wrap_future(ack)
        await _once_async(run, hook, partial(_about, run, outcome))
    except (PutDown, asyncio.CancelledError):
        return again()  # the worker is stopping: the hook is called elsewhere
    return outcome


def conclude_sync(run: ActiveRun, outcome: Outcome) -> Outcome:
    """`conclude_async` of a plain function."""
    hook = _hook_for(run, outcome)
    if hook is None:
        return outcome
    try:
        if outcome.delay is not None:
            _now_sync(run, hook, json.loads(outcome.waiting_for or "null"))
            return outcome
        if (ack := _keep(run, outcome)) is not None:
            ack.result()
        _once_sync(run, hook, partial(_about, run, outcome))
    except PutDown:
        return again()
    return outcome


def conclude_later(run: ActiveRun, outcome: Outcome) -> Outcome:
    """An isolated run whose process did not live to call the hook of its outcome: the outcome is kept, and the run is
    entered once more, for the hook alone. No code of a run's is called in its worker."""
    if outcome.delay is not None or _hook_for(run, outcome) is None:
        return outcome
    _keep(run, outcome)
    return again()


def again() -> Outcome:
    """Not the end yet: the run is entered once more, for its hook."""
    return Outcome(Status.QUEUED, None, delay=0.0)


def _hook_for(run: ActiveRun, outcome: Outcome) -> Step[..., Any] | None:
    hooks = run.task.hooks
    if not hooks or isinstance(run.unwound, Mismatch):
        return None  # it is not for this code to say anything
    if outcome.delay is not None:
        return hooks.get("on_wait") if outcome.status == Status.WAITING else None
    run.concluding = True
    return hooks.get(OF_STATUS.get(outcome.status, ""))


def _keep(run: ActiveRun, outcome: Outcome) -> Future[None] | None:
    """Makes the outcome durable before its hook. A stop is durable already: somebody asked for it in the database."""
    if run.started.ending is not None or isinstance(run.unwound, Stop):
        return None
    kept = {
        "status": outcome.status,
        "attempt": outcome.attempt,
        "output": outcome.output,
        "error": outcome.error,
        "failed": outcome.failed,
    }
    ack: Future[None] = Future()
    run.put(store.EndingRow(run.id, run.started.token, json.dumps(kept)), ack)
    return ack


def _about(run: ActiveRun, outcome: Outcome) -> Any:
    """What a hook is told. Raises InvalidResult for a result that this code's annotation cannot read."""
    if outcome.status == Status.COMPLETED:
        try:
            return run.task.output.validate_json(outcome.output) if outcome.output is not None else None
        except ValidationError as error:
            raise codec.unfit_result(error, "result") from None
    if outcome.error is not None:
        return Failure.of(json.loads(outcome.error))
    if outcome.status == Status.TIMED_OUT:
        return Failure("RunTimeout", "the run did not end within its run_timeout", "run-timeout")
    return None


def _nothing() -> None:
    return None


# ── one hook ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def _once_async(run: ActiveRun, hook: Step[..., Any], about: Callable[[], Any]) -> None:
    key = f"{hook.name}#1"
    while key not in run._done:
        _leave_if_stopping(run)
        began, token, asked = run.now(), current_step.set(key), _cancels()
        try:
            async with run.within(hook.timeout):
                await _call_async(hook, about())
        except THEIRS as error:
            if _is_asked_for(error, asked):
                raise
            delay, ack = _failed(run, hook, key, began, error)
        else:
            delay, ack = 0.0, _store(run, hook, key, began, SnapshotKind.STEP, None)
        finally:
            current_step.reset(token)
        if ack is not None:
            await asyncio.wrap_future(ack)
        if delay:
            await run._port.clock.asleep(delay)


def _once_sync(run: ActiveRun, hook: Step[..., Any], about: Callable[[], Any]) -> None:
    key = f"{hook.name}#1"
    while key not in run._done:
        _leave_if_stopping(run)
        began, token = run.now(), current_step.set(key)
        try:
            _call(hook, about())
        except THEIRS as error:
            delay, ack = _failed(run, hook, key, began, error)
        else:
            delay, ack = 0.0, _store(run, hook, key, began, SnapshotKind.STEP, None)
        finally:
            current_step.reset(token)
        if ack is not None:
            ack.result()
        if delay:
            run.rest(delay)


async def _call_async(hook: Step[..., Any], about: Any) -> None:
    if hook.is_async:
        await hook.function(about)
    else:
        await asyncio.to_thread(hook.function, about)


def _cancels() -> int:
    """How often this asyncio task was asked to stop so far."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


def _is_asked_for(error: BaseException, asked: int) -> bool:
    """Whether it is a cancellation that came while the hook was called: the worker is stopping, or the time of the
    attempt is over. Any other is the hook's own, as of a task that it awaits and that was cancelled; it would be raised
    in the next worker again, and so for ever."""
    return isinstance(error, asyncio.CancelledError) and _cancels() > asked


def _call(hook: Step[..., Any], about: Any) -> None:
    if inspect.iscoroutinefunction(hook.function):
        async_to_sync(hook.function)(about)
    else:
        hook.function(about)


def _failed(
    run: ActiveRun, hook: Step[..., Any], key: str, began: float, error: BaseException
) -> tuple[float, Future[None] | None]:
    """A try of a hook failed: the delay before the next one; or it is done with, and what says that this is durable."""
    tries = run._tries[key] = run._tries.get(key, 0) + 1
    text = failure.encode(failure.describe(error, key))
    said = f"{hook.name} failed ({failure.brief(error)})"
    if hook.retry.allows(error, tries):
        _store(run, hook, key, began, SnapshotKind.FAILURE, text)
        delay = hook.retry.delay(tries, error)
        run.say(logging.WARNING, f"{said}; try {tries + 1} of {hook.retry.max_attempts} in {delay:.1f} s", None)
        return delay, None
    run.say(logging.ERROR, f"{said}; the run's outcome stands", None)
    return 0.0, _store(run, hook, key, began, SnapshotKind.STEP, text)


def _leave_if_stopping(run: ActiveRun) -> None:
    """Raises HandOver when the worker is stopping."""
    if run._port.handing_over():
        raise HandOver


def _store(
    run: ActiveRun, hook: Step[..., Any], key: str, began: float, kind: SnapshotKind, error: str | None
) -> Future[None] | None:
    """Stores a try of a hook. The last one is done when what is returned is."""
    stored: Future[None] | None = Future() if kind == SnapshotKind.STEP else None
    run._store(try_row(run, hook, key, began, (), {}, kind, error=error), stored)
    if kind == SnapshotKind.STEP:
        run._done[key] = None
    return stored


async def _now_async(run: ActiveRun, hook: Step[..., Any], about: Any) -> None:
    """A hook that is called in passing: a failure is a log line."""
    token, asked = current_step.set(hook.name), _cancels()
    try:
        await _call_async(hook, about)
    except THEIRS as error:
        if _is_asked_for(error, asked):
            raise
        run.say(logging.ERROR, f"{hook.name} failed ({failure.brief(error)})", None)
    finally:
        current_step.reset(token)


def _now_sync(run: ActiveRun, hook: Step[..., Any], about: Any) -> None:
    token = current_step.set(hook.name)
    try:
        _call(hook, about)
    except THEIRS as error:
        run.say(logging.ERROR, f"{hook.name} failed ({failure.brief(error)})", None)
    finally:
        current_step.reset(token)
