"""What pages, API and command line read of bulk jobs."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db.models import Count

from holdfast.words import duration
from runs.bulk.choices import NOUNS, Action, Outcome, Pace
from runs.bulk.model import BulkItem, BulkJob
from runs.errors import HoldfastError
from runs.filters import DEFAULT_LIMIT
from runs.models import Progress, Run
from runs.selectors import Page, page_of
from runs.states import FINAL, Status

#: Different reasons that are told of one job, those of the most runs.
MAX_REASONS: Final = 50


class UnknownBulkJob(HoldfastError):
    """No such bulk job."""

    status, code = 404, "unknown_bulk_job"


@dataclass(frozen=True, slots=True)
class Reasons:
    """So many runs that came out so, for one reason."""

    outcome: str
    why: str
    runs: int


@dataclass(frozen=True, slots=True)
class Look:
    """A job and how the run is that works it."""

    job: BulkJob
    status: str = Status.UNKNOWN
    started_at: datetime | None = None
    finished_at: datetime | None = None
    words: str = ""  # what it says of itself

    @property
    def over(self) -> bool:
        return self.status in FINAL

    @property
    def note(self) -> str:
        """Beside the status."""
        if self.job.stopped:
            return "stopped early"
        return "by abort" if self.status == Status.CANCELLED and self.job.left else ""

    @property
    def percent(self) -> int:
        """100 only when every run has its outcome."""
        return 100 * self.job.acted // self.job.total if self.job.total else 100

    @property
    def done_words(self) -> str:
        """What is done to a run: `retried`."""
        return Action(self.job.action).label

    @property
    def title(self) -> str:
        """`Retry of 57 runs`."""
        return f"{NOUNS[Action(self.job.action)]} of {self.job.total:,} run{'' if self.job.total == 1 else 's'}"

    @property
    def delay_words(self) -> str:
        """Until the next attempts, of a job that puts them off."""
        return duration(self.job.delay) if self.job.delay else ""

    @property
    def is_canary(self) -> bool:
        return self.job.pace == Pace.CANARY


def jobs(*, cursor: uuid.UUID | None = None, limit: int = DEFAULT_LIMIT) -> Page[Look, uuid.UUID]:
    """Jobs, the latest first; `cursor` is the last page's `next`."""
    found = BulkJob.objects.order_by("-id")
    page = page_of(found.filter(id__lt=cursor) if cursor else found, limit)
    return Page(_looks(page.items), page.next)


def job_get(job_id: uuid.UUID) -> BulkJob:
    """Raises UnknownBulkJob."""
    job = BulkJob.objects.filter(pk=job_id).first()
    if job is None:
        raise UnknownBulkJob(f"There is no bulk job {job_id}.")
    return job


def look(job_id: uuid.UUID) -> Look:
    """One job with what its run says of itself. Raises UnknownBulkJob."""
    return _looks([job_get(job_id)])[0]


def reasons(job_id: uuid.UUID) -> list[Reasons]:
    """What became of the runs of a job, and why, in the order of the outcomes; those without one are last."""
    rows = BulkItem.objects.filter(job_id=job_id).values_list("outcome", "why").annotate(runs=Count("position"))
    order = [*Outcome.values, ""]
    listed = [Reasons(*row) for row in rows.order_by("-runs", "outcome", "why")[:MAX_REASONS]]
    return sorted(listed, key=lambda found: order.index(found.outcome))


def items(
    job_id: uuid.UUID, *, outcome: str | None = None, after: int = -1, limit: int = DEFAULT_LIMIT
) -> Page[BulkItem, int]:
    """Runs of a job in the order in which they are worked; `after` is the position of the last one seen.

    Args:
        outcome: only those with it; empty for those without one.
    """
    found = BulkItem.objects.filter(job_id=job_id, position__gt=after).order_by("position")
    return page_of(found if outcome is None else found.filter(outcome=outcome), limit, "position")


def runs_of(found: list[BulkItem]) -> dict[uuid.UUID, Run]:
    """The runs of items, as they are now."""
    fields = ("id", "task_id", "status", "created_at")
    return Run.objects.only(*fields).in_bulk([item.run_id for item in found])


def describe(found: Look, *, whole: bool = True) -> dict[str, Any]:
    """A job by the names of the API; `whole`: with its outcomes by reason."""
    job = found.job
    names = (
        "id",
        "action",
        "pace",
        "delay",
        "search",
        "reason",
        "total",
        "done",
        "skipped",
        "failed",
        "left",
        "created_at",
    )
    told = {name: getattr(job, name) for name in (*names, "created_at")}
    listed = reasons(job.id) if whole else []
    return {
        **told,
        "by": job.actor["label"],
        "status": found.status,
        "stopped": job.stopped,
        "words": found.words,
        "started_at": found.started_at,
        "finished_at": found.finished_at,
        "outcomes": [{"outcome": r.outcome or "none", "why": r.why, "runs": r.runs} for r in listed],
    }


def describe_item(item: BulkItem) -> dict[str, Any]:
    """A run of a job by the names of the API."""
    return {
        "position": item.position,
        "run_id": item.run_id,
        "outcome": item.outcome or "none",
        "why": item.why,
        "became": item.became,
    }


def _looks(found: list[BulkJob]) -> list[Look]:
    ids = [job.id for job in found]
    runs = Run.objects.only("id", "status", "started_at", "finished_at").in_bulk(ids)
    said = dict(Progress.objects.filter(run_id__in=ids).values_list("run_id", "words"))
    return [
        Look(job, run.status, run.started_at, run.finished_at, said.get(job.id, ""))
        if (run := runs.get(job.id)) is not None
        else Look(job)
        for job in found
    ]
