"""What is kept of a step's tries: their rows of the history, and their share of the rollups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runs import store
from runs.engine.locality import marked
from runs.engine.port import Sample
from runs.models import RollupKind, SnapshotKind
from runs.sdk.step import Step

if TYPE_CHECKING:
    from runs.engine.context import ActiveRun


def try_row(
    run: ActiveRun,
    step: Step[Any, Any],
    key: str,
    began: float,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    kind: SnapshotKind,
    *,
    output: str | None = None,
    error: str | None = None,
) -> store.SnapshotRow:
    """The snapshot of a step's try that began then (Unix time) and is over now. It is numbered when it is stored."""
    run.may_repeat = False
    state, home = marked(step, kind)
    return store.SnapshotRow(
        run.id,
        0,
        kind,
        step.name,
        key,
        run.attempt,
        run.input_of(step, key, args, kwargs, kind) if args or kwargs else None,
        output,
        state,
        error,
        began,
        run.now(),
        run._spending.of_try(key) if run._spending is not None else None,
        home,
    )


def try_sample(run: ActiveRun, step: Step[Any, Any], began: float, status: str, ended: float) -> Sample:
    """One try, for the rollups."""
    of = run.started.queue_id
    return (RollupKind.STEP, run.task_id, of, step.name, run.task.version, status, ended - began)
