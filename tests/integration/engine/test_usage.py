"""Usage counts once, also when it was spent in vain; a budget parks what would go on spending."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from holdfast.access.grants import Actor
from holdfast.access.models import AuditEntry
from queues.models import Lease
from runs import budgets, selectors, services, spending
from runs.errors import InvalidOption, UnknownRun, WrongState
from runs.models import Budget, Run, Snapshot, Usage, Wait
from tests.support.processes import Fleet
from tests.support.runs import all_final, attempts, run, snapshots, the
from tests.support.waiting import eventually

ACTOR = Actor.system("test")
TENTH = Decimal("0.1")


@pytest.fixture
def spending_fleet(spends: Fleet) -> Iterator[Fleet]:
    """One worker and the scheduler, with the tasks that spend."""
    spends.pair()
    return spends


def used(run_id: uuid.UUID) -> dict[str, Decimal]:
    return selectors.run_get(run_id).usage or {}


def parked(run_id: uuid.UUID) -> dict[str, Any]:
    """Waits until the run is parked for its budget, and gives what it waits for."""
    eventually(lambda: run(run_id).status == "waiting", "the run is parked")
    found = run(run_id).waiting_for
    assert found["kind"] == "budget"
    return dict(found)


def test_usage_adds_up_per_step_attempt_run_and_task(spending_fleet: Fleet) -> None:
    handle, other = the("uses").enqueue(3), the("uses-sync").enqueue(2)
    assert (handle.result(timeout=60), other.result(timeout=60)) == (3, 1)
    assert used(handle.id) == {"tokens_in": 300, "tokens_out": 30, "cost": 3 * TENTH}
    assert used(other.id) == {"cost": 2 * TENTH, "pages": 3}
    assert [s.usage for s in snapshots(handle.id)] == [{"cost": 0.1, "tokens_in": 100, "tokens_out": 10}] * 3
    (attempt,) = selectors.attempts(handle.id).items
    assert attempt.usage == used(handle.id)
    since = timezone.now() - timedelta(minutes=5)
    assert spending.task_usage("uses", since) == used(handle.id)
    assert spending.task_usage("uses-sync", since)["pages"] == 3


def test_a_failed_try_counts_and_a_replayed_step_does_not_again(spending_fleet: Fleet) -> None:
    handle = the("uses-and-fails").enqueue()
    assert handle.result(timeout=60) == "done"
    assert [a.status for a in attempts(handle.id)] == ["failed", "completed"]
    assert spending_fleet.ledger.count("asked") == 1
    total = used(handle.id)
    assert (total["tokens_in"], total["cost"], total["tries"]) == (100, TENTH, 4)
    # Between steps: left out while the run replays; what stands after the last finished step counts again.
    assert total["between"] == 1 + 10 + 10
    by_attempt = {a.number: (a.usage or {})["tries"] for a in selectors.attempts(handle.id).items}
    assert by_attempt == {1: 2, 2: 2}
    failures = [s.usage for s in snapshots(handle.id) if s.kind == "failure"]
    assert failures == [{"tries": 1}] * 3


@pytest.mark.parametrize(
    ("how", "words"), [("negative", "cost is -1"), ("unit", "'a b' is no name"), ("bool", "tokens_in is True")]
)
def test_an_amount_that_is_none_fails_the_run_with_its_name(spending_fleet: Fleet, how: str, words: str) -> None:
    handle = the("uses-badly").enqueue(how)
    all_final([handle.id])
    assert words in run(handle.id).error["message"]


@pytest.mark.parametrize("name", ["budgeted", "budgeted-sync"])
def test_a_used_up_budget_parks_the_run_before_its_next_step_and_a_top_up_resumes_it(
    spending_fleet: Fleet, name: str
) -> None:
    handle = the(name).enqueue(6)
    waiting_for = parked(handle.id)
    # Three steps of 0.1: the third began at 0.2 of 0.25. No step is cut.
    assert (waiting_for["unit"], waiting_for["spent"], waiting_for["budget"]) == ("cost", "0.3", "0.25")
    assert waiting_for["what"] == "more budget: 0.3 of 0.25 cost spent"
    assert spending_fleet.ledger.count("asked") == 3
    assert not Lease.objects.exists()
    budgets.run_top_up(handle.id, budget={"cost": Decimal("0.01")}, actor=ACTOR)
    assert Wait.objects.get(run_id=handle.id).resolved_at is None  # 0.3 of 0.26: still none left
    assert run(handle.id).status == "waiting"
    budgets.run_top_up(handle.id, budget={"cost": "0.19"}, actor=ACTOR, reason="worth it")
    eventually(lambda: Wait.objects.filter(run_id=handle.id).count() == 2, "it is parked again, at 0.5 of 0.45")
    assert parked(handle.id)["spent"] == "0.5"
    assert spending_fleet.ledger.count("asked") == 5
    budgets.run_top_up(handle.id, budget={"cost": 100}, actor=ACTOR)
    assert handle.result(timeout=60) == 15
    assert [a.status for a in attempts(handle.id)] == ["completed"]
    assert spending_fleet.ledger.repeated("asked") == []
    assert used(handle.id)["cost"] == 6 * TENTH
    entry = AuditEntry.objects.filter(action="runs.top_up").order_by("id")[1]
    assert (entry.reason, entry.before, entry.after) == ("worth it", {"cost": "0.26"}, {"cost": "0.45"})


def test_a_top_up_before_it_is_needed_raises_the_budget(spends: Fleet) -> None:
    handle = the("budgeted").using(budget={"cost": "0.1", "tokens_in": 250}).enqueue(3)
    assert {b.unit: b.amount for b in Budget.objects.filter(run_id=handle.id)} == {"cost": TENTH, "tokens_in": 250}
    budgets.run_top_up(handle.id, budget={"cost": 1, "tokens_in": 51}, actor=ACTOR)
    spends.worker("worker-1")
    assert handle.result(timeout=60) == 3


def test_a_branch_is_parked_while_another_ends_its_step(spending_fleet: Fleet) -> None:
    handle = the("budgeted-side-by-side").enqueue()
    eventually(lambda: Wait.objects.filter(run_id=handle.id, kind="budget").exists(), "one branch is parked")
    assert run(handle.id).status == "running"
    budgets.run_top_up(handle.id, budget={"cost": "0.1"}, actor=ACTOR)
    eventually(lambda: Wait.objects.filter(run_id=handle.id, kind="budget").count() == 2, "it went on, and is again")
    assert spending_fleet.ledger.count("asked") == 3
    spending_fleet.ledger.open_gate("slow")
    parked(handle.id)
    budgets.run_top_up(handle.id, budget={"cost": "9"}, actor=ACTOR)
    assert handle.result(timeout=60) == [99, 6]
    assert spending_fleet.ledger.count("slow") == 1


def test_children_draw_on_the_budget_of_the_run_that_waits_for_them(spending_fleet: Fleet) -> None:
    handle = the("budgeted-parent").enqueue(2, each=4)
    children = eventually(
        lambda: list(Run.objects.filter(parent_id=handle.id, status="waiting").order_by("id")), "a child is parked"
    )
    waiting_for = parked(children[0].id)
    assert waiting_for["run"] == str(handle.id)
    eventually(lambda: Run.objects.filter(parent_id=handle.id, status="waiting").count() == 2, "both are parked")
    # Five steps fit; each of the two that ran side by side may have begun one when the other's was not counted yet.
    spent = Budget.objects.get(run_id=handle.id).spent
    assert 5 * TENTH <= spent <= 6 * TENTH
    assert spent == sum(Usage.objects.filter(unit="cost").values_list("amount", flat=True))
    assert run(handle.id).waiting_for["kind"] == "children"
    assert budgets.run_top_up(children[0].id, budget={"cost": 10}, actor=ACTOR) == handle.id
    assert handle.result(timeout=60) == [6, 6]
    assert Budget.objects.get(run_id=handle.id).spent == 9 * TENTH
    assert used(handle.id)["cost"] == TENTH
    total, counted = spending.tree_usage(handle.id)
    assert (total["cost"], counted) == (9 * TENTH, 3)


def test_a_fan_out_over_two_workers_overspends_by_what_was_in_flight_at_most(spends: Fleet) -> None:
    for name in ("worker-1", "worker-2"):
        spends.worker(name, HOLDFAST_CONCURRENCY="4")
    spends.scheduler()
    handle = the("budgeted-parent").enqueue(100, each=3)
    settled = Run.objects.filter(parent_id=handle.id, status__in=["waiting", "completed"])
    eventually(lambda: settled.count() == 100, "every child is parked or done")
    # 4 + 4 steps in flight when the last tenth was drawn, and what one worker did in the second before it heard.
    spent = Budget.objects.get(run_id=handle.id).spent
    assert Decimal("0.45") <= spent < 5
    budgets.run_top_up(handle.id, budget={"cost": 1000}, actor=ACTOR)
    assert handle.result(timeout=60) == [3] * 100
    assert Budget.objects.get(run_id=handle.id).spent == Decimal("30.1")
    assert Snapshot.objects.filter(kind="step").count() == 301


def test_what_cannot_be_topped_up_is_refused_in_words(spends: Fleet) -> None:
    handle, plain = the("budgeted").enqueue(), the("uses").enqueue()
    for budget, words in (
        ({"tokens": 1}, "budget.tokens is no budget of run .*; it has cost"),
        ({"cost": -1}, "budget.cost is -1"),
        ({"cost": 10**17, "x y": 1}, "budget.x y is no name"),
        ({"cost": 0}, "budget.cost is 0"),
        ({}, "write 1 to 20 units"),
    ):
        with pytest.raises(InvalidOption, match=words):
            budgets.run_top_up(handle.id, budget=budget, actor=ACTOR)
    with pytest.raises(WrongState, match="has no budget"):
        budgets.run_top_up(plain.id, budget={"cost": 1}, actor=ACTOR)
    with pytest.raises(UnknownRun):
        budgets.run_top_up(uuid.uuid4(), budget={"cost": 1}, actor=ACTOR)
    services.run_cancel(handle.id, actor=ACTOR)
    with pytest.raises(WrongState, match="cancelled"):
        budgets.run_top_up(handle.id, budget={"cost": 1}, actor=ACTOR)
    assert not AuditEntry.objects.filter(action="runs.top_up").exists()


def test_a_parked_run_can_be_cancelled(spending_fleet: Fleet) -> None:
    handle = the("budgeted").enqueue()
    parked(handle.id)
    services.run_cancel(handle.id, actor=ACTOR)
    assert run(handle.id).status == "cancelled"
    assert Wait.objects.get(run_id=handle.id).outcome == "cancelled"


def test_no_top_up_is_lost_however_it_crosses_the_parking(spending_fleet: Fleet) -> None:
    handles = [the("budgeted").using(budget={"cost": "0.1"}).enqueue(5) for _ in range(12)]
    ids = [handle.id for handle in handles]

    def topped_up() -> bool:
        for run_id in Run.objects.filter(pk__in=ids).exclude(status="completed").values_list("pk", flat=True):
            try:
                budgets.run_top_up(run_id, budget={"cost": "0.03"}, actor=ACTOR)
            except WrongState:
                continue  # it ended between the look and the top-up
        return not Run.objects.filter(pk__in=ids).exclude(status="completed").exists()

    eventually(topped_up, "all complete", timeout=60)
    assert spending_fleet.ledger.count("asked") == 60


def test_fault_3_a_worker_that_is_killed_loses_no_usage_of_a_finished_step(spends: Fleet) -> None:
    victim = spends.worker("worker-1")
    handle = the("uses").enqueue(4_000)
    eventually(lambda: spends.ledger.count("asked") > 300, "it is in the middle")
    victim.signal(9)
    victim.wait()
    spends.worker("worker-2")
    spends.scheduler()
    assert handle.result(timeout=180) == sum(range(4_000))
    asked = spends.ledger.count("asked")
    # Of a step that was cut off, what it said before the end may have been committed or not.
    assert 400_000 <= used(handle.id)["tokens_in"] <= 100 * asked
    assert sum(s.usage["tokens_in"] for s in snapshots(handle.id)) == 400_000
