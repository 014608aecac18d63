"""What runs have used and may use, for those who look."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from django.db.models import Sum

from holdfast import db
from runs import store
from runs.models import Attempt, Budget, Progress, Run, Usage, UsageRollup
from runs.sdk.usage import digits

#: Runs of a tree that are added up.
MAX_TREE: Final = 10_000


def fill(runs: Sequence[Run]) -> None:
    """Sets `usage`, `budget` and `progress` of these runs. Three queries at most, however many there are."""
    totals: dict[uuid.UUID, dict[str, Decimal]] = {}
    rows = Usage.objects.filter(run_id__in=[run.pk for run in runs]).values_list("run_id", "unit")
    for run_id, unit, amount in rows.annotate(Sum("amount")):
        totals.setdefault(run_id, {})[unit] = amount
    budgets: dict[uuid.UUID, list[Budget]] = {}
    if accounts := {account for run in runs for account in run.accounts or ()}:
        for budget in Budget.objects.filter(run_id__in=accounts).order_by("unit"):
            budgets.setdefault(budget.run_id, []).append(budget)
    said = Progress.objects.in_bulk([run.pk for run in runs]) if runs else {}
    for run in runs:
        run.progress = said.get(run.pk)
        run.usage = totals.get(run.pk, {})
        run.budget = [budget for account in run.accounts or () for budget in budgets.get(account, ())]


def fill_attempts(attempts: Iterable[Attempt]) -> None:
    """Sets `usage` of attempts of one run."""
    by_number = {attempt.number: attempt for attempt in attempts}
    for attempt in by_number.values():
        attempt.usage = {}
    runs = {attempt.run_id for attempt in by_number.values()}
    for row in Usage.objects.filter(run_id__in=runs, attempt__in=by_number):
        found = by_number[row.attempt]
        found.usage = {**(found.usage or {}), row.unit: row.amount}


@dataclass(frozen=True, slots=True)
class Line:
    """One unit on a run's page: what the run has used, and its whole tree when it has waited for other runs."""

    unit: str
    own: str
    tree: str | None


@dataclass(frozen=True, slots=True)
class Bar:
    """One budget on a run's page."""

    budget: Budget
    spent: str
    amount: str
    used_up: bool
    percent: int
    inherited: bool

    @property
    def example(self) -> dict[str, int]:
        """A top-up of it, as the API takes it."""
        return {self.budget.unit: 1}


def lines(run: Run) -> list[Line]:
    """What a run has used, unit by unit. Call after `fill`."""
    own = run.usage or {}
    tree: dict[str, Decimal] = {}
    if Run.objects.filter(parent_id=run.pk, parent_wait__isnull=False).exists():
        tree, _ = tree_usage(run.pk)
    return [
        Line(unit, digits(own.get(unit, Decimal())), digits(tree[unit]) if unit in tree else None)
        for unit in sorted({*own, *tree})
    ]


def bars(run: Run) -> list[Bar]:
    """The budgets on which a run draws. Call after `fill`."""
    return [
        Bar(
            budget,
            digits(budget.spent),
            digits(budget.amount),
            budget.spent >= budget.amount,
            min(100, int(100 * budget.spent / budget.amount)),
            budget.run_id != run.pk,
        )
        for budget in run.budget or ()
    ]


def tree_usage(run_id: uuid.UUID) -> tuple[dict[str, Decimal], int]:
    """What a run and the runs that it waits or waited for have used, and how many were added up (MAX_TREE at most)."""
    with db.callers() as conn:
        return store.tree_usage(conn, run_id, MAX_TREE)


def task_usage(task_id: str, since: datetime, until: datetime | None = None) -> dict[str, Decimal]:
    """What the runs of a task have used within a time, to the minute."""
    found = UsageRollup.objects.filter(task_id=task_id, minute__gte=since)
    if until is not None:
        found = found.filter(minute__lt=until)
    return dict(found.values_list("unit").annotate(Sum("amount")))
