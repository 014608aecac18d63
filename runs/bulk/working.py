"""What the task `holdfast.bulk` does: batches, each a step; in it each run, in one transaction with its outcome.

A worker that dies in the middle of a batch leaves some of its runs with an outcome and some without; the batch is begun
again, and those with one are passed. Which runs a batch takes depends on nothing but the frozen scope and their
outcomes, so that a run of this task that is entered again asks for the steps of its history.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from django.db import DatabaseError, InterfaceError, OperationalError, transaction
from django.db.models import F
from typing_extensions import TypedDict

from holdfast.access.errors import AccessError
from holdfast.access.grants import Actor
from holdfast.access.models import REASON_LENGTH
from holdfast.access.roles import Role
from holdfast.words import status_words
from runs import services
from runs.bulk.choices import CANARY, Action, Outcome, Pace
from runs.bulk.model import BulkItem, BulkJob
from runs.errors import HoldfastError, UnknownRun, WrongState
from runs.models import Run
from runs.sdk.context import current_run
from runs.sdk.log import log
from runs.sdk.retry import Abort, Retry
from runs.sdk.step import step
from runs.sdk.wait import wait
from runs.states import FINAL, Status

#: Runs of a batch, and seconds after which it ends with fewer. An abort is heard between two batches.
BATCH: Final = 100
BATCH_SECONDS: Final = 2.0
#: Seconds before a canary looks again for how its runs have ended: from … to.
FIRST_LOOK: Final = 1.0
LAST_LOOK: Final = 60.0
#: Statuses in which a run has failed: what is cancelled meanwhile says nothing of the error.
_FAILED: Final = (Status.FAILED, Status.CRASHED, Status.TIMED_OUT)
#: The task that works these jobs. (`runs.tasks` imports this module.)
WORKS: Final = "holdfast.bulk"
#: A session that broke, a deadlock: the batch is begun again, and passes what has its outcome.
PATIENT: Final = Retry(max_attempts=8, min_delay=0.5, factor=3, max_delay=300)


class Batch(TypedDict):
    """What became of the runs from one position to another. `upto` is not included."""

    upto: int
    done: int
    skipped: int
    failed: int


class Seen(TypedDict):
    """How the runs of a stage are. `same`: one that has failed again with the error that it had before."""

    open: int
    same: str | None


class Done(NamedTuple):
    """What came of one action."""

    outcome: Outcome
    why: str = ""
    became: uuid.UUID | None = None


def work(job_id: uuid.UUID) -> dict[str, Any]:
    """Works a job to its end. Returns its counts, and why it was stopped if it was. Raises Abort: there is no job."""
    job = BulkJob.objects.filter(pk=job_id).first()
    if job is None:
        raise Abort("There is no bulk job of this run; it was replayed. Make another job instead.")
    stages = (*CANARY, None) if job.pace == Pace.CANARY else (None,)
    position, stopped = 0, ""
    for number, size in enumerate(stages, 1):
        first, position = position, _stage(job, position, size)
        if position >= job.total or size is None:
            break
        log.info(f"stage {number} is retried", runs=position - first)
        if same := _settled(job, first, position, number):
            stopped = f"Run {same} failed again with the same error, so the rest was left as it is."
            stop(stopped)
            break
    job.refresh_from_db()
    found = {"done": job.done, "skipped": job.skipped, "failed": job.failed, "left": job.left}
    return {**found, "stopped": stopped} if stopped else found


def _stage(job: BulkJob, position: int, size: int | None) -> int:
    """Batch by batch until so many runs are done, or none is left. Returns the position of the next one."""
    done = 0
    while position < job.total and (size is None or done < size):
        found = batch(str(job.id), position, BATCH if size is None else size - done)
        position, done = found["upto"], done + found["done"]
        current_run().progress(position / job.total, f"{position:,} of {job.total:,} runs")
    return position


def _settled(job: BulkJob, first: int, upto: int, number: int) -> str | None:
    """Waits, in no worker, until the runs of a stage have ended. The run that failed again as before, or None."""
    delay = FIRST_LOOK
    while True:
        seen = look(str(job.id), first, upto)
        if seen["same"] or not seen["open"]:
            return seen["same"]
        words = f"stage {number}: waits for {seen['open']:,} of the runs that it has retried"
        current_run().progress(upto / job.total, words)
        wait.sleep(delay)
        delay = min(delay * 1.5, LAST_LOOK)


@step(retry=PATIENT)
def batch(job_id: str, position: int, most: int) -> Batch:
    """Acts on the next runs until `most` are done, BATCH are passed, or it has taken long enough."""
    until = time.monotonic() + BATCH_SECONDS
    job = BulkJob.objects.get(pk=job_id)
    counts = dict.fromkeys(Outcome, 0)
    upto = position
    for item in BulkItem.objects.filter(job=job, position__gte=position).order_by("position")[:BATCH]:
        outcome = Outcome(item.outcome) if item.outcome else _act(job, item)
        counts[outcome] += 1
        upto = item.position + 1
        if counts[Outcome.DONE] >= most or time.monotonic() > until:
            break
    return {
        "upto": upto,
        "done": counts[Outcome.DONE],
        "skipped": counts[Outcome.SKIPPED],
        "failed": counts[Outcome.FAILED],
    }


@step(retry=PATIENT)
def look(job_id: str, first: int, upto: int) -> Seen:
    """How the runs that were retried are now."""
    items = BulkItem.objects.filter(
        job__pk=job_id, position__gte=first, position__lt=upto, outcome=Outcome.DONE
    ).values_list("run_id", "fingerprint")
    before = dict(items)
    now = Run.objects.filter(pk__in=before).values_list("pk", "status", "error__fingerprint").order_by("pk")
    open_, same = 0, None
    for run_id, status, fingerprint in now:
        open_ += status not in FINAL
        if status in _FAILED and fingerprint and fingerprint == before[run_id]:
            same = same or str(run_id)
    return {"open": open_, "same": same}


@step(retry=PATIENT)
def stop(why: str) -> None:
    """Writes down that a canary goes no further."""
    BulkJob.objects.filter(pk=current_run().id).update(stopped=why)


def _act(job: BulkJob, item: BulkItem) -> Outcome:
    """Acts on one run, unless it has its outcome: then another worker was quicker. Both are one transaction."""
    try:
        with transaction.atomic():
            if known := _known(item):
                return known
            done = _ACTIONS[Action(job.action)](job, item.run_id)
            return _settle(job, item, done)
    except (OperationalError, InterfaceError):
        raise  # it is the session's fault, not the run's
    except Exception as error:  # whatever is wrong with one run must not keep the others waiting
        refused = _refused(Action(job.action), error)
    with transaction.atomic():
        return _known(item) or _settle(job, item, refused)


def _known(item: BulkItem) -> Outcome | None:
    """The outcome that the run has already; otherwise it is this transaction's to write."""
    row = BulkItem.objects.select_for_update().get(job_id=item.job_id, position=item.position)
    return Outcome(row.outcome) if row.outcome else None


