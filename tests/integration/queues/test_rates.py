"""Rates: what the lease lets through in a window of time, by the database's clock."""

from __future__ import annotations

import pytest
from django.utils import timezone

from holdfast.access.grants import Actor
from queues import services, store, workers
from queues.declare import Queue as Declared
from queues.models import Queue, Start
from queues.rate import Rate
from queues.store import Conn
from runs.models import Run
from runs.reasons import reason
from tests.support.flow import fill

ACTOR = Actor.local()


@pytest.fixture
def rated(conn: Conn) -> Queue:
    """A queue of 5 per 10 s, with 40 entries."""
    queue = Queue.objects.create(name="rated", rate_amount=5, rate_period=10.0)
    fill(queue, count=40, lane=None)
    return queue


def at(conn: Conn, seconds: float) -> None:
    """Moves the clock of this session: so long after the test's beginning."""
    conn.execute("SELECT set_config('holdfast.clock_offset', %s, false)", [f"{seconds} seconds"])


def leased(conn: Conn, worker: int) -> int:
    with conn.transaction():
        return len(store.lease(conn, worker=worker, pools=["default"], coroutines=100, threads=100).grants)


def test_a_window_lets_through_its_rate_over_all_lanes_and_not_one_more(conn: Conn, rated: Queue, worker: int) -> None:
    assert leased(conn, worker) == 5
    assert leased(conn, worker) == 0
    at(conn, 7)
    assert leased(conn, worker) == 0, "the window slides: it is no calendar's"
    at(conn, 11)
    assert leased(conn, worker) == 5


def test_what_started_at_different_times_leaves_the_window_at_different_times(
    conn: Conn, rated: Queue, worker: int
) -> None:
    services.queue_update("rated", ACTOR, concurrency_limit=2)
    assert leased(conn, worker) == 2
    at(conn, 6)
    services.queue_update("rated", ACTOR, concurrency_limit=None)
    assert leased(conn, worker) == 3
    at(conn, 11)
    assert leased(conn, worker) == 2
    at(conn, 17)
    assert leased(conn, worker) == 3


def test_an_edit_counts_from_the_next_lease_and_what_has_started_counts_on(
    conn: Conn, rated: Queue, worker: int
) -> None:
    assert leased(conn, worker) == 5
    services.queue_update("rated", ACTOR, rate=Rate(8, per=10))
    assert leased(conn, worker) == 3
    services.queue_update("rated", ACTOR, rate=Rate(2, per=20))
    at(conn, 12)
    assert leased(conn, worker) == 0, "the longer window still holds all eight"
    services.queue_update("rated", ACTOR, rate=None)
    assert leased(conn, worker) == 32


def test_other_queues_are_not_held_up_and_the_sweeper_calls_nobody_for_a_rate_that_is_reached(
    conn: Conn, rated: Queue, worker: int
) -> None:
    assert store.pools_with_entries(conn) == {"default"}
    assert leased(conn, worker) == 5
    assert store.pools_with_entries(conn) == set()
    fill(Queue.objects.create(name="free"), count=3)
    assert store.pools_with_entries(conn) == {"default"}
    assert leased(conn, worker) == 3


def test_a_worker_knows_when_the_next_start_is_allowed(conn: Conn, rated: Queue, worker: int) -> None:
    assert store.next_opening(conn, [rated.pk]) is None
    leased(conn, worker)
    opens = store.next_opening(conn, [rated.pk])
    assert opens is not None
    assert 8 < opens <= 10
    assert store.next_opening(conn, [rated.pk + 1]) is None


def test_why_a_run_waits_names_the_rate_and_the_time(conn: Conn, rated: Queue, worker: int) -> None:
    leased(conn, worker)
    gate = workers.gates({rated.pk})[rated.pk]
    said = reason(Run(status="queued"), gate, {"default"}, timezone.now())
    assert said.words == "rate reached: 5 per 10 s"
    assert said.at is not None
    assert 8 < (said.at - timezone.now()).total_seconds() <= 10


def test_slices_that_no_window_reaches_are_forgotten(conn: Conn, rated: Queue, worker: int) -> None:
    leased(conn, worker)
    store.forget(conn)
    assert Start.objects.count() == 1
    at(conn, 75)
    store.forget(conn)
    assert not Start.objects.exists()


def test_a_declared_rate_is_a_default_that_an_edit_overrides_until_it_is_taken_back(
    conn: Conn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Declared, "declared", {})
    declared = Declared("said", concurrency_limit=4, rate=Rate(10, per="minute"))
    store.declare_queue(conn, declared)
    assert Queue.objects.get(name="said").rate == Rate(10, per="minute")
    services.queue_update("said", ACTOR, rate="20 per minute", concurrency_limit=4)
    store.declare_queue(conn, declared)
    queue = Queue.objects.get(name="said")
    assert (queue.rate, "rate" in queue.edited, "concurrency_limit" in queue.edited) == (
        Rate(20, per="minute"),
        True,
        False,
    )
    queue = services.queue_as_declared("said", ACTOR)
    assert (queue.rate, "rate" in queue.edited) == (Rate(10, per="minute"), False)
