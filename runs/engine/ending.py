"""The end of a stay, as rows: what the writer stores, and what is counted."""

from __future__ import annotations

import json
import logging

from runs import store
from runs.engine import hooks
from runs.engine.context import ActiveRun
from runs.engine.outcome import Outcome
from runs.engine.port import Sample
from runs.models import RollupKind
from runs.states import AttemptStatus, Status

logger = logging.getLogger("holdfast.engine")


def finish_row(run: ActiveRun, outcome: Outcome) -> store.FinishRow:
    return store.FinishRow(
        run.id,
        run.started.token,
        outcome.status,
        outcome.attempt,
        outcome.output,
        outcome.error,
        outcome.failed,
        outcome.delay,
        outcome.waiting_for,
        run.now() - run.began,
        hooks.stoppable(run.task.hooks) if run.task.hooks else "",
        run.started.parent,
        outcome.parked,
        run.has_waits or run.task.isolation is not None,  # the waits of an isolated run are known to its process
        tuple(run.started.accounts or ()) if outcome.parked else (),
        outcome.continues,
        run.task.run_timeout if outcome.continues is not None else None,
        run.used,
    )


def broken(run: ActiveRun, error: BaseException) -> Outcome:
    """The engine itself failed over this run (its exception cannot be described, say): it must not be held for ever."""
    logger.error("run %s could not be brought to its end", run.id, exc_info=error)
    text = json.dumps(
        {"type": "EngineError", "message": type(error).__name__, "fingerprint": "engine", "traceback": ""}
    )
    return Outcome(Status.FAILED, AttemptStatus.FAILED, error=text, failed=1)


def samples(run: ActiveRun, outcome: Outcome) -> list[Sample]:
    """What an end adds to the rollups."""
    now = run.now()
    task, queue, version = run.task_id, run.started.queue_id, run.task.version
    found: list[Sample] = []
    if outcome.attempt is not None:
        found.append((RollupKind.ATTEMPT, task, queue, "", version, outcome.attempt, now - run.began))
    if outcome.delay is None:
        found.append((RollupKind.RUN, task, queue, "", version, outcome.status, now - run.started.created))
    return found
