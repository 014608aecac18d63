"""Fault 3: a worker dies after a step's side effect and before its snapshot."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from holdfast.access.grants import Actor
from holdfast.access.models import AuditEntry
from runs import services
from runs.errors import UnknownRun, WrongState
from runs.sdk.handle import RunHandle
from runs.services import Decision
from tests.support.processes import Fleet
from tests.support.runs import all_final, attempts, lines, run, snapshots, the
from tests.support.waiting import eventually

ANN = Actor.local()


def crashed(fleet: Fleet, task: str, *arguments: str) -> RunHandle[Any]:
    """A run whose worker has died in the middle of a step; another worker goes on."""
    victim = fleet.worker("worker-1")
    handle = the(task).enqueue(*arguments)
    assert victim.wait() == -signal.SIGKILL
    fleet.worker("worker-2")
    return handle


def kinds(handle: RunHandle[Any]) -> list[tuple[str, str]]:
    return [(s.kind, s.key) for s in snapshots(handle.id)]


def test_fault_3_a_safe_step_is_called_once_more_with_the_same_key_and_is_flagged(stepping: Fleet) -> None:
    handle = crashed(stepping, "says")
    assert handle.result(timeout=30) == ["one", "dies", "three"]
    key = f"{handle.id}:say#2"
    assert [e.words[1] for e in stepping.ledger.entries("say")] == [
        f"{handle.id}:say#1",
        key,
        key,
        f"{handle.id}:say#3",
    ]
    (flag,) = [line for line in lines(handle.id) if line.level == 30]
    assert "say#2 may have been executed before, by attempt 1" in flag.message
    assert flag.fields == {"step": "say#2", "attempt_before": 1, "repeated_after_crash": True}
    assert flag.attempt == 2


def test_fault_3_an_unsafe_step_that_died_is_never_called_on_a_guess_and_the_run_is_unknown(stepping: Fleet) -> None:
    handle = crashed(stepping, "pays-blind", "p-17")
    all_final([handle.id])
    found = run(handle.id)
    assert found.status == "unknown"
    assert stepping.ledger.count("pay") == 1
    assert found.error["type"] == "OutcomeUnknown"
    assert found.error["step"] == "pay_blind#1"
    for words in ("pay_blind#1", f"{handle.id}:pay_blind#1", '"payment":"p-17"', "attempt 1", "runs resolve"):
        assert words in found.error["message"]
    assert kinds(handle) == [("step", "say#1"), ("intent", "pay_blind#1")]
    assert [a.status for a in attempts(handle.id)] == ["crashed", "failed"]
    # A retry finds the same: nobody knows.
    services.run_retry(handle.id, actor=ANN)
    eventually(lambda: len(attempts(handle.id)) == 3 and run(handle.id).status == "unknown", "it is unknown again")
    assert stepping.ledger.count("pay") == 1


@pytest.mark.parametrize(
    ("decision", "output", "result", "calls"),
    [
        (Decision.HAPPENED, "paid by hand", ["before", "paid by hand", "after"], 1),
        (Decision.DID_NOT_HAPPEN, None, ["before", "paid p-17", "after"], 2),
    ],
)
def test_fault_3_a_person_decides_and_the_run_goes_on(
    stepping: Fleet, decision: Decision, output: Any, result: list[str], calls: int
) -> None:
    handle = crashed(stepping, "pays-blind", "p-17")
    all_final([handle.id])
    services.run_resolve_unknown(handle.id, decision=decision, output=output, actor=ANN, reason="asked the bank")
    eventually(lambda: run(handle.id).status == "completed", "it goes on")
    assert handle.result(timeout=5) == result
    assert stepping.ledger.count("pay") == calls
    assert stepping.ledger.count("say", f"{handle.id}:say#1") == 1, "finished steps are kept"
    answer = next(s for s in snapshots(handle.id) if s.state)
    assert answer.kind == ("step" if decision is Decision.HAPPENED else "cleared")
    assert answer.state == {"decided_by": ANN.label, "reason": "asked the bank"}
    row = AuditEntry.objects.get(action="runs.resolve")
    assert (row.object_id, row.reason, row.before) == (str(handle.id), "asked the bank", {"status": "unknown"})
    assert row.after == {"status": "queued", "step": "pay_blind#1", "decision": str(decision)}


def test_fault_3_a_person_can_fail_the_run_and_decides_once(stepping: Fleet) -> None:
    handle = crashed(stepping, "pays-blind", "p-17")
    all_final([handle.id])
    services.run_resolve_unknown(handle.id, decision=Decision.FAIL, actor=ANN)
    assert run(handle.id).status == "failed"
    with pytest.raises(WrongState, match="failed"):
        services.run_resolve_unknown(handle.id, decision=Decision.HAPPENED, output="x", actor=ANN)
    with pytest.raises(UnknownRun):
        services.run_resolve_unknown(services.uuid.uuid4(), decision=Decision.FAIL, actor=ANN)
    # Even then a retry does not call it on a guess.
    services.run_retry(handle.id, actor=ANN)
    eventually(lambda: run(handle.id).status == "unknown", "it is unknown again")
    assert stepping.ledger.count("pay") == 1


@pytest.mark.parametrize(
    ("answer", "status", "calls"),
    [
        ("happened", "completed", 1),
        ("did not happen", "completed", 2),
        ("cannot tell", "unknown", 1),
        ("breaks", "unknown", 1),
        ("wrong type", "unknown", 1),
    ],
)
def test_fault_3_the_reconcile_hook_decides_where_it_can(stepping: Fleet, answer: str, status: str, calls: int) -> None:
    handle = crashed(stepping, "pays", "p-17", answer)
    all_final([handle.id])
    found = run(handle.id)
    assert found.status == status
    assert stepping.ledger.count("pay", f"{handle.id}:pay#1") == calls
    assert stepping.ledger.count("look", f"{handle.id}:pay#1") == 1
    if status == "completed":
        assert found.output == ("found p-17" if answer == "happened" else "paid p-17")
        assert kinds(handle)[-1] == ("step", "pay#1")
    else:
        said = {
            "cannot tell": "the service keeps no list",
            "breaks": "ConnectionError: the service is away",
            "wrong type": "does not fit the step",
        }
        assert said[answer] in found.error["message"]


@pytest.mark.parametrize(
    ("answer", "status", "shape"),
    [
        ("happened", "completed", ["intent", "step"]),
        ("did not happen", "completed", ["intent", "cleared", "failure", "intent", "step"]),
        ("cannot tell", "unknown", ["intent"]),
    ],
)
def test_fault_3_a_step_that_says_that_it_cannot_tell_is_reconciled_at_once(
    stepping: Fleet, answer: str, status: str, shape: list[str]
) -> None:
    stepping.worker("worker-1")
    handle = the("pays-uncertain").enqueue("p-17", answer)
    all_final([handle.id])
    assert run(handle.id).status == status
    assert [s.kind for s in snapshots(handle.id)] == shape
    assert [a.number for a in attempts(handle.id)] == [1]
    if status == "unknown":
        assert "the gateway did not answer" in run(handle.id).error["message"]


def test_an_exception_is_an_answer_and_the_retry_policy_decides(stepping: Fleet) -> None:
    stepping.worker("worker-1")
    handle = the("pays-blind").enqueue("p-17", "refused")
    assert handle.result(timeout=20) == ["before", "paid p-17", "after"]
    assert [s.kind for s in snapshots(handle.id)] == ["step", "intent", "failure", "intent", "step", "step"]


def test_an_unsafe_step_is_called_once_by_each_key(stepping: Fleet) -> None:
    stepping.worker("worker-1")
    handle = the("pays-twice-by-one-key").enqueue()
    all_final([handle.id])
    assert run(handle.id).status == "failed"
    assert "was called twice with the key 'k'" in run(handle.id).error["message"]
    assert stepping.ledger.count("pay") == 1


def test_a_worker_that_hands_over_in_the_middle_of_an_unsafe_step_leaves_it_to_the_hook(stepping: Fleet) -> None:
    worker = stepping.worker("worker-1", HOLDFAST_GRACE="0.1")
    handle = the("pays-slowly").enqueue("p-17", "happened")
    eventually(lambda: stepping.ledger.count("pay") == 1, "it is at work")
    worker.signal(signal.SIGTERM)
    worker.wait()
    stepping.worker("worker-2")
    assert handle.result(timeout=20) == "found p-17"
    assert stepping.ledger.count("pay") == 1
