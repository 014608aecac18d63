"""Faults 28 and 29: code changes under runs that are in flight. Real workers, two releases of one task file."""

from __future__ import annotations

import signal

import pytest

from holdfast.access.grants import Actor
from holdfast.access.models import AuditEntry
from runs import answers, services
from runs.errors import WrongState
from runs.models import Snapshot
from runs.sdk.handle import RunHandle
from tests.support.processes import Fleet
from tests.support.releases import enqueued, known, release
from tests.support.runs import attempts, lines, run
from tests.support.waiting import eventually

ONE = """
@task(id="deployed")
async def deployed() -> list:
    found = [await do("a"), await do("b")]
    await wait.asignal("go")
    return [*found, await do("c")]
"""
#: `a` comes second: its result would be b's.
SWAPPED = ONE.replace('await do("a"), await do("b")', 'await do("b"), await do("a")')
#: A new step stands before the wait.
LEFT_OUT = ONE.replace(
    'found = [await do("a"), await do("b")]', 'found = [await do("a")]\n    await do.using(key="new")("new")'
)
#: Other bodies, other comments, more steps after the finished ones.
GROWN = ONE.replace('return [*found, await do("c")]', 'return [*found, await do("c"), await do("d")]')


def waiting(fleet: Fleet, tasks: str) -> RunHandle[object]:
    """A run of the first release that has finished two steps and waits; its worker has left."""
    worker = fleet.worker("old", HOLDFAST_TASKS=tasks)
    handle = enqueued(tasks, "deployed")
    eventually(lambda: run(handle.id).status == "waiting", "it waits for its signal")
    worker.signal(signal.SIGTERM)
    worker.wait()
    return handle


def sent(handle: RunHandle[object]) -> None:
    answers.run_signal(handle.id, "go", None, actor=Actor.local())


def parked(handle: RunHandle[object]) -> dict[str, object]:
    eventually(lambda: (run(handle.id).waiting_for or {}).get("kind") == "version", "it is parked")
    return dict(run(handle.id).waiting_for)


@pytest.mark.parametrize(
    ("changed", "expected", "asked"),
    [
        (SWAPPED, ["do#1", "do#2"], ["do#1 with the arguments of do#2"]),
        (LEFT_OUT, ["do#1", "do#2"], ["do#1", "do:new"]),
    ],
    ids=["swapped", "left out"],
)
def test_fault_29_a_run_whose_history_does_not_fit_is_parked_with_both_lists_and_goes_on_after_a_rollback(
    fleet: Fleet, changed: str, expected: list[str], asked: list[str]
) -> None:
    one, two = release(fleet, "one", ONE), release(fleet, "two", changed)
    handle = waiting(fleet, one)
    version = run(handle.id).version
    new = fleet.worker("new", HOLDFAST_TASKS=two)
    sent(handle)
    told = parked(handle)
    assert (told["expected"], told["asked"]) == (expected, asked)
    assert told["ran"] == version
    assert told["version"] == known(two, "deployed").version != version
    found = run(handle.id)
    assert (found.status, found.version, found.refused) == ("waiting", version, [told["version"]])
    assert [(a.number, a.status) for a in attempts(handle.id)] == [(1, "running")], "no attempt is used"
    assert found.failures == 0
    fleet.scheduler()
    # It is offered to the same code again, which leaves it without entering it.
    eventually(lambda: (run(handle.id).waiting_for or {}).get("deferred") == 1, "it is left again")
    assert run(handle.id).waiting_for["asked"] == asked
    new.signal(signal.SIGTERM)
    new.wait()
    assert fleet.ledger.count("do") == 2, "nothing was executed"
    # The rollback: it goes on at once, whatever the delay had grown to.
    fleet.worker("old-again", HOLDFAST_TASKS=one)
    assert handle.result(timeout=20) == ["a", "b", "c"]
    assert len(attempts(handle.id)) == 1
    assert fleet.ledger.repeated("do") == []


def test_fault_29_a_person_lets_a_parked_run_go_on_with_the_code_that_there_is(fleet: Fleet) -> None:
    one, two = release(fleet, "one", ONE), release(fleet, "two", LEFT_OUT)
    handle = waiting(fleet, one)
    fleet.worker("new", HOLDFAST_TASKS=two)
    sent(handle)
    parked(handle)

    def retried() -> bool:
        try:
            services.run_retry(handle.id, actor=Actor.local(), reason="b is not needed any more")
        except WrongState:  # for the moment in which a worker leaves it
            return False
        return True

    eventually(retried, "a person says so")
    assert handle.result(timeout=20) == ["a", "b"], "do#2 is answered by what it was"
    assert fleet.ledger.count("do", "new") == 1
    assert AuditEntry.objects.get(action="runs.retry").before["status"] == "waiting"


