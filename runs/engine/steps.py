"""A step, called by a run's code: answered from its snapshot, or executed, retried and stored. One that commits with
Django's ORM is `transact.py`'s."""

from __future__ import annotations

import asyncio
import json
import logging
from concurrent.futures import Future
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from runs.engine import passage, transact, unsafe
from runs.engine.database import outside_transactions
from runs.engine.outcome import PutDown
from runs.engine.tryrows import try_row, try_sample
from runs.engine.waiting import HOLD
from runs.errors import HeartbeatLost, StepMisuse
from runs.models import SnapshotKind
from runs.sdk import codec
from runs.sdk.completion import HandedOver
from runs.sdk.context import current_step

if TYPE_CHECKING:
    from runs.engine.context import ActiveRun
    from runs.sdk.step import Step


async def call_async(run: ActiveRun, step: Step[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    key = run._identity(step, args, kwargs)
    if key in run._done:
        return run._replay(step, key)
    if not run.is_handed(key):
        if key in run._tries:
            await run.waits.pause(key, run._tries[key])  # the run came back for something else
        if run.may_repeat or step.unsafe:
            _warn_or_enter(run, step, key)
    run.keep_input(step, key, args, kwargs)
    while True:
        handed = run.is_handed(key)
        if run.has_budget and not handed:
            await run.waits.room_async(key)
        passed = await passage.ask_async(run, step, key) if step.breaker is not None and not handed else None
        run.boundary()
        began, token = run._port.clock.now(), current_step.set(key)
        run.executing[key] = step
        try:
            if handed:
                began = run.completions.began(key)
                value = await run.waits.wait_async(run.completions.waited_for(step, key))
            elif step.unsafe and (found := await unsafe.begin_async(run, step, key, began, args, kwargs)) is not None:
                return found.result
            elif step.timeout is None and step.heartbeat_timeout is None:
                value = await step.function(*args, **kwargs)
            else:
                value = await _timed(run, step, key, args, kwargs)
            output = codec.dump_result(step.output, value, f"step {step.name!r}: result")
        except HandedOver:
            passage.report(run, passed, began)
            run.completions.hand_over(step, key, began, args, kwargs)
            continue
        except Exception as error:
            passage.report(run, passed, began, error)
            delay = run._tried(step, key, began, args, kwargs, error)
        else:
            passage.report(run, passed, began)
            row = try_row(run, step, key, began, args, kwargs, SnapshotKind.STEP, output=output)
            stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            run._store(row, stored, try_sample(run, step, began, "completed", row.finished))
            run.step_over(key)
            await stored
            run.remember(step, key, output)
            return value
        finally:
            run.executing.pop(key, None)
            current_step.reset(token)
            run.step_left()
        if delay > HOLD:
            await run.waits.pause(key, run._tries[key], delay)
        else:
            await run._port.clock.asleep(delay)


def call_sync(run: ActiveRun, step: Step[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if step.transaction:
        return transact.call(run, step, args, kwargs)
    if run.is_async:
        raise StepMisuse(
            f"Step {step.name!r} is a plain function and would block the event loop of this async task. Make the "
            f"step `async def`, or call it in a thread: await asyncio.to_thread({step.name}.function, …) inside an "
            "async step."
        )
    key = run._identity(step, args, kwargs)
    if key in run._done:
        return run._replay(step, key)
    outside_transactions(
        f"Step {step.name!r}",
        "Call it before or after the block; or declare it with transaction=True, so that its rows and its snapshot are "
        f"committed together; or write {step.name}.function(…), which is no step.",
    )
    if (run.may_repeat or step.unsafe) and not run.is_handed(key):
        _warn_or_enter(run, step, key)
    run.keep_input(step, key, args, kwargs)
    while True:
        handed = run.is_handed(key)
        if run.has_budget and not handed:
            run.waits.room_sync(key)
        passed = passage.ask_sync(run, step, key) if step.breaker is not None and not handed else None
        run.boundary()
        began, token = run._port.clock.now(), current_step.set(key)
        run.executing[key] = step
        try:
            if handed:
                began = run.completions.began(key)
                value = run.waits.wait_sync(run.completions.waited_for(step, key))
            elif step.unsafe and (found := unsafe.begin_sync(run, step, key, began, args, kwargs)) is not None:
                return found.result
            else:
                value = step.function(*args, **kwargs)
            output = codec.dump_result(step.output, value, f"step {step.name!r}: result")
        except HandedOver:
            passage.report(run, passed, began)
            run.completions.hand_over(step, key, began, args, kwargs)
            continue
        except Exception as error:
            passage.report(run, passed, began, error)
            delay = run._tried(step, key, began, args, kwargs, error)
        else:
            passage.report(run, passed, began)
            row = try_row(run, step, key, began, args, kwargs, SnapshotKind.STEP, output=output)
            stored: Future[None] = Future()
            run._store(row, stored, try_sample(run, step, began, "completed", row.finished))
            run.step_over(key)
            stored.result()
            run.remember(step, key, output)
            return value
        finally:
            run.executing.pop(key, None)
            current_step.reset(token)
        if delay > HOLD:
            waiting_for = {"kind": "step_retry", "what": f"the next try of {key}", "step": key}
            raise run.unwind(PutDown(delay, json.dumps(waiting_for)))
        run._port.clock.sleep(delay)


async def _timed(run: ActiveRun, step: Step[Any, Any], key: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    whole, silence = run.within(step.timeout), run.within(step.heartbeat_timeout)
    try:
        async with whole, silence:
            with run.beats.expected(key, silence) if step.heartbeat_timeout is not None else nullcontext():
                return await step.function(*args, **kwargs)
    except TimeoutError as error:
        if whole.expired():
            raise TimeoutError(f"step {step.name!r} took longer than {step.timeout:g} s") from error
        if silence.expired():
            raise HeartbeatLost(
                f"Step {step.name!r} gave no heartbeat for {step.heartbeat_timeout:g} s.", last=run.beats.last(key)
            ) from error
        raise


def _warn_or_enter(run: ActiveRun, step: Step[Any, Any], key: str) -> None:
    if step.unsafe:
        unsafe.enter(run, step, key)
    elif run.may_repeat:
        run.say(
            logging.WARNING,
            f"step {key} may have been executed before, by attempt {run.attempt - 1}: its worker died and could "
            'not say. If a second execution does harm, look; and see safety="unsafe" and transaction=True.',
            {"step": key, "attempt_before": run.attempt - 1, "repeated_after_crash": True},
        )
