"""Limits per key: what the lease lets through of each key, whatever order things commit in."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from holdfast import db
from holdfast.access.grants import Actor
from queues import services, store
from queues.models import Lease, Note, Queue, Turn
from queues.store import Conn, Grant
from tests.support.flow import fill

ACTOR = Actor.local()


@pytest.fixture
def tenants(conn: Conn) -> Queue:
    return Queue.objects.create(name="tenants", key_concurrency_limit=2)


def leased(conn: Conn, worker: int, most: int = 100) -> list[Grant]:
    """What a worker gets, which looks again as long as something may have been left out."""
    found: list[Grant] = []
    while True:
        with conn.transaction():
            grants, more, *_ = store.lease(conn, worker=worker, pools=["default"], coroutines=most, threads=most)
        found += grants
        if not more:
            return found


def done(conn: Conn, grants: list[Grant], delay: float | None = None) -> None:
    with conn.transaction(), conn.cursor() as cur:
        store.release(
            cur, ids=[g.entry_id for g in grants], tokens=[g.token for g in grants], delays=[delay] * len(grants)
        )


def keys(grants: list[Grant]) -> list[str]:
    found = dict(Lease.objects.values_list("entry_id", "concurrency_key"))
    return sorted(str(found[g.entry_id]) for g in grants)


def test_each_key_has_its_own_slots_and_runs_without_a_key_are_not_counted(
    conn: Conn, tenants: Queue, worker: int
) -> None:
    fill(tenants, "a", 5, lane=None)
    fill(tenants, "b", 5, lane=None)
    fill(tenants, None, 3, lane=None)
    assert keys(leased(conn, worker)) == ["None", "None", "None", "a", "a", "b", "b"]
    assert leased(conn, worker) == []


def test_a_key_that_floods_the_queue_does_not_hide_the_others(conn: Conn, tenants: Queue, worker: int) -> None:
    fill(tenants, "flood", 300)
    fill(tenants, "small", 1)
    assert keys(leased(conn, worker, most=10)) == ["flood", "flood", "small"]
    assert Turn.objects.get().counts_from is None, "nobody wades through them again"


def test_a_slot_that_is_given_back_goes_to_the_next_of_its_key_by_priority(
    conn: Conn, tenants: Queue, worker: int
) -> None:
    first = fill(tenants, "a", 4)
    (urgent,) = fill(tenants, "a", 1, priority=5)
    begun = leased(conn, worker)
    assert {g.entry_id for g in begun} == {urgent, first[0]}
    done(conn, begun[:1])
    assert [g.entry_id for g in leased(conn, worker)] == [first[1]]
    assert leased(conn, worker) == []
    assert not Note.objects.exists()


def test_what_comes_back_for_another_attempt_waits_behind_the_slot_it_gave_back(
    conn: Conn, tenants: Queue, worker: int
) -> None:
    ids = fill(tenants, "a", 3)
    begun = leased(conn, worker)
    done(conn, begun, delay=0)
    assert {g.entry_id for g in leased(conn, worker)} <= set(ids)
    assert Lease.objects.count() == 2


def test_a_release_that_commits_while_a_lease_looks_at_its_key_is_not_missed(
    conn: Conn, tenants: Queue, worker: int
) -> None:
    fill(tenants, "a", 3)
    begun = leased(conn, worker)
    with db.connect("other") as other:
        with other.transaction(), other.cursor() as cur:
            store.release(cur, ids=[begun[0].entry_id], tokens=[begun[0].token], delays=[None])
            fill(tenants, "a", 1)
            assert leased(conn, worker) == [], "the slot is not free before it is committed"
        assert Turn.objects.get().counts_from is None
    assert len(leased(conn, worker)) == 1


def test_when_the_next_ones_are_withdrawn_those_behind_them_take_their_turn(
    conn: Conn, tenants: Queue, worker: int
) -> None:
    ids = fill(tenants, "a", 4)
    with conn.transaction():
        store.lease(conn, worker=worker, pools=["default"], coroutines=0, threads=0)  # takes the notes
    assert Turn.objects.get().counts_from is not None
    with conn.transaction():
        store.withdraw(conn, ids[:2])
    assert {g.entry_id for g in leased(conn, worker)} == set(ids[2:])
    assert not Turn.objects.exists()


def test_a_dead_workers_slots_come_back(conn: Conn, tenants: Queue, worker: int, register: Callable[[], int]) -> None:
    fill(tenants, "a", 3)
    assert len(leased(conn, worker)) == 2
    with conn.transaction():
        store.seize(conn, worker)
    assert len(leased(conn, register())) == 1


def test_an_edit_counts_at_once_in_both_directions(conn: Conn, tenants: Queue, worker: int) -> None:
    fill(tenants, "a", 9)
    assert len(leased(conn, worker)) == 2
    services.queue_update("tenants", ACTOR, key_concurrency_limit=4)
    assert len(leased(conn, worker)) == 2
    services.queue_update("tenants", ACTOR, key_concurrency_limit=1)
    assert leased(conn, worker) == []
    services.queue_update("tenants", ACTOR, key_concurrency_limit=None)
    assert len(leased(conn, worker)) == 5


def test_the_queues_own_limit_holds_beside_that_of_its_keys(conn: Conn, tenants: Queue, worker: int) -> None:
    services.queue_update("tenants", ACTOR, concurrency_limit=3)
    for key in "abc":
        fill(tenants, key, 3)
    begun = leased(conn, worker)
    assert len(begun) == 3
    assert leased(conn, worker) == []
    done(conn, begun)
    assert len(leased(conn, worker)) == 3


def test_the_sweeper_calls_nobody_while_no_key_has_a_slot(conn: Conn, tenants: Queue, worker: int) -> None:
    fill(tenants, "a", 4)
    assert store.pools_with_entries(conn) == {"default"}
    begun = leased(conn, worker)
    assert store.pools_with_entries(conn) == set()
    done(conn, begun[:1])
    assert store.pools_with_entries(conn) == {"default"}
