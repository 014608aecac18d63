"""Top-ups: what a person gives a run that is parked because its budget is used up. Each is audited.

Callers check the grant first (`holdfast.access.grants.require`).
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from django.db import transaction

from holdfast import db
from holdfast.access.grants import Actor
from holdfast.access.services import audit
from queues import tickets
from runs import store
from runs.errors import InvalidOption, UnknownRun, WrongState
from runs.models import Budget, Run
from runs.sdk.usage import MAX_AMOUNT, budget_of, budget_problems, digits
from runs.states import FINAL


def run_top_up(run_id: uuid.UUID, *, budget: Mapping[str, Any], actor: Actor, reason: str = "") -> uuid.UUID:
    """Raises a budget, and lets the runs that are parked for it go on when each of its units has room again.

    Args:
        run_id: The run. Raised is the budget that it is parked for; otherwise its own, or the nearest that it draws on.
        budget: How much more may be used, by unit.

    Returns:
        The run whose budget was raised.

    Raises:
        UnknownRun, WrongState: it does not exist, has ended, or has no budget.
        InvalidOption: an amount does not fit, or the run has no budget of that unit.
    """
    if problems := budget_problems(budget):
        raise _refusal([(f"budget{field}", message) for field, message in problems])
    amounts = budget_of(budget)
    with transaction.atomic(), db.callers() as conn:
        account = _account(conn, run_id)
        store.lock_waits(conn, [account])
        before = {b.unit: b for b in Budget.objects.filter(run_id=account)}
        if unknown := sorted(set(amounts) - set(before)):
            has = ", ".join(sorted(before))
            raise _refusal([(f"budget.{unit}", f"is no budget of run {account}; it has {has}") for unit in unknown])
        if over := [unit for unit in amounts if before[unit].amount + amounts[unit] >= MAX_AMOUNT]:
            raise _refusal([(f"budget.{unit}", f"would grow to {MAX_AMOUNT:,} or more") for unit in over])
        after = store.top_up(conn, account, amounts)
        woken = store.end_budget_waits(conn, account, actor.label[:200])
        pools = store.wake(conn, woken) | {
            str(p) for p in Run.objects.filter(pk__in=woken).values_list("queue__pool", flat=True)
        }
        audit(
            actor,
            "runs.top_up",
            "run",
            account,
            reason,
            before={unit: digits(before[unit].amount) for unit in amounts},
            after={b.unit: digits(b.amount) for b in after},
        )
        transaction.on_commit(lambda: tickets.wake(pools))
    return account


def _account(conn: Any, run_id: uuid.UUID) -> uuid.UUID:
    row = Run.objects.filter(pk=run_id).values_list("status", "accounts").first()
    if row is None:
        raise UnknownRun(f"There is no run {run_id}.")
    status, accounts = row
    if status in FINAL:
        raise WrongState(f"Run {run_id} is {status}; a top-up would change nothing. Retry it first.", status=status)
    if not accounts:
        raise WrongState(
            f"Run {run_id} has no budget that could be topped up: give its task or its enqueue one, "
            "budget={'cost': 1.50}.",
            status=status,
        )
    return store.budget_waited_for(conn, run_id) or accounts[0]


def _refusal(problems: list[tuple[str, str]]) -> InvalidOption:
    field, message = problems[0]
    errors = [{"field": f, "message": m} for f, m in problems]
    return InvalidOption(f"{field} {message}", errors=errors)
