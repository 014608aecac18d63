"""A bulk job is made, with its scope frozen, and aborted: one transaction each, with an audit row."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, Final

from django.db import transaction

from holdfast import db
from holdfast.access.grants import Actor, require
from holdfast.access.services import audit
from runs import services, store
from runs.bulk import scope, selectors
from runs.bulk.choices import GRANTS, Action, Pace
from runs.bulk.model import BulkJob
from runs.errors import InvalidOption, WrongState
from runs.retries.services import delay_of

#: Characters of a reason.
MAX_REASON: Final = 500
#: Who may abort a job: it is a run that is cancelled.
ABORTS: Final = "runs.cancel"


def bulk_create(
    *,
    action: Any,
    actor: Actor,
    search: str | None = None,
    ids: Sequence[Any] | None = None,
    pace: Any = Pace.ALL,
    delay: Any = None,
    reason: str = "",
    newest: uuid.UUID | None = None,
    most: int = scope.MAX_RUNS,
) -> BulkJob:
    """Does something to all runs that fit a search now, or to a selection, in the background.

    Each run is acted upon as one alone is (`runs.services`), in the name of `actor`, with an audit row of its own.

    Args:
        action: "retry", "cancel", "replay", or "postpone" (the next attempts of runs that are retrying).
        search: as in the list of runs; one without a status means the runs with which the action can do something.
        ids: of runs, instead.
        pace: "all", or "canary" for a retry: 1 run, then 10, then the rest. After each stage it waits until its runs
            have ended, and stops when one of them has failed again with the same error.
        delay: seconds from now to the next attempts, of "postpone".
        newest: the id of the newest run that is meant by the search.

    Raises:
        GrantMissing: `actor` may not do that to one run either.
        InvalidOption, InvalidFilter, SearchTooSlow: what was asked for does not fit; `data["errors"]` names the field.
    """
    wanted, chosen = check(action, pace)
    seconds = check_delay(wanted, delay)
    require(actor, GRANTS[wanted])
    if (search is None) == (ids is None):
        raise invalid("q", "or ids: give one of them, a search of runs or a list of their ids")
    with transaction.atomic():
        if ids is not None:
            text, found = "", scope.read_ids(ids)
        else:
            filters = scope.filters_of(wanted, search or "")
            text, found = filters.text, scope.freeze(filters, newest=newest, most=most)
        if not found:
            raise invalid("q", f"fits no run that can be {wanted.label} now: {text or 'any'}")
        how = {"action": str(wanted), "pace": str(chosen), "delay": seconds, "search": text}
        return _begin(how, found, actor, reason)


def _begin(how: dict[str, Any], ids: list[uuid.UUID], actor: Actor, reason: str) -> BulkJob:
    from runs.tasks import bulk

    action = how["action"]
    told = {**how, "runs": len(ids)}
    run = bulk.using(tags=[f"bulk:{action}"]).enqueue(**told)
    after = {name: value for name, value in told.items() if value}
    audit(actor, f"bulk.{action}", "bulk", run.id, reason, before={}, after=after)  # it checks the reason
    job = BulkJob.objects.create(
        id=run.id,
        **how,
        reason=reason.strip()[:MAX_REASON],
        actor={"kind": actor.kind, "id": actor.id, "label": actor.label, "role": actor.role},
        total=len(ids),
    )
    with db.callers() as conn:
        store.freeze_bulk(conn, job.id, ids)
    job.refresh_from_db(fields=["created_at"])
    return job


def bulk_abort(job_id: uuid.UUID, *, actor: Actor, reason: str = "") -> str:
    """No further run is acted upon; a batch that is being worked is finished. What was done stays done.

    Returns:
        The status of the job's run: `cancelled` or `cancelling`.

    Raises:
        GrantMissing.
        UnknownBulkJob, WrongState: there is no such job, or it is over.
    """
    require(actor, ABORTS)
    with transaction.atomic():
        job = selectors.job_get(job_id)
        try:
            status = services.run_cancel(job.id, actor=actor, reason=reason)
        except WrongState as error:
            was = error.data.get("status")
            raise WrongState(
                f"Bulk job {job.id} is {was}; only one that is not over can be aborted, and only once.", status=was
            ) from None
        audit(actor, "bulk.abort", "bulk", job.id, reason, before={}, after={"acted": job.acted, "runs": job.total})
    return status


def check(action: Any, pace: Any = Pace.ALL) -> tuple[Action, Pace]:
    """What can be said without looking at any run. Raises InvalidOption."""
    if action not in Action.values:
        raise invalid("action", f"is {action!r:.60}; write one of {', '.join(Action.values)}")
    if pace not in Pace.values:
        raise invalid("pace", f"is {pace!r:.60}; write one of {', '.join(Pace.values)}")
    if pace == Pace.CANARY and action != Action.RETRY:
        raise invalid("pace", "canary is for retry: of other actions nothing comes back that could be looked at")
    return Action(action), Pace(pace)


def check_delay(action: Action, delay: Any) -> float | None:
    """Seconds; None for an action that has none. Raises InvalidOption."""
    if action == Action.POSTPONE:
        return delay_of(delay)
    if delay is not None:
        raise invalid("delay", f"is for {Action.POSTPONE}; leave it away")
    return None


def invalid(field: str, message: str) -> InvalidOption:
    """The error for one field."""
    return InvalidOption(f"{field} {message}.", errors=[{"field": field, "message": message}])