def test_fault_29_code_that_only_grows_goes_on_with_runs_in_flight(fleet: Fleet) -> None:
    one, two = release(fleet, "one", ONE), release(fleet, "two", GROWN)
    handle = waiting(fleet, one)
    version = run(handle.id).version
    fleet.worker("new", HOLDFAST_TASKS=two)
    sent(handle)
    assert handle.result(timeout=20) == ["a", "b", "c", "d"]
    assert run(handle.id).version == known(two, "deployed").version != version


def test_fault_29_the_same_code_that_decides_by_chance_is_parked_too(fleet: Fleet) -> None:
    tasks = release(
        fleet,
        "one",
        """
        @step
        async def left() -> None: note("left")

        @step
        async def right() -> None: note("right")

        @task(id="chance")
        async def chance() -> None:
            await (right() if gate("lives") else left())
            await do("die")
        """,
    )
    victim = fleet.worker("old", HOLDFAST_TASKS=tasks)
    handle = enqueued(tasks, "chance")
    victim.wait()
    fleet.ledger.open_gate("lives")
    fleet.worker("new", HOLDFAST_TASKS=tasks)
    told = parked(handle)
    assert (told["expected"], told["asked"]) == (["left#1"], ["right#1"])
    assert fleet.ledger.count("right") == 0
    assert run(handle.id).failures == 0


def test_fault_28_an_old_worker_leaves_runs_of_a_new_task_and_the_new_worker_takes_them(fleet: Fleet) -> None:
    one, two = release(fleet, "one", ONE), release(fleet, "two", ONE.replace('id="deployed"', 'id="brand-new"'))
    old = fleet.worker("old", HOLDFAST_TASKS=one)
    handles = [enqueued(two, "brand-new") for _ in range(3)]
    eventually(
        lambda: {(run(h.id).waiting_for or {}).get("kind") for h in handles} == {"unknown_task"}, "they are left"
    )
    old.signal(signal.SIGTERM)
    old.wait()  # else it may take what the new one wakes, and leave it for longer than anybody waits here
    fleet.worker("new", HOLDFAST_TASKS=two)
    for handle in handles:
        sent(handle)
    for handle in handles:
        assert handle.result(timeout=30) == ["a", "b", "c"]
        assert run(handle.id).failures == 0
    # Rolled back: what the new release has not finished is left, not failed.
    assert [line.message for h in handles for line in lines(h.id) if line.level >= 40] == []


def test_fault_28_a_history_of_a_newer_release_is_left_and_not_failed(fleet: Fleet) -> None:
    tasks = release(fleet, "one", ONE)
    handle = waiting(fleet, tasks)
    last = Snapshot.objects.filter(run_id=handle.id).latest("sequence")
    at = last.finished_at
    Snapshot.objects.create(
        run_id=handle.id, sequence=last.sequence + 1, kind="hologram", name="x", key="x", attempt=1,
        started_at=at, finished_at=at,
    )  # fmt: skip
    sent(handle)
    fleet.worker("same", HOLDFAST_TASKS=tasks)
    eventually(lambda: (run(handle.id).waiting_for or {}).get("kind") == "newer_format", "it is left")
    assert run(handle.id).failures == 0
    fleet.scheduler()
    # The release that can read it is back (here: what it could not read is gone).
    Snapshot.objects.filter(run_id=handle.id, kind="hologram").delete()
    assert handle.result(timeout=30) == ["a", "b", "c"]


def test_a_parked_run_that_is_cancelled_has_its_hook_called_and_parking_itself_calls_none(fleet: Fleet) -> None:
    hooks = 'on_cancel=lambda: note("on_cancel"), on_wait=lambda why: note("on_wait", why["kind"])'
    one, two = (
        release(fleet, name, body.replace('id="deployed"', f'id="deployed", {hooks}'))
        for name, body in (("one", ONE), ("two", SWAPPED))
    )
    handle = waiting(fleet, one)
    waited = fleet.ledger.count("on_wait")
    fleet.worker("new", HOLDFAST_TASKS=two)
    sent(handle)
    parked(handle)
    services.run_cancel(handle.id, actor=Actor.local())
    eventually(lambda: run(handle.id).status == "cancelled", "it is cancelled")
    assert fleet.ledger.count("on_cancel") == 1
    assert fleet.ledger.count("on_wait") == waited
    assert fleet.ledger.count("do") == 2
