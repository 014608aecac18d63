"""What people and programs may do to the next attempt of a run. Callers check the grant first."""

from __future__ import annotations

import math
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from django.db import transaction

from holdfast import db
from holdfast.access.grants import Actor
from holdfast.access.services import Audited, audit, audit_many
from queues import tickets
from runs import selectors, services, store
from runs.errors import HoldfastError, InvalidOption, WrongState
from runs.models import Run
from runs.sdk.options import MAX_DELAY
from runs.states import Status

#: Seconds by which a next attempt is put off at least.
MIN_DELAY: Final = 1.0
#: Of which runs the next attempt can be moved.
RULE: Final = "only a run that is retrying has a next attempt"


class TriesLater(InvalidOption):
    """The next attempt of a run is later than it is to be put off to."""


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
        TriesLater: the attempt would begin earlier than it does.
        InvalidOption: `delay` is no such number.
    """
    return services.alone(run_id, runs_postpone([run_id], delay=delay, actor=actor, reason=reason))


def runs_postpone(
    ids: Sequence[uuid.UUID], *, delay: Any, actor: Actor, reason: str = ""
) -> dict[uuid.UUID, datetime | Exception]:
    """`run_postpone` of many, with a few statements for all of them. Of each when it tries next, or why it was left as
    it is. Raises InvalidOption: `delay` is no number of seconds."""
    seconds = delay_of(delay)
    with transaction.atomic(), db.callers() as conn:
        moved = _postpone(conn, ids, seconds)
        left = [run_id for run_id in ids if run_id not in moved]
        rows = Run.objects.filter(pk__in=left).values_list("pk", "status", "next_at") if left else ()
        standing = {run_id: (status, next_at) for run_id, status, next_at in rows}
        changes = [Audited(run_id, _told(was), _told(at)) for run_id, (was, at) in moved.items()]
        audit_many(actor, "runs.postpone", "run", changes, reason)
    return {
        run_id: moved[run_id][1] if run_id in moved else _why_not(run_id, *standing.get(run_id, (None, None)))
        for run_id in ids
    }


def _postpone(
    conn: db.Conn, ids: Sequence[uuid.UUID], seconds: float
) -> dict[uuid.UUID, tuple[datetime | None, datetime]]:
    """Puts off what can be put off. What begins just now keeps its place in line: all is begun anew without it."""
    able = store.postponable(conn, ids, delay=seconds)
    while able:
        with transaction.atomic():
            moved = store.postpone_retries(conn, able, delay=seconds)
            if len(moved) == len(able):
                return moved
            transaction.set_rollback(True)
        able = [run_id for run_id in able if run_id in moved]
    return {}


def _why_not(run_id: uuid.UUID, status: str | None, next_at: datetime | None) -> HoldfastError:
    if status != Status.RETRYING or next_at is None:
        return services.refusal(run_id, status, RULE)
    message = f"would bring the next attempt forward from {next_at:%Y-%m-%d %H:%M:%S} UTC; write more seconds, or "
    message += "let it try now"
    return TriesLater(f"delay {message}.", errors=[{"field": "delay", "message": message}])


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
    return WrongState(f"Run {run_id} is {status}; {RULE}.", status=status)


def _told(at: datetime | None) -> dict[str, str | None]:
    return {"next_at": at.isoformat() if at else None}