def _settle(job: BulkJob, item: BulkItem, done: Done) -> Outcome:
    BulkItem.objects.filter(job_id=item.job_id, position=item.position).update(
        outcome=done.outcome, why=done.why[:300], became=done.became
    )
    BulkJob.objects.filter(pk=job.pk).update(**{str(done.outcome): F(str(done.outcome)) + 1})
    return done.outcome


def _refused(action: Action, error: Exception) -> Done:
    """Why a run was passed, or what went wrong with it, without its id: what is the same is counted together."""
    if isinstance(error, UnknownRun):
        return Done(Outcome.SKIPPED, "does not exist")
    if isinstance(error, WrongState):
        status = status_words(str(error.data.get("status") or "in another state"))
        return Done(Outcome.SKIPPED, f"is {status}, cannot be {action.label}")
    if isinstance(error, HoldfastError | AccessError) and not isinstance(error, DatabaseError):
        return Done(Outcome.FAILED, " ".join(str(error).split()))
    return Done(Outcome.FAILED, f"{type(error).__name__}: {' '.join(str(error).split())}")


def _retry(job: BulkJob, run_id: uuid.UUID) -> Done:
    services.run_retry(run_id, actor=actor_of(job), reason=reason_of(job))
    return Done(Outcome.DONE)


def _cancel(job: BulkJob, run_id: uuid.UUID) -> Done:
    status = services.run_cancel(run_id, actor=actor_of(job), reason=reason_of(job))
    return Done(Outcome.DONE, "is being stopped" if status == Status.CANCELLING else "")


def _replay(job: BulkJob, run_id: uuid.UUID) -> Done:
    if Run.objects.filter(pk=run_id, task_id=WORKS).exists():
        return Done(Outcome.SKIPPED, "is a bulk job, cannot be replayed")
    return Done(Outcome.DONE, became=services.run_replay(run_id, actor=actor_of(job), reason=reason_of(job)))


_ACTIONS: Final[dict[Action, Callable[[BulkJob, uuid.UUID], Done]]] = {
    Action.RETRY: _retry,
    Action.CANCEL: _cancel,
    Action.REPLAY: _replay,
}


def actor_of(job: BulkJob) -> Actor:
    """Who asked, as they were when they asked."""
    kept = job.actor
    return Actor(kept["kind"], kept["id"], kept["label"], Role(kept["role"]) if kept["role"] else None)


def reason_of(job: BulkJob) -> str:
    """The reason in the audit row of each run: also which job it was."""
    return f"{job.reason} (bulk job {job.id})".strip()[:REASON_LENGTH]
