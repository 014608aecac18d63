"""What the task `holdfast.bulk` does: batches, each a step; in it parts, each of them one transaction, in which a few
hundred runs are acted upon with a few statements, and have their outcomes written.

A worker that dies in the middle of a batch leaves some of its parts with outcomes and some without; the batch is begun
again, and runs that have one are passed. Which runs a batch takes depends on nothing but the frozen scope and their
outcomes, so that a run of this task that is entered again asks for the steps of its history.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from django.db import DatabaseError, InterfaceError, OperationalError, transaction
from typing_extensions import TypedDict

from holdfast import db
from holdfast.access.errors import AccessError
from holdfast.access.grants import Actor
from holdfast.access.models import REASON_LENGTH
from holdfast.access.roles import Role
from holdfast.words import status_words
from runs import services, store
from runs.bulk.choices import CANARY, Action, Outcome, Pace
from runs.bulk.model import BulkItem, BulkJob
from runs.errors import HoldfastError, UnknownRun, WrongState
from runs.models import Run
from runs.retries.services import TriesLater, runs_postpone
from runs.sdk.context import current_run
from runs.sdk.log import log
from runs.sdk.retry import Abort, Retry
from runs.sdk.step import step
from runs.sdk.wait import wait
from runs.states import FINAL, Status

#: Runs of a batch, and seconds after which it ends with fewer. Between two batches the job says how far it is.
BATCH: Final = 2_000
BATCH_SECONDS: Final = 1.0
#: Runs of a part. An abort is heard between two parts. The payloads of those that are replayed are in the memory.
PARTS: Final = {Action.RETRY: 250, Action.CANCEL: 250, Action.REPLAY: 50, Action.POSTPONE: 250}
#: Seconds after which a job that is being aborted would look whether it is.
ABORTED_LOOK: Final = 5.0
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
        if found["upto"] == position:  # it is being aborted: put down, it ends
            wait.sleep(ABORTED_LOOK)
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
    """Acts on the next runs until `most` are done, BATCH are passed, or it has taken long enough; on none, when the job
    is being aborted."""
    until = time.monotonic() + BATCH_SECONDS
    job = BulkJob.objects.get(pk=job_id)
    counts = dict.fromkeys(Outcome, 0)
    upto, size = position, PARTS[Action(job.action)]
    while upto < position + BATCH and counts[Outcome.DONE] < most:
        part = _part(job, upto, min(size, most - counts[Outcome.DONE]))
        for outcome in part:
            counts[outcome] += 1
        upto += len(part)
        if not part or time.monotonic() > until:
            break
        size = min(PARTS[Action(job.action)], 2 * len(part))  # one that was cut short grows again
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


def _part(job: BulkJob, position: int, size: int) -> list[Outcome]:
    """What has become of the next runs, `size` of them at most: in one transaction they are acted upon and have their
    outcomes. Where that cannot be done, it is done to half of them, and so on: one run alone keeps no other waiting."""
    try:
        with transaction.atomic():
            return _act(job, position, size)
    except (OperationalError, InterfaceError):
        raise  # it is the session's fault, not the run's
    except Exception as error:
        if size > 1:
            return _part(job, position, size // 2)
        refused = _refused(Action(job.action), error)
    with transaction.atomic():
        return _act(job, position, 1, refused)


def _act(job: BulkJob, position: int, size: int, refused: Done | None = None) -> list[Outcome]:
    """Acts on runs that have no outcome yet, and says what has become of all. None when the job is being aborted.

    Args:
        refused: what is to become of them, without any act.
    """
    if Run.objects.filter(pk=job.pk, stopping__isnull=False).exists():
        return []
    found = BulkItem.objects.select_for_update().filter(job=job, position__gte=position, position__lt=position + size)
    items = list(found.order_by("position"))
    fresh = [item.run_id for item in items if not item.outcome]
    act = _ACTIONS[Action(job.action)]
    became = dict.fromkeys(fresh, refused) if refused else act(job, fresh)
    outcomes, rows = [], []
    for item in items:
        if item.outcome:
            outcomes.append(Outcome(item.outcome))
            continue
        if item.run_id not in became:  # it was too much at once
            break
        done = became[item.run_id]
        rows.append(store.SettledRow(item.position, str(done.outcome), done.why[:300], done.became))
        outcomes.append(done.outcome)
    if rows:
        with db.callers() as conn:
            store.settle_bulk(conn, job.pk, rows)
    return outcomes


def _refused(action: Action, error: Exception) -> Done:
    """Why a run was passed, or what went wrong with it, without its id: what is the same is counted together."""
    if isinstance(error, UnknownRun):
        return Done(Outcome.SKIPPED, "does not exist")
    if isinstance(error, WrongState):
        status = status_words(str(error.data.get("status") or "in another state"))
        return Done(Outcome.SKIPPED, f"is {status}, cannot be {action.label}")
    if isinstance(error, TriesLater):
        return Done(Outcome.SKIPPED, "tries later than that already")
    if isinstance(error, HoldfastError | AccessError) and not isinstance(error, DatabaseError):
        return Done(Outcome.FAILED, " ".join(str(error).split()))
    return Done(Outcome.FAILED, f"{type(error).__name__}: {' '.join(str(error).split())}")


def _became(action: Action, found: Mapping[uuid.UUID, Any]) -> dict[uuid.UUID, Done]:
    """What a service has done to runs, or why it has not, as outcomes."""
    return {
        run_id: _refused(action, said) if isinstance(said, Exception) else Done(Outcome.DONE)
        for run_id, said in found.items()
    }


def _retry(job: BulkJob, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Done]:
    return _became(Action.RETRY, services.runs_retry(ids, actor=actor_of(job), reason=reason_of(job)))


def _cancel(job: BulkJob, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Done]:
    found = services.runs_cancel(ids, actor=actor_of(job), reason=reason_of(job))
    stopping = [run_id for run_id, status in found.items() if status == Status.CANCELLING]
    return _became(Action.CANCEL, found) | dict.fromkeys(stopping, Done(Outcome.DONE, "is being stopped"))


def _postpone(job: BulkJob, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Done]:
    found = runs_postpone(ids, delay=job.delay, actor=actor_of(job), reason=reason_of(job))
    return _became(Action.POSTPONE, found)


def _replay(job: BulkJob, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Done]:
    own = set(Run.objects.filter(pk__in=ids, task_id=WORKS).values_list("pk", flat=True))
    kept = [run_id for run_id in ids if run_id not in own]
    found = services.runs_replay(kept, actor=actor_of(job), reason=reason_of(job))
    made = {run_id: Done(Outcome.DONE, became=new) for run_id, new in found.items() if isinstance(new, uuid.UUID)}
    passed = dict.fromkeys(own, Done(Outcome.SKIPPED, "is a bulk job, cannot be replayed"))
    return _became(Action.REPLAY, found) | made | passed


_ACTIONS: Final[dict[Action, Callable[[BulkJob, Sequence[uuid.UUID]], dict[uuid.UUID, Done]]]] = {
    Action.RETRY: _retry,
    Action.CANCEL: _cancel,
    Action.REPLAY: _replay,
    Action.POSTPONE: _postpone,
}


def actor_of(job: BulkJob) -> Actor:
    """Who asked, as they were when they asked."""
    kept = job.actor
    return Actor(kept["kind"], kept["id"], kept["label"], Role(kept["role"]) if kept["role"] else None)


def reason_of(job: BulkJob) -> str:
    """The reason in the audit row of each run: also which job it was."""
    return f"{job.reason} (bulk job {job.id})".strip()[:REASON_LENGTH]
