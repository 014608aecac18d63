"""Runs that wait for runs: in order, through crashes, with cancels that go down, and without holding a slot."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from holdfast.access.grants import Actor
from queues.models import Lease
from runs import services
from runs.errors import NotInRun, RunFailed
from runs.models import Run
from tests.support.processes import Fleet
from tests.support.runs import run, the
from tests.support.waiting import eventually

ACTOR = Actor.system("test")


@pytest.fixture
def waiting(waits: Fleet) -> Iterator[Fleet]:
    waits.pair()
    return waits


def test_a_plain_function_waits_for_its_children(waiting: Fleet) -> None:
    handle = the("parent-sync").enqueue()
    assert handle.result(timeout=60) == 10
    children = Run.objects.filter(parent_id=handle.id)
    assert {child.trace_id for child in children} == {run(handle.id).trace_id}
    assert children.count() == 2


def test_many_children_bring_their_results_in_order(waiting: Fleet) -> None:
    handle = the("parent").enqueue(10_000)
    assert handle.result(timeout=300) == [n + 1 for n in range(10_000) if n != 13]
    assert waiting.ledger.count("did", "children", "are", "back") == 1
    assert the("parent").enqueue(0).result(timeout=60) == []


def test_children_in_another_order_park_their_parent_instead_of_swapping_their_results(waiting: Fleet) -> None:
    handle = the("swaps-children").enqueue()
    eventually(lambda: (run(handle.id).waiting_for or {}).get("kind") == "version", "it is parked")
    assert "children:sleeps#1@1 was asked for with the payloads that children:sleeps#1@2 had" in str(
        run(handle.id).waiting_for
    )
    assert Run.objects.filter(parent_id=handle.id).count() == 2


def test_a_child_that_fails_is_raised_or_collected_as_the_parent_chooses(waiting: Fleet) -> None:
    with pytest.raises(RunFailed, match=r"Child .* of task adds is failed: ValueError unlucky"):
        the("parent").enqueue(20, unlucky=True).result(timeout=60)
    found = the("parent").enqueue(20, unlucky=True, collect=True).result(timeout=60)
    assert found[:13] == list(range(1, 14))
    assert found[13] == "Child 01"
    assert found[14:] == list(range(15, 21))


@pytest.mark.parametrize("parent", ["parent-of-nobody-sync", "parent-of-nobody"])
def test_who_waits_for_children_in_a_queue_that_is_not_there_is_told_so(waiting: Fleet, parent: str) -> None:
    with pytest.raises(RunFailed, match="There is no queue 'no-such-queue'; the children were not enqueued"):
        the(parent).using(max_attempts=1).enqueue().result(timeout=60)


def test_parents_and_children_in_a_queue_of_one_slot_all_finish(waiting: Fleet) -> None:
    assert the("same-queue-child").enqueue(4).result(timeout=60) == 4


def test_a_cancel_goes_down_to_those_that_are_waited_for(waiting: Fleet) -> None:
    handle = the("parent-of-waiters").enqueue()
    children = Run.objects.filter(parent_id=handle.id)
    eventually(lambda: children.filter(status="waiting").count() == 2, "both children wait")
    eventually(lambda: run(handle.id).status == "waiting", "the parent waits")
    services.run_cancel(handle.id, actor=ACTOR)
    assert run(handle.id).status == "cancelled"
    assert set(children.values_list("status", flat=True)) == {"cancelled"}


def test_a_child_that_is_cancelled_alone_fails_for_its_parent(waiting: Fleet) -> None:
    handle = the("parent-of-waiters").enqueue()
    child = eventually(
        lambda: Run.objects.filter(parent_id=handle.id, task_id="listens", status="waiting").first(), "it"
    )
    services.run_cancel(child.id, actor=ACTOR)
    with pytest.raises(RunFailed, match="is cancelled"):
        handle.result(timeout=60)


def test_children_are_enqueued_once_though_their_parents_worker_dies(waits: Fleet) -> None:
    waits.pair()
    handle = the("parent").enqueue(200)
    eventually(lambda: Run.objects.filter(parent_id=handle.id).exists(), "there are children")
    waits.processes[0].signal(signal.SIGKILL)
    waits.worker("worker-2")
    assert handle.result(timeout=60) == [n + 1 for n in range(200) if n != 13]
    assert Run.objects.filter(parent_id=handle.id).count() == 199
    assert not Lease.objects.exists()


def test_a_child_outside_a_run_says_what_to_write(waits: Fleet) -> None:
    with pytest.raises(NotInRun, match=r"handle\.result\(\)"):
        the("adds").enqueue_and_wait(1, 2)
