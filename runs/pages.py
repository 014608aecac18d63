"""What the page of one run shows before anything moves."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Final

from django.db.models import Count

from holdfast.access.grants import Actor
from queues.selectors import EXACT_UP_TO
from runs import approvals, selectors, spending, waits
from runs.errors import UnknownRun
from runs.lists import tries
from runs.models import Attempt, Heartbeat, Run, Snapshot
from runs.reasons import reasons
from runs.states import CANCELLABLE, FINAL, RETRYABLE, Status
from runs.stuck.selectors import stack_of
from runs.stuck.taken import Taken
from runs.why import Why, explain

#: Children that a page lists; the list of runs has all.
MAX_CHILDREN: Final = 50
#: A run that has not started waits for nothing yet.
NEVER_WAITED: Final = frozenset({Status.SCHEDULED, Status.QUEUED})


@dataclass(frozen=True, slots=True)
class Children:
    """The runs that a run started: how many are in which status, and a page of them, the first ones first."""

    counts: list[tuple[str, int]]
    page: list[Run]
    total: int
    after: uuid.UUID | None = None  # which the page comes after; None on the first one
    next: uuid.UUID | None = None  # which the next page comes after; None on the last one

    @property
    def may_change(self) -> bool:
        """Whether one of those that are counted has not ended."""
        return any(status not in FINAL for status, _ in self.counts)


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The steps that a run's history has, beside those that the code asked for."""

    ran: str  # version of the code that made the history
    version: str  # of the code that it does not fit
    rows: list[tuple[str | None, str | None, bool]]  # expected, asked, whether they differ


@dataclass(frozen=True, slots=True)
class RunPage:
    """A run, its latest attempt, and what a person may do about it."""

    run: Run
    attempt: Attempt | None
    why: Why | None  # it is not running
    waits: list[approvals.Row]  # that are open
    children: Children | None  # None: it started none
    taken: Taken | None = None  # where it was when somebody asked

    @property
    def is_final(self) -> bool:
        return self.run.status in FINAL

    @property
    def can_retry(self) -> bool:
        return self.run.status in RETRYABLE or self.mismatch is not None

    @property
    def mismatch(self) -> Mismatch | None:
        """How the run's history differs from the code, when it is parked for that."""
        told = self.run.waiting_for
        if self.run.status != Status.WAITING or not isinstance(told, dict) or told.get("kind") != "version":
            return None
        expected, asked = told.get("expected") or [], told.get("asked") or []
        rows = [(e, a, e != a) for e, a in zip_longest(expected, asked)]
        return Mismatch(str(told.get("ran") or ""), str(told.get("version") or ""), rows)

    @property
    def percent(self) -> int | None:
        """How far the run says that it is."""
        value = self.run.progress.value if self.run.progress else None
        return None if value is None else int(value * 100)

    @property
    def beats(self) -> list[Heartbeat]:
        """The latest heartbeats of steps that are at work, or were when the run ended."""
        return self.run.beats or []

    @property
    def usage(self) -> list[spending.Line]:
        return spending.lines(self.run)

    @property
    def budgets(self) -> list[spending.Bar]:
        return spending.bars(self.run)

    @property
    def can_resolve(self) -> bool:
        return self.run.status == Status.UNKNOWN

    @property
    def can_cancel(self) -> bool:
        return self.run.status in CANCELLABLE

    @property
    def is_held(self) -> bool:
        """Whether a worker has it, so that a cancel has to stop its code."""
        return self.run.status == Status.RUNNING

    @property
    def has_output(self) -> bool:
        return self.run.status == Status.COMPLETED

    @property
    def attempts(self) -> str:
        """`2 of 3`; more than planned happen after a crash or a person's retry."""
        run = self.run
        return f"{run.attempt} of {max(run.max_attempts, run.attempt)}" if run.attempt else ""

    @property
    def tries(self) -> str:
        """Beside the status."""
        return tries(self.run)

    @property
    def error(self) -> dict[str, Any] | None:
        """The last failure, also while the run has yet to try again or to finish."""
        if isinstance(self.run.error, dict) and self.run.status != Status.COMPLETED:
            return self.run.error
        return None


def run_page(run_id: uuid.UUID, *, actor: Actor, base: str) -> RunPage:
    """What the page shows to `actor`; `base` is where this server's addresses begin. Raises UnknownRun."""
    run = selectors.run_get(run_id)
    attempt = Attempt.objects.filter(run_id=run_id).select_related("worker").order_by("-number").first()
    is_open = run.status not in FINAL and run.status not in NEVER_WAITED
    rows = approvals.rows(waits.open_of_run(run_id), actor, base) if is_open else []
    reason = reasons([run]).get(run.id)
    held_back = explain(run, reason) if reason else None
    return RunPage(run, attempt, held_back, rows, children(run_id), stack_of(run))


def children(run_id: uuid.UUID, after: uuid.UUID | None = None) -> Children | None:
    """A page of them. Counts are exact up to 10,000 children; of more, the first 10,000 are counted."""
    found = Run.objects.filter(parent_id=run_id).order_by("id")
    here = found.filter(pk__gt=after) if after else found
    page = list(here.select_related("queue").defer("payload", "output")[: MAX_CHILDREN + 1])
    if not page and not after:
        return None
    counted = Run.objects.filter(pk__in=found.values("pk")[: EXACT_UP_TO + 1])
    of = dict(counted.order_by().values_list("status").annotate(n=Count("*")))
    following = page[MAX_CHILDREN - 1].id if len(page) > MAX_CHILDREN else None
    counts = [(str(s), of[s]) for s in Status if s in of]
    return Children(counts, page[:MAX_CHILDREN], sum(of.values()), after, following)


def run_exists(run_id: uuid.UUID) -> None:
    """Raises UnknownRun unless there is such a run."""
    if not Run.objects.filter(pk=run_id).exists():
        raise UnknownRun(f"There is no run {run_id}.")


def snapshot_get(run_id: uuid.UUID, sequence: int) -> Snapshot | None:
    """One snapshot with all it holds."""
    return Snapshot.objects.filter(run_id=run_id, sequence=sequence).first()
