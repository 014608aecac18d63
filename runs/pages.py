"""What the page of one run shows before anything moves."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from runs import selectors
from runs.errors import UnknownRun
from runs.lists import tries
from runs.models import Attempt, Run, Snapshot
from runs.reasons import Reason, reasons
from runs.states import CANCELLABLE, FINAL, RETRYABLE, Status


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
    reason: Reason | None

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
    def can_resolve(self) -> bool:
        return self.run.status == Status.UNKNOWN

    @property
    def can_cancel(self) -> bool:
        return self.run.status in CANCELLABLE

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


def run_page(run_id: uuid.UUID) -> RunPage:
    """Raises UnknownRun."""
    run = selectors.run_get(run_id)
    attempt = Attempt.objects.filter(run_id=run_id).select_related("worker").order_by("-number").first()
    return RunPage(run, attempt, reasons([run]).get(run.id))


def run_exists(run_id: uuid.UUID) -> None:
    """Raises UnknownRun unless there is such a run."""
    if not Run.objects.filter(pk=run_id).exists():
        raise UnknownRun(f"There is no run {run_id}.")


def snapshot_get(run_id: uuid.UUID, sequence: int) -> Snapshot | None:
    """One snapshot with all it holds."""
    return Snapshot.objects.filter(run_id=run_id, sequence=sequence).first()
