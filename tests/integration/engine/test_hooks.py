"""Hooks are called once each, whatever happens in between, and never change what a run ends as."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from holdfast.access.grants import Actor
from queues.models import Entry, Lease, Timer
from runs import answers, budgets, services
from runs.errors import WrongState
from runs.models import Progress, Run, Snapshot
from tests.support.processes import Fleet
from tests.support.runs import all_final, attempts, lines, run, snapshots, the
from tests.support.waiting import eventually

ACTOR = Actor.system("test")
DURABLE = ("on_start", "on_success", "on_failure", "on_cancel")
BOTH = pytest.mark.parametrize("name", ["hooked", "hooked-sync"])


@pytest.fixture
def hooking(hooks: Fleet) -> Iterator[Fleet]:
    """One worker and the scheduler, with the tasks that have hooks."""
    hooks.pair()
    return hooks


def called(fleet: Fleet, run_id: uuid.UUID) -> list[str]:
    """The hooks that were called for a run, in order."""
    return [e.words[0] for e in fleet.ledger.entries() if e.words[0].startswith("on_") and e.words[1] == str(run_id)]


def nothing_left() -> bool:
    """No entry, lease or timer of any run."""
    return not any(model.objects.exists() for model in (Entry, Lease, Timer))


def waits(run_id: uuid.UUID) -> None:
    eventually(lambda: run(run_id).status == "waiting", "it waits")


def hook_steps(run_id: uuid.UUID) -> list[tuple[str, str]]:
    return [(s.kind, s.name) for s in snapshots(run_id) if s.name.startswith("hook:")]


@BOTH
def test_a_run_that_completes_calls_start_and_success(hooking: Fleet, name: str) -> None:
    handle = the(name).enqueue("well")
    assert handle.result(timeout=60) == "well"
    assert called(hooking, handle.id) == ["on_start", "on_success"]
    assert hooking.ledger.entries("on_success")[0].words[2] == "well"
    assert hook_steps(handle.id) == [("step", "hook:on_start"), ("step", "hook:on_success")]
    assert run(handle.id).ending is None


@BOTH
def test_failure_is_called_when_no_attempt_is_left_and_not_before(hooking: Fleet, name: str) -> None:
    handle = the(name).enqueue("fail")
    all_final([handle.id])
    assert [a.status for a in attempts(handle.id)] == ["failed", "failed"]
    assert called(hooking, handle.id) == ["on_start", "on_failure"]
    assert hooking.ledger.entries("on_failure")[0].words[2:] == ("ConnectionError", "no_route")
    assert (run(handle.id).status, run(handle.id).failures) == ("failed", 2)


@BOTH
def test_waiting_and_coming_back_are_told(hooking: Fleet, name: str) -> None:
    handle = the(name).enqueue("wait")
    waits(handle.id)
    assert called(hooking, handle.id) == ["on_start", "on_wait"]
    assert hooking.ledger.entries("on_wait")[0].words[2] == "signal"
    answers.run_signal(handle.id, "go", None, actor=ACTOR)
    assert handle.result(timeout=60) == "wait"
    assert called(hooking, handle.id) == ["on_start", "on_wait", "on_resume", "on_success"]


@BOTH
def test_a_cancel_at_work_calls_its_hook_before_the_run_is_cancelled(hooking: Fleet, name: str) -> None:
    handle = the(name).enqueue("long")
    eventually(lambda: hooking.ledger.count("work"), "it is at work")
    services.run_cancel(handle.id, actor=ACTOR)
    all_final([handle.id])
    assert run(handle.id).status == "cancelled"
    assert called(hooking, handle.id) == ["on_start", "on_cancel"]
    assert [a.status for a in attempts(handle.id)] == ["cancelled"]


@BOTH
def test_a_cancel_while_it_waits_enters_the_run_once_more_for_the_hook_alone(hooking: Fleet, name: str) -> None:
    handle = the(name).enqueue("wait")
    waits(handle.id)
    services.run_cancel(handle.id, actor=ACTOR)
    all_final([handle.id])
    assert run(handle.id).status == "cancelled"
    assert called(hooking, handle.id) == ["on_start", "on_wait", "on_cancel"]
    assert hooking.ledger.count("work") == 1
    assert [a.status for a in attempts(handle.id)] == ["cancelled"]
    assert nothing_left()


def test_a_run_says_cancelling_until_its_hook_is_done(hooking: Fleet) -> None:
    handle = the("gated-hooks").enqueue("wait")
    waits(handle.id)
    services.run_cancel(handle.id, actor=ACTOR)
    eventually(lambda: hooking.ledger.count("hook", "begins"), "the hook is called")
    assert run(handle.id).status == "cancelling"
    with pytest.raises(WrongState):
        services.run_cancel(handle.id, actor=ACTOR)
    hooking.ledger.open_gate("hook")
    all_final([handle.id])
    assert run(handle.id).status == "cancelled"
    assert hooking.ledger.count("hook", "begins") == 1


def test_a_run_that_never_began_is_cancelled_without_a_hook(hooks: Fleet) -> None:
    handle = the("hooked").enqueue("well")
    services.run_cancel(handle.id, actor=ACTOR)
    assert run(handle.id).status == "cancelled"
    assert not Entry.objects.exists()


@pytest.mark.parametrize(("how", "status"), [("well", "completed"), ("fail", "failed"), ("wait", "cancelled")])
def test_fault_a_worker_that_dies_in_a_hook_leaves_the_outcome_and_the_hook_to_another(
    hooks: Fleet, how: str, status: str
) -> None:
    victim = hooks.worker("worker-1")
    hooks.scheduler()
    handle = the("gated-hooks").enqueue(how)
    if how == "wait":
        waits(handle.id)
        services.run_cancel(handle.id, actor=ACTOR)
    eventually(lambda: hooks.ledger.count("hook", "begins"), "the hook is called")
    victim.signal(9)
    victim.wait()
    hooks.ledger.open_gate("hook")
    hooks.worker("worker-2")
    all_final([handle.id])
    assert run(handle.id).status == status
    # The hook had not ended, so it is called again; the function, whose outcome was stored, is not.
    assert (hooks.ledger.count("hook", "begins"), hooks.ledger.count("hook", "ends")) == (2, 1)
    assert hooks.ledger.count("work") == 1
    assert run(handle.id).output == ("well" if how == "well" else None)


def test_an_outcome_that_is_decided_cannot_be_cancelled_any_more(hooking: Fleet) -> None:
    handle = the("gated-hooks").enqueue("well")
    eventually(lambda: run(handle.id).ending is not None, "the outcome is decided")
    with pytest.raises(WrongState):
        services.run_cancel(handle.id, actor=ACTOR)
    hooking.ledger.open_gate("hook")
    assert handle.result(timeout=60) == "well"


def test_a_hook_that_fails_for_good_is_shown_and_changes_nothing(hooking: Fleet) -> None:
    handle = the("hooks-that-fail").enqueue()
    assert handle.result(timeout=60) == "done"
    assert hooking.ledger.count("failing", "hook") == 4
    kept = Snapshot.objects.filter(run_id=handle.id, kind="step").order_by("sequence")
    assert [(s.name, s.error["type"]) for s in kept] == [
        ("hook:on_start", "ValueError"),
        ("hook:on_success", "ValueError"),
    ]
    assert Snapshot.objects.filter(run_id=handle.id, kind="failure").count() == 2
    assert "the run's outcome stands" in [line.message for line in lines(handle.id)][-1]


def test_a_hook_that_is_called_again_enqueues_by_a_key_of_its_run_once(hooking: Fleet) -> None:
    handles = [the("hook-enqueues").enqueue() for _ in range(2)]
    for handle in handles:
        handle.result(timeout=60)
    assert hooking.ledger.count("enqueuing", "hook") == 6
    follow = Run.objects.filter(task_id="hook-follows")
    assert {r.payload["after"] for r in follow} == {str(handle.id) for handle in handles}
    assert len(follow) == 2


@pytest.mark.parametrize("name", ["cancelled", "exits", "exits-async", "mute"])
def test_whatever_a_hook_raises_the_run_ends_as_it_would_have(hooking: Fleet, name: str) -> None:
    handles = {kind: the(f"odd-{name}{kind}").enqueue() for kind in ("", "-sync", "-isolated")}
    waits(handles[""].id)
    answers.run_signal(handles[""].id, "go", None, actor=ACTOR)
    assert [handle.result(timeout=60) for handle in handles.values()] == ["done"] * 3
    assert [run(handle.id).error for handle in handles.values()] == [None] * 3
    # An exception of the usual kind is tried again by the policy of hooks; the others say that there is no use in it.
    tries = 3 if name == "mute" else 1
    counts = {kind: hooking.ledger.count("odd", str(handle.id)) for kind, handle in handles.items()}
    assert counts == {"": 2 * tries + 2, "-sync": 2 * tries, "-isolated": tries}
    assert nothing_left()


def test_a_cancellation_of_what_a_hook_awaits_is_not_taken_for_one_of_the_worker(hooking: Fleet) -> None:
    handle = the("odd-cancel").enqueue()
    eventually(lambda: hooking.ledger.count("work"), "it is at work")
    services.run_cancel(handle.id, actor=ACTOR)
    all_final([handle.id])
    assert run(handle.id).status == "cancelled"
    assert hooking.ledger.count("odd", str(handle.id)) == 1
    (kept,) = Snapshot.objects.filter(run_id=handle.id)
    assert (kept.name, kept.error["type"]) == ("hook:on_cancel", "asyncio.exceptions.CancelledError")


def test_a_persons_retry_does_not_call_again_what_was_called(hooking: Fleet) -> None:
    handle = the("hooked").enqueue("abort")
    all_final([handle.id])
    services.run_retry(handle.id, actor=ACTOR)
    eventually(lambda: run(handle.id).attempt == 2 and run(handle.id).status == "failed", "it failed again")
    assert called(hooking, handle.id) == ["on_start", "on_failure"]


@pytest.mark.parametrize("how", ["wait", "long"])
def test_a_run_that_is_stopped_by_its_run_timeout_has_failed(hooking: Fleet, how: str) -> None:
    handle = the("late").enqueue(how)
    all_final([handle.id])
    assert run(handle.id).status == "timed_out"
    assert run(handle.id).error["type"] == "RunTimeout"
    assert called(hooking, handle.id) == ["on_failure"]
    assert hooking.ledger.entries("on_failure")[0].words[2] == "RunTimeout"


def test_a_hook_needs_no_budget(hooking: Fleet) -> None:
    handle = the("poor").enqueue()
    waits(handle.id)
    services.run_cancel(handle.id, actor=ACTOR)
    all_final([handle.id])
    assert called(hooking, handle.id) == ["on_cancel"]
    with pytest.raises(WrongState):
        budgets.run_top_up(handle.id, budget={"cost": 1}, actor=ACTOR)


def test_a_storm_of_cancels_calls_each_hook_once(hooking: Fleet) -> None:
    ids = [the("hooked").enqueue("wait").id for _ in range(40)]
    for run_id in ids:  # while some begin, some are put down, and some wait
        services.run_cancel(run_id, actor=ACTOR)
    all_final(ids)
    assert set(Run.objects.filter(pk__in=ids).values_list("status", flat=True)) == {"cancelled"}
    began = {e.words[1] for e in hooking.ledger.entries("on_start")}
    cancelled = [e.words[1] for e in hooking.ledger.entries("on_cancel")]
    assert len(cancelled) == len(set(cancelled))
    assert began <= set(cancelled)
    assert nothing_left()


# ── middleware ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["wrapped", "wrapped-sync"])
def test_middleware_surrounds_every_stay(hooking: Fleet, name: str) -> None:
    handle = the(name).enqueue("wait")
    waits(handle.id)
    assert hooking.ledger.count("leaves", "with", "PutDown") == 1
    answers.run_signal(handle.id, "go", None, actor=ACTOR)
    assert handle.result(timeout=60) == name
    assert (hooking.ledger.count("enters", name), hooking.ledger.count("leaves")) == (2, 2)


def test_middleware_sees_what_the_function_raises_and_cannot_swallow_it(hooking: Fleet) -> None:
    failing, swallowed = the("wrapped").enqueue("fail"), the("swallowed").enqueue()
    all_final([failing.id, swallowed.id])
    assert run(failing.id).error["type"] == "ConnectionError"
    assert hooking.ledger.count("leaves", "with", "ConnectionError") == 1
    assert "swallowed an exception" in run(swallowed.id).error["message"]


def test_middleware_of_the_installation_is_outermost_and_has_to_exist(hooks: Fleet) -> None:
    process = hooks.start("worker-0", "work", HOLDFAST_MIDDLEWARE="nowhere.at.all")
    assert process.wait() == 2
    assert "HOLDFAST_MIDDLEWARE names 'nowhere.at.all', which cannot be imported" in process.said()
    hooks.worker("worker-1", HOLDFAST_MIDDLEWARE="holdfast_tasks_hook_tasks.binds")
    handle = the("returns-bound").enqueue()
    assert handle.result(timeout=60) == "returns-bound"


# ── progress ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_progress_and_metadata_are_coalesced_and_the_latest_is_kept(hooking: Fleet) -> None:
    handle = the("progresses").enqueue(1_000)
    found = eventually(lambda: Progress.objects.filter(run_id=handle.id, value=1).first(), "the last word is told")
    assert (found.words, found.metadata) == ("page 1000 of 1000", {"document": "a.pdf", "pages": 1_000})
    assert run(handle.id).status == "running"
    hooking.ledger.open_gate("progress")
    assert handle.result(timeout=60) == "read"
    found.refresh_from_db()
    assert (found.value, found.metadata) == (1, {"document": "b.pdf"})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"value": 1.5}, "1.5 is no share of the whole"),
        ({"value": "half"}, "'half' is no share"),
        ({"value": 0.5, "words": 7}, "the words are 7"),
        ({"value": 0.5, "metadata": [1]}, r"\[1\] is no object"),
        ({"value": 0.5, "metadata": {"x": "y" * 70_000}}, "the limit is 65,536"),
    ],
)
def test_what_a_run_cannot_say_of_itself_fails_it_in_words(
    hooking: Fleet, arguments: dict[str, Any], words: str
) -> None:
    handle = the("progresses-badly").enqueue(**arguments)
    all_final([handle.id])
    assert re.search(words, run(handle.id).error["message"])
