"""`@step(safety="unsafe")`: never called again on a guess (FAULTS 3).

Before its function is called, the *intent* to call it is durable. An answer closes the intent: the step's snapshot, a
failed try (an exception is an answer), or word that it did not happen. An intent that a run finds open when it is
entered again, or that the step itself leaves open (`OutcomeUnknown`, a timeout), asks the reconcile hook; where that is
missing or cannot tell, the run ends as `unknown` and a person decides (`runs.services.run_resolve_unknown`).
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final

from runs import store
from runs.engine import failure
from runs.engine.outcome import Unresolved
from runs.engine.tryrows import try_row, try_sample
from runs.errors import NotSerializable, OutcomeUnknown, StepMisuse
from runs.models import SnapshotKind
from runs.sdk import codec
from runs.sdk.safety import Reconciled

if TYPE_CHECKING:
    from runs.engine.context import ActiveRun
    from runs.engine.port import Sample
    from runs.sdk.step import Step

#: Characters of the step's arguments that the error of an unknown run shows; its intent shows them all.
SHOWN: Final = 1_000
#: What leaves the intent open: the function does not know what it has done, or its result cannot be stored.
UNCERTAIN: Final = (OutcomeUnknown, TimeoutError, NotSerializable)


def enter(run: ActiveRun, step: Step[Any, Any], key: str) -> None:
    """One key, one call: of two at once nobody could say which of them an intent belongs to."""
    if key in run.begun:
        raise StepMisuse(
            f"Step {step.name!r} is unsafe and was called twice with the key {step.key!r}. Give each call a key of its "
            "own, or none."
        )
    run.begun.add(key)


def is_open(run: ActiveRun, step: Step[Any, Any], key: str, error: Exception) -> bool:
    """A try failed: whether it is unknown what it did. Otherwise the failure is the intent's answer."""
    if key in run.intents and isinstance(error, UNCERTAIN):
        run.uncertain[key] = error
        run.say(
            logging.WARNING,
            f"step {key} cannot tell whether it happened ({failure.brief(error)}); "
            + ("its reconcile hook is asked" if step.promise.reconcile else "it has no reconcile hook"),
            None,
        )
        return True
    run.intents.pop(key, None)
    return False


