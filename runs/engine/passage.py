"""What a breaker protects, a step's call or the stay of a queue's run: let through, or put off."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

from runs.engine.breakers import Pass, Stopped
from runs.engine.outcome import PutDown
from runs.engine.waiting import HOLD
from runs.sdk.retry import is_abort
from runs.sdk.wait import WaitKind, WaitSpec
from runs.states import Status

if TYPE_CHECKING:
    from queues.breaker import Breaker
    from runs.engine.breakers import Verdict
    from runs.engine.context import ActiveRun
    from runs.engine.outcome import Outcome
    from runs.sdk.step import Step


async def ask_async(run: ActiveRun, step: Step[Any, Any], key: str) -> Pass | None:
    """Comes back when the step may call. A run that has to wait for long leaves its worker meanwhile."""

    async def put_off(verdict: Stopped) -> None:
        told = _step_told(run, step, key, verdict)
        name = run.waits.next_key(f"breaker:{key}")
        await run.waits.wait_async(
            WaitSpec(WaitKind.RETRY, key, delay=verdict.seconds, key=name, detail=told, of_step=True)
        )

    return await _pass_async(run, step.breaker, _again(run, key), put_off)


def ask_sync(run: ActiveRun, step: Step[Any, Any], key: str) -> Pass | None:
    """`ask_async` of a plain function."""
    return _pass_sync(run, step.breaker, _again(run, key), partial(_step_told, run, step, key))


async def enter_async(run: ActiveRun, breaker: Breaker) -> Pass | None:
    """Comes back when the stay may begin. Raises PutDown when that is not soon."""

    async def put_off(verdict: Stopped) -> None:
        raise _put_down(run, verdict, _stay_told(run, breaker, verdict))

    return _let_in(run, await _pass_async(run, breaker, run.attempt > 1, put_off))


def enter_sync(run: ActiveRun, breaker: Breaker) -> Pass | None:
    """`enter_async` of a plain function."""
    return _let_in(run, _pass_sync(run, breaker, run.attempt > 1, partial(_stay_told, run, breaker)))


def _let_in(run: ActiveRun, passed: Pass | None) -> Pass | None:
    """The worker of an isolated run is told: it says what the stay came to if the process cannot any more."""
    if passed is not None and run._port.let_in is not None:
        run._port.let_in(passed)
    return passed


async def _pass_async(
    run: ActiveRun, breaker: Breaker | None, retry: bool, put_off: Callable[[Stopped], Awaitable[None]]
) -> Pass | None:
    """Asks until it may go on; what has to wait for long is put off."""
    while True:
        verdict = _ask(run, breaker, retry=retry)
        if isinstance(verdict, Future):
            verdict = await asyncio.wrap_future(verdict)
        if not isinstance(verdict, Stopped):
            return verdict
        if verdict.seconds > HOLD:
            await put_off(verdict)
        else:
            await run._port.clock.asleep(verdict.seconds)


def _pass_sync(
    run: ActiveRun, breaker: Breaker | None, retry: bool, told: Callable[[Stopped], dict[str, Any]]
) -> Pass | None:
    """`_pass_async` of a plain function: put off, its run leaves the worker, which says what was told."""
    while True:
        verdict = _ask(run, breaker, retry=retry)
        if isinstance(verdict, Future):
            verdict = verdict.result()
        if not isinstance(verdict, Stopped):
            return verdict
        if verdict.seconds > HOLD:
            raise _put_down(run, verdict, told(verdict))
        run._port.clock.sleep(verdict.seconds)


def _put_down(run: ActiveRun, verdict: Stopped, told: dict[str, Any]) -> PutDown:
    return run.unwind(PutDown(verdict.seconds, json.dumps(told)))


def report(run: ActiveRun, passed: Pass | None, began: float, error: Exception | None = None) -> None:
    """What the call came to. `Abort` says something of the run, not of what it called."""
    _report(run, passed, began, failed=error is not None and not is_abort(error))


def guard(run: ActiveRun) -> Breaker | None:
    """The breaker of its queue, as it is declared by now."""
    found = None if run._port.breakers is None else run._port.breakers.guards.get(run.started.queue_id)
    return None if found is None else found.current


def leave(run: ActiveRun, passed: Pass | None, began: float, outcome: Outcome) -> None:
    """What the stay came to. One that ends in a wait, or because somebody stopped it, has not failed."""
    failed = outcome.status in (Status.FAILED, Status.RETRYING, Status.TIMED_OUT) and not outcome.blameless
    _report(run, passed, began, failed=failed)


def died(run: ActiveRun, passed: Pass | None, began: float) -> None:
    """The stay ended with its process, which could not say so any more. One that was not let in has called nothing."""
    _report(run, passed, began, failed=True)


def _report(run: ActiveRun, passed: Pass | None, began: float, *, failed: bool) -> None:
    if passed is not None and run._port.breakers is not None:
        run._port.breakers.report(passed, failed=failed, seconds=run.now() - began)


def _ask(run: ActiveRun, breaker: Breaker | None, *, retry: bool) -> Verdict | Future[Verdict] | None:
    breakers = run._port.breakers
    return None if breakers is None or breaker is None else breakers.ask(breaker, retry=retry)


def _again(run: ActiveRun, key: str) -> bool:
    return run._tries.get(key, 0) > 0 or run.attempt > 1


def _step_told(run: ActiveRun, step: Step[Any, Any], key: str, verdict: Stopped) -> dict[str, Any]:
    """What the run says that it waits for."""
    assert step.breaker is not None
    run.say(logging.WARNING, f"step {key} is put off by {verdict.seconds:.1f} s: {verdict.words}", {"step": key})
    return {"kind": "breaker", "what": verdict.words, "step": key, "breaker": step.breaker.name}


def _stay_told(run: ActiveRun, breaker: Breaker, verdict: Stopped) -> dict[str, Any]:
    run.say(logging.WARNING, f"its queue is protected: put off by {verdict.seconds:.1f} s, {verdict.words}", None)
    return {"kind": "breaker", "what": verdict.words, "breaker": breaker.name}
