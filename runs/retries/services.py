"""What people and programs may do to the next attempt of a run. Callers check the grant first."""

from __future__ import annotations

import math
import uuid
from datetime import datetime
from typing import Any, Final

from django.db import transaction

from holdfast import db
from holdfast.access.grants import Actor
from holdfast.access.services import audit
from queues import tickets
from runs import selectors, store
from runs.errors import InvalidOption, WrongState
from runs.models import Run
from runs.sdk.options import MAX_DELAY
from runs.states import Status

#: Seconds by which a next attempt is put off at least.
MIN_DELAY: Final = 1.0


def delay_of(value: Any) -> float:
    """Seconds from now, checked. Raises InvalidOption."""
    try:
        seconds = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not MIN_DELAY <= seconds <= MAX_DELAY:
        message = f"is {value!r:.60}; write seconds from {MIN_DELAY:g} to {MAX_DELAY:,.0f}"
        raise InvalidOption(f"delay {message}.", errors=[{"field": "delay", "message": message}])
    return seconds


def run_postpone(run_id: uuid.UUID, *, delay: Any, actor: Actor, reason: str = "") -> datetime:
    """The next attempt of a run that is retrying begins later: `delay` seconds from now. Returns when.

    Raises:
        UnknownRun, WrongState: it does not exist, or waits for no attempt.
        InvalidOption: the attempt would begin earlier than it does, or `delay` is no such number.
    """
    seconds = delay_of(delay)
    with transaction.atomic(), db.callers() as conn:
        moved = store.postpone_retry(conn, run_id, delay=seconds)
        if moved is None:
            raise _wrong_state(run_id)
        was, at = moved
        if was is not None and at <= was:
            message = f"would bring the next attempt forward from {was:%Y-%m-%d %H:%M:%S} UTC; write more seconds, or "
            message += "let it try now"
            raise InvalidOption(f"delay {message}.", errors=[{"field": "delay", "message": message}])
        audit(actor, "runs.postpone", "run", run_id, reason, before=_told(was), after=_told(at))
    return at


def run_hurry(run_id: uuid.UUID, *, actor: Actor, reason: str = "") -> None:
    """The next attempt of a run that is retrying begins now, as soon as its queue has a slot.

    Raises:
        UnknownRun, WrongState: it does not exist, waits for no attempt, or its attempt is due already.
    """
    with transaction.atomic(), db.callers() as conn:
        moved = store.hurry_retry(conn, run_id)
        if moved is None:
            raise _wrong_state(run_id)
        pools, was = moved
        audit(actor, "runs.hurry", "run", run_id, reason, before=_told(was), after={"next_at": "now"})
        transaction.on_commit(lambda: tickets.wake(pools))


def _wrong_state(run_id: uuid.UUID) -> WrongState:
    """Why neither can be done. Raises UnknownRun."""
    status = Run.objects.filter(pk=selectors.run_exists(run_id)).values_list("status", flat=True).get()
    if status == Status.RETRYING:
        return WrongState(f"Run {run_id} is retrying, and its next attempt is due already: it waits for a worker or a "
                          "slot.", status=status)  # fmt: skip
    return WrongState(f"Run {run_id} is {status}; only a run that is retrying has a next attempt.", status=status)


def _told(at: datetime | None) -> dict[str, str | None]:
    return {"next_at": at.isoformat() if at else None}
