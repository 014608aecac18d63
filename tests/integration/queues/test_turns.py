"""Who is next: priority that ages, keys by turns, and what a flood costs the others."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from uuid import UUID

import pytest

from holdfast.access.grants import Actor
from queues import services, store
from queues.models import Entry, Lease, Note, Queue, Turn
from queues.store import Conn, Grant
from tests.support.flow import fill

ACTOR = Actor.local()


@pytest.fixture
def shop(conn: Conn) -> Queue:
    return Queue.objects.create(name="shop")


def lease(conn: Conn, worker: int, most: int, *, threads: int = 0) -> list[Grant]:
    with conn.transaction():
        return store.lease(conn, worker=worker, pools=["default"], coroutines=most, threads=threads).grants


def one_by_one(conn: Conn, worker: int) -> Iterator[UUID]:
    while grants := lease(conn, worker, 1):
        yield grants[0].entry_id


def who(grants: list[Grant] | Iterator[UUID]) -> list[str]:
    """The keys of what was leased, in that order."""
    ids = [g.entry_id if isinstance(g, Grant) else g for g in grants]
    keys = dict(Lease.objects.values_list("entry_id", "concurrency_key"))
    return [keys[i] or "-" for i in ids]


def test_a_point_of_priority_counts_as_a_minute_of_waiting(conn: Conn, shop: Queue, worker: int) -> None:
    (old,) = fill(shop, age=400)
    (urgent,) = fill(shop, priority=5)
    (more_urgent,) = fill(shop, priority=7)
    (later,) = fill(shop, priority=-1, age=30)
    (now,) = fill(shop)
    assert list(one_by_one(conn, worker)) == [more_urgent, old, urgent, now, later]


def test_keys_take_turns_however_much_of_one_waits(conn: Conn, shop: Queue, worker: int) -> None:
    fill(shop, "flood", 50, age=60)
    fill(shop, "a", 2, age=2)
    fill(shop, "b", 2, age=1)
    assert who(itertools.islice(one_by_one(conn, worker), 8)) == [
        "flood",
        "a",
        "b",
        "flood",
        "a",
        "b",
        "flood",
        "flood",
    ]


def test_a_batch_is_shared_as_single_leases_are(conn: Conn, shop: Queue, worker: int) -> None:
    fill(shop, "flood", 500)
    fill(shop, "a", 3)
    fill(shop, "b", 30)
    assert Counter(who(lease(conn, worker, 63))) == {"flood": 30, "b": 30, "a": 3}
    assert Counter(who(lease(conn, worker, 100))) == {"flood": 100}


def test_what_comes_late_waits_for_one_turn_of_the_others_only(conn: Conn, shop: Queue, worker: int) -> None:
    for key in "abc":
        fill(shop, key, 100, age=100)
    lease(conn, worker, 30)
    fill(shop, "late", 5)
    got = who(itertools.islice(one_by_one(conn, worker), 8))
    assert got.index("late") <= 3
    assert Counter(got)["late"] == 2


def test_runs_without_a_key_are_each_in_line_for_themselves(conn: Conn, shop: Queue, worker: int) -> None:
    fill(shop, "flood", 50, age=60)
    fill(shop, None, 3, age=30)
    assert who(itertools.islice(one_by_one(conn, worker), 6)) == ["flood", "-", "-", "-", "flood", "flood"]


def test_within_a_key_priority_decides_and_an_urgent_run_brings_its_key_forward(
    conn: Conn, shop: Queue, worker: int
) -> None:
    fill(shop, "a", 2, age=120)
    (urgent,) = fill(shop, "b", priority=10)
    fill(shop, "b")
    assert next(one_by_one(conn, worker)) == urgent
    assert who(one_by_one(conn, worker)) == ["a", "b", "a"]


def test_a_key_of_weight_three_starts_three_times_a_turn(conn: Conn, shop: Queue, worker: int) -> None:
    services.queue_update("shop", ACTOR, key_weights={"gold": 3})
    for key in ("gold", "tin", "lead"):
        fill(shop, key, 30, age=10)
    assert Counter(who(itertools.islice(one_by_one(conn, worker), 20))) == {"gold": 12, "tin": 4, "lead": 4}
    assert Counter(who(lease(conn, worker, 20))) == {"gold": 12, "tin": 4, "lead": 4}
    services.queue_update("shop", ACTOR, key_weights={})
    assert Counter(who(itertools.islice(one_by_one(conn, worker), 12))) == {"gold": 4, "tin": 4, "lead": 4}


def test_a_key_without_a_slot_does_not_lose_its_place_among_the_served(conn: Conn, shop: Queue, worker: int) -> None:
    services.queue_update("shop", ACTOR, key_concurrency_limit=1, concurrency_limit=2)
    fill(shop, "flood", 10, age=60)
    fill(shop, "a", 2, age=5)
    first = lease(conn, worker, 10)
    assert sorted(who(first)) == ["a", "flood"]
    fill(shop, "b", 1, age=1)
    with conn.transaction(), conn.cursor() as cur:
        store.release(cur, ids=[g.entry_id for g in first], tokens=[g.token for g in first], delays=[None, None])
    got = who(lease(conn, worker, 10))
    assert len(got) == 2
    assert "b" in got, "the flood was served, and is behind those that were not"


def test_turns_and_notes_go_with_the_last_entry(conn: Conn, shop: Queue, worker: int) -> None:
    fill(shop, "a", 2)
    fill(shop, "b", 1)
    grants = lease(conn, worker, 10)
    assert not Turn.objects.exists()
    assert not Note.objects.exists()
    with conn.transaction(), conn.cursor() as cur:
        store.release(cur, ids=[grants[0].entry_id], tokens=[grants[0].token], delays=[0])
    assert len(lease(conn, worker, 10)) == 1
    assert not Entry.objects.exists()


def test_a_queue_with_a_long_line_delays_another_ones_single_run_by_one_start(
    conn: Conn, shop: Queue, worker: int
) -> None:
    bank = Queue.objects.create(name="bank")
    fill(shop, None, 200, age=600, priority=9)
    assert len(lease(conn, worker, 20)) == 20
    fill(bank, None, 1)
    fill(shop, None, 1, lane=1)
    grants = lease(conn, worker, 2)
    assert {g.queue_id for g in grants} == {bank.pk, shop.pk}
    assert {g.queue_id for g in lease(conn, worker, 30)} == {shop.pk}, "nobody else wants the slots"


def test_queues_share_the_slots_of_a_lane_by_what_they_hold(conn: Conn, shop: Queue, worker: int) -> None:
    bank, mill = Queue.objects.create(name="bank"), Queue.objects.create(name="mill")
    names = {shop.pk: "shop", bank.pk: "bank", mill.pk: "mill"}
    fill(shop, "flood", 60, age=60)
    fill(shop, None, 60, age=60)
    first = lease(conn, worker, 10)
    fill(bank, None, 40, age=30)
    fill(mill, None, 4, age=10)
    got = [*first, *lease(conn, worker, 24)]
    assert Counter(names[g.queue_id] for g in got) == {"shop": 15, "bank": 15, "mill": 4}
    with conn.transaction(), conn.cursor() as cur:
        ended = [g for g in got if g.queue_id == shop.pk]
        store.release(cur, ids=[g.entry_id for g in ended], tokens=[g.token for g in ended], delays=[None] * len(ended))
    assert Counter(names[g.queue_id] for g in lease(conn, worker, 10)) == {"shop": 10}


def test_of_many_busy_queues_those_that_waited_longest_are_first(conn: Conn, worker: int) -> None:
    queues = Queue.objects.bulk_create(Queue(name=f"q{n:04}") for n in range(300))
    for place, queue in enumerate(queues):
        fill(queue, None, 3, age=1_000 - place)
    first = lease(conn, worker, 100)
    assert Counter(g.queue_id for g in first) == Counter(q.pk for q in queues[:100])
    second = lease(conn, worker, 250)
    assert Counter(g.queue_id for g in second) == Counter(q.pk for q in (*queues[100:], *queues[:50]))
    grants = [*first, *second]
    while more := lease(conn, worker, 250):
        grants += more
    assert len({g.entry_id for g in grants}) == 900


def test_lanes_without_capacity_are_left_alone(conn: Conn, shop: Queue, worker: int) -> None:
    fill(shop, "a", 2, lane=0)
    fill(shop, "a", 2, lane=1)
    fill(shop, None, 2, lane=1)
    assert len(lease(conn, worker, 10)) == 2
    assert lease(conn, worker, 10) == []
    assert len(lease(conn, worker, 0, threads=10)) == 4
