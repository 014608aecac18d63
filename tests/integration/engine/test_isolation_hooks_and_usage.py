"""Isolated runs have hooks, usage, budgets and progress; none of it is executed in their worker."""

from __future__ import annotations

import uuid
from decimal import Decimal

import pytest

from holdfast.access.grants import Actor
from runs import budgets, selectors, services
from runs.models import Budget
from tests.support.processes import Fleet
from tests.support.runs import all_final, attempts, lines, run, snapshots, the
from tests.support.waiting import eventually

ACTOR = Actor.system("test")
BOTH = pytest.mark.parametrize("name", ["apart-hooked", "apart-hooked-async"])


@pytest.fixture
def worked(isolated: Fleet) -> Fleet:
    """One worker and the scheduler."""
    isolated.pair(HOLDFAST_PROCESSES="2")
    return isolated


def called(fleet: Fleet, run_id: uuid.UUID) -> list[str]:
    """The hooks that were called for a run, in order, and never by the worker itself."""
    found = [e for e in fleet.ledger.entries() if e.words[0].startswith("on_") and e.words[1] == str(run_id)]
    assert fleet.processes[0].pid not in {e.pid for e in found}
    return [e.words[0] for e in found]


def test_what_it_uses_is_counted_and_its_budget_parks_it(worked: Fleet) -> None:
    handle = the("apart-spends").enqueue(4)
    eventually(lambda: run(handle.id).status == "waiting", "it is parked")
    assert (run(handle.id).waiting_for["kind"], run(handle.id).waiting_for["spent"]) == ("budget", "1")
    assert worked.ledger.count("spends", str(handle.id)) == 2
    half = selectors.run_get(handle.id).progress
    assert (half.value, half.words) == (0.5, "step 2")
    budgets.run_top_up(handle.id, budget={"cost": 1}, actor=ACTOR)
    assert handle.result(timeout=60) == 4
    assert worked.ledger.count("spends", str(handle.id)) == 4, "finished steps are not called, nor counted, again"
    found = selectors.run_get(handle.id)
    assert (found.usage, found.progress.metadata) == ({"cost": Decimal(2), "tokens_out": Decimal(12)}, {"steps": 4})
    assert Budget.objects.get(run_id=handle.id).spent == 2
    assert [s.usage for s in snapshots(handle.id)] == [{"cost": 0.5, "tokens_out": 3}] * 4


@BOTH
def test_hooks_are_called_in_the_process(worked: Fleet, name: str) -> None:
    handle = the(name).enqueue("wait")
    assert handle.result(timeout=60) == "wait"
    assert called(worked, handle.id) == ["on_start", "on_wait", "on_resume", "on_success"]


@BOTH
def test_when_the_process_dies_the_hook_of_the_failure_has_another_one(worked: Fleet, name: str) -> None:
    handle = the(name).enqueue("die")
    all_final([handle.id])
    assert run(handle.id).status == "failed"
    assert [(a.status, a.error["type"].rpartition(".")[2]) for a in attempts(handle.id)] == [("failed", "ProcessDied")]
    assert called(worked, handle.id) == ["on_start", "on_failure"]


@BOTH
def test_a_cancel_in_the_middle_of_a_computation_calls_its_hook(worked: Fleet, name: str) -> None:
    handle = the(name).enqueue("compute")
    eventually(lambda: worked.ledger.count("computes", str(handle.id)), "it computes")
    services.run_cancel(handle.id, actor=ACTOR)
    all_final([handle.id])
    assert run(handle.id).status == "cancelled", (run(handle.id).error, called(worked, handle.id))
    assert [a.status for a in attempts(handle.id)] == ["cancelled"]
    assert called(worked, handle.id) == ["on_start", "on_cancel"]


@BOTH
def test_a_hook_that_kills_its_process_has_a_second_one_and_the_outcome_stands(worked: Fleet, name: str) -> None:
    handle = the(name).using(tags=["on_success"]).enqueue("well")
    assert handle.result(timeout=60) == "well"
    assert called(worked, handle.id) == ["on_start", "on_success", "on_success"]
    assert [a.status for a in attempts(handle.id)] == ["completed"]
    eventually(lambda: any("the outcome stands" in line.message for line in lines(handle.id)), "its log says so")
