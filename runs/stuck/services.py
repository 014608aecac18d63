"""Asking a worker where a run is."""

from __future__ import annotations

import uuid
from typing import Final

from django.db.models import F

from holdfast import db
from runs import selectors, store
from runs.errors import NoAnswer, WrongState
from runs.sdk.patience import looks
from runs.stuck.model import Stack
from runs.stuck.taken import Taken

#: Seconds for which an answer is waited for. A worker looks twice a second for what it is asked.
PATIENCE: Final = 4.0


def stack_take(run_id: uuid.UUID, *, timeout: float = PATIENCE) -> Taken:
    """The Python stack of a run that a worker has in its hands, taken now. The run goes on meanwhile, and nothing of
    its code is called. It changes nothing, so it is not audited.

    Raises:
        UnknownRun
        WrongState: no worker has it, or has it any more.
        NoAnswer: its worker did not answer within `timeout` seconds.
    """
    with db.callers() as conn:
        asked = store.want_stacks(conn, [run_id])
    if not asked:
        status, _ = selectors.status_and_pool(run_id)
        raise WrongState(
            f"Run {run_id} is {status}: no worker executes it, so it is nowhere in its code.", status=status
        )
    _, token, asked_at = asked[0]
    row = None
    for _ in looks(timeout):
        row = _row(run_id, token)
        if row is None:
            status, _ = selectors.status_and_pool(run_id)
            raise WrongState(f"Run {run_id} has left its worker meanwhile; it is {status}.", status=status)
        if row.captured_at is not None and row.captured_at >= asked_at:
            return Taken.of(row)
    assert row is not None, "there is one look at least"
    raise NoAnswer(
        f"Worker {row.worker.name} did not answer within {timeout:g} s. It is frozen or overloaded, has lost "
        "PostgreSQL, or the run's code holds Python's lock (a C extension at work). Try again, or look at its host.",
        worker=row.worker.name,
    )


def _row(run_id: uuid.UUID, token: int) -> Stack | None:
    found = Stack.objects.select_related("worker").filter(pk=run_id, token=token, run__lease_token=F("token"))
    return found.first()