def begin_sync(
    run: ActiveRun, step: Step[Any, Any], key: str, began: float, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Reconciled | None:
    """Before the function is called: makes the intent durable, or settles the one that is open. An answer with the
    result: do not call it."""
    if key in run.intents:
        answer: Any = None
        if step.promise.reconcile is not None:
            try:
                answer = step.promise.reconcile(*args, **kwargs, step_key=run.step_key)
            except Exception as error:
                answer = _hook_failed(run, key, error)
        row, samples = _settle(run, step, key, began, args, kwargs, answer)
        if row is not None:
            _stored_sync(run, row, *samples)
            return Reconciled.happened(_value(step, row))
    _stored_sync(run, try_row(run, step, key, began, args, kwargs, SnapshotKind.INTENT))
    run.intents[key] = run.attempt
    return None


async def begin_async(
    run: ActiveRun, step: Step[Any, Any], key: str, began: float, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Reconciled | None:
    """`begin_sync` for `async def`."""
    if key in run.intents:
        answer: Any = None
        if step.promise.reconcile is not None:
            try:
                answer = await step.promise.reconcile(*args, **kwargs, step_key=run.step_key)
            except Exception as error:
                answer = _hook_failed(run, key, error)
        row, samples = _settle(run, step, key, began, args, kwargs, answer)
        if row is not None:
            await _stored_async(run, row, *samples)
            return Reconciled.happened(_value(step, row))
    await _stored_async(run, try_row(run, step, key, began, args, kwargs, SnapshotKind.INTENT))
    run.intents[key] = run.attempt
    return None


def _settle(
    run: ActiveRun,
    step: Step[Any, Any],
    key: str,
    began: float,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    answer: Any,
) -> tuple[store.SnapshotRow | None, tuple[Sample, ...]]:
    """What follows from the hook's answer: the snapshot of a step that happened, or None: call it (again).

    Raises:
        Unresolved: a person has to decide.
        Exception: what the try in this stay ended with; it did not happen, so the step's retry policy decides.
    """
    if answer is not None and not isinstance(answer, Reconciled):
        answer = Reconciled.cannot_tell(
            f"the reconcile hook returned {type(answer).__name__}; it must return Reconciled.happened(result), "
            "Reconciled.did_not_happen() or Reconciled.cannot_tell(reason)"
        )
    if answer is None or answer.verdict == "cannot_tell":
        text = try_row(run, step, key, began, args, kwargs, SnapshotKind.INTENT).input or "none"
        raise run.unwind(Unresolved(_error(run, step, key, text, answer))) from None
    if answer.verdict == "happened":
        try:
            output = codec.dump_result(step.output, answer.result, f"step {step.name!r}: reconciled result")
        except Exception as error:
            again = Reconciled.cannot_tell(
                f"it happened, but the hook's result does not fit the step: {failure.message_of(error)}"
            )
            return _settle(run, step, key, began, args, kwargs, again)
        run.intents.pop(key)
        run.uncertain.pop(key, None)
        run.say(logging.WARNING, f"step {key} had happened, its reconcile hook says; it is not called again", None)
        row = try_row(run, step, key, began, args, kwargs, SnapshotKind.STEP, output=output)
        return row, (try_sample(run, step, began, "completed", row.finished),)
    run.intents.pop(key)
    run.say(logging.WARNING, f"step {key} had not happened, its reconcile hook says", None)
    run._store(try_row(run, step, key, began, args, kwargs, SnapshotKind.CLEARED), None)
    if key in run.uncertain:
        raise run.uncertain.pop(key)
    return None, ()


def _error(run: ActiveRun, step: Step[Any, Any], key: str, arguments: str, answer: Reconciled | None) -> str:
    """The error of an unknown run: which step, its key, its arguments, and what a person can do."""
    doubt = run.uncertain.pop(key, None)
    what = (
        f"said that it cannot tell whether it happened ({failure.brief(doubt)})"
        if doubt is not None
        else f"was begun by attempt {run.intents.get(key)}, which ended before it could say whether it happened"
    )
    asked = "It has no reconcile hook."
    if answer is not None:
        asked = f"Its reconcile hook cannot tell{': ' if answer.reason else ''}{answer.reason}."
    shown = arguments if len(arguments) <= SHOWN else arguments[: SHOWN - 1] + "…"
    message = (
        f"Step {key} is unsafe and {what}. {asked} Find out at the service that it calls: the step's key there is "
        f"{run.id}:{key}, its arguments {shown}. Then decide on the run's page, or with "
        f"`manage.py runs resolve {run.id}` and --happened RESULT, --did-not-happen or --fail."
    )
    described = failure.describe(OutcomeUnknown(message), key)
    return failure.encode({**described, "type": OutcomeUnknown.__name__, "traceback": ""})


def _hook_failed(run: ActiveRun, key: str, error: Exception) -> Reconciled:
    run.say(logging.ERROR, f"the reconcile hook of step {key} failed\n{failure.describe(error)['traceback']}", None)
    return Reconciled.cannot_tell(f"it failed with {failure.brief(error)}")


def _value(step: Step[Any, Any], row: store.SnapshotRow) -> Any:
    """What the step returns: read back, so that it is the same as on every later entry."""
    return None if row.output in (None, "null") else step.output.validate_json(row.output or "null")


def _stored_sync(run: ActiveRun, row: store.SnapshotRow, *samples: Sample) -> None:
    stored: Future[None] = Future()
    run._store(row, stored, *samples)
    stored.result()


async def _stored_async(run: ActiveRun, row: store.SnapshotRow, *samples: Sample) -> None:
    stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    run._store(row, stored, *samples)
    await stored
