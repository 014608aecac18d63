"""Rates of each key, rates that count units, and how what was said beforehand is settled by what was used."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable

import pytest

from queues import store
from queues.models import Lease, Queue, Start, Turn
from queues.store import Conn, Grant
from tests.support.flow import fill


def at(conn: Conn, seconds: float) -> None:
    """Moves the clock of this session: so long after the test's beginning."""
    conn.execute("SELECT set_config('holdfast.clock_offset', %s, false)", [f"{seconds} seconds"])


def lease(conn: Conn, worker: int, most: int = 100) -> list[Grant]:
    found: list[Grant] = []
    while True:
        with conn.transaction():
            grants, more, *_ = store.lease(conn, worker=worker, pools=["default"], coroutines=most, threads=0)
        found += grants
        if not more:
            return found


def opens(conn: Conn, worker: int) -> float | None:
    with conn.transaction():
        return store.lease(conn, worker=worker, pools=["default"], coroutines=9, threads=9).opens


def who(grants: list[Grant]) -> Counter[str]:
    keys = dict(Lease.objects.values_list("entry_id", "concurrency_key"))
    return Counter(str(keys[g.entry_id]) for g in grants)


def done(conn: Conn, grants: list[Grant], used: dict[str, float] | None = None) -> None:
    with conn.transaction(), conn.cursor() as cur:
        count = len(grants)
        store.release(
            cur,
            ids=[g.entry_id for g in grants],
            tokens=[g.token for g in grants],
            delays=[None] * count,
            used=[json.dumps(used) if used is not None else None] * count,
        )


# ── of each key ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def tenants(conn: Conn) -> Queue:
    return Queue.objects.create(name="tenants", key_rate_amount=2, key_rate_period=10.0)


def test_each_key_has_its_own_window_and_runs_without_a_key_none(conn: Conn, tenants: Queue, worker: int) -> None:
    fill(tenants, "a", 5)
    fill(tenants, "b", 3)
    fill(tenants, None, 4)
    assert who(lease(conn, worker)) == {"a": 2, "b": 2, "None": 4}
    assert lease(conn, worker) == []
    assert {t.concurrency_key: t.counts_from for t in Turn.objects.all()} == {"a": None, "b": None}
    at(conn, 11)
    assert who(lease(conn, worker)) == {"a": 2, "b": 1}


def test_the_window_of_a_key_slides_and_the_worker_knows_when_to_look_again(
    conn: Conn, tenants: Queue, worker: int
) -> None:
    fill(tenants, "a", 5)
    at(conn, 0)
    assert len(lease(conn, worker)) == 2
    assert 7 < (opens(conn, worker) or 0) <= 10
    at(conn, 7)
    assert lease(conn, worker) == []
    at(conn, 10.2)
    assert len(lease(conn, worker)) == 2
    assert 7 < (opens(conn, worker) or 0) <= 10


def test_starts_are_remembered_as_long_as_the_longer_window_counts_them(
    conn: Conn, tenants: Queue, worker: int
) -> None:
    Queue.objects.update(rate_amount=100, rate_period=1.0, key_rate_period=3_600.0)
    fill(tenants, "a", 5)
    assert len(lease(conn, worker)) == 2
    at(conn, 3_000)
    store.forget(conn)
    fill(tenants, "a", 1)
    assert lease(conn, worker) == [], "both starts are still in the hour of their key"
    at(conn, 3_601)
    assert len(lease(conn, worker)) == 2
    at(conn, 3_661)
    store.forget(conn)
    left = Start.objects.filter(concurrency_key="a").values_list("count", flat=True)
    assert list(left) == [2], "those of the first hour are gone"


def test_what_of_a_key_is_held_by_its_rate_costs_the_others_nothing(conn: Conn, tenants: Queue, worker: int) -> None:
    fill(tenants, "flood", 3_000, age=60)
    lease(conn, worker)
    fill(tenants, "small", 1)
    assert who(lease(conn, worker, 1)) == {"small": 1}


def test_the_sweeper_calls_a_worker_when_the_window_has_slid(
    conn: Conn, tenants: Queue, worker: int, register: Callable[[], int]
) -> None:
    fill(tenants, "a", 3)
    lease(conn, worker)
    assert store.pools_with_entries(conn) == set()
    at(conn, 11)
    assert store.pools_with_entries(conn) == {"default"}


# ── units ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def tokens(conn: Conn) -> Queue:
    return Queue.objects.create(name="tokens", rate_amount=1_000, rate_period=60.0, rate_unit="tokens")


def test_a_window_lets_so_many_units_through(conn: Conn, tokens: Queue, worker: int) -> None:
    fill(tokens, count=9, units=300)
    assert len(lease(conn, worker)) == 3
    assert lease(conn, worker) == []
    at(conn, 62)
    assert len(lease(conn, worker)) == 3


def test_a_use_beyond_all_bounds_is_counted_and_gives_its_lease_back(conn: Conn, tokens: Queue, worker: int) -> None:
    fill(tokens, count=2)
    for grant in lease(conn, worker):
        done(conn, [grant], {"tokens": 9.9e18})
    assert not Lease.objects.exists()
    fill(tokens, count=1)
    assert lease(conn, worker) == []


def test_one_that_needs_much_is_not_passed_by_smaller_ones(conn: Conn, tokens: Queue, worker: int) -> None:
    fill(tokens, count=1, units=600, age=3)
    (large,) = fill(tokens, count=1, units=600, age=2)
    fill(tokens, count=5, units=10, age=1)
    assert len(lease(conn, worker)) == 1
    at(conn, 62)
    assert large in {g.entry_id for g in lease(conn, worker)}


def test_one_that_needs_more_than_a_window_has_takes_a_whole_one(conn: Conn, tokens: Queue, worker: int) -> None:
    fill(tokens, count=2, units=5_000)
    assert len(lease(conn, worker)) == 1
    at(conn, 62)
    assert len(lease(conn, worker)) == 1


def test_a_run_that_has_used_less_gives_the_rest_back(conn: Conn, tokens: Queue, worker: int) -> None:
    fill(tokens, count=9, units=500)
    begun = lease(conn, worker)
    assert len(begun) == 2
    done(conn, begun[:1], {"tokens": 100, "cost": 3})
    assert lease(conn, worker) == [], "400 are left, and the next needs 500"
    done(conn, begun[1:], {"tokens": 100.2})
    assert len(lease(conn, worker)) == 1
    at(conn, 62)
    assert len(lease(conn, worker)) == 2, "what was given back leaves the window with its start"


def test_a_run_that_has_used_more_counts_it_from_then_on(conn: Conn, tokens: Queue, worker: int) -> None:
    fill(tokens, count=9, units=100)
    begun = lease(conn, worker, 1)[:1]
    fill(tokens, count=9, units=100)
    at(conn, 30)
    done(conn, begun, {"tokens": 1_100})
    assert lease(conn, worker) == []
    at(conn, 62)
    assert lease(conn, worker) == [], "1,000 more were used thirty seconds ago"
    at(conn, 92)
    assert len(lease(conn, worker)) == 10


def test_a_run_that_says_nothing_counts_what_it_had_said_before(conn: Conn, tokens: Queue, worker: int) -> None:
    fill(tokens, count=9, units=500)
    done(conn, lease(conn, worker))
    assert lease(conn, worker) == []
    done(conn, [], {"tokens": 3})
    assert Start.objects.filter(slice=None).count() == 0


def test_a_key_may_have_a_rate_of_units_beside_that_of_the_queue(conn: Conn, tokens: Queue, worker: int) -> None:
    Queue.objects.update(key_rate_amount=400, key_rate_period=60.0, key_rate_unit="tokens")
    for key in "abcd":
        fill(tokens, key, 3, units=200)
    begun = lease(conn, worker)
    assert len(begun) == 5, "1,000 of the queue"
    assert max(who(begun).values()) == 2, "400 of each key"
    done(conn, begun, {"tokens": 0})
    assert len(lease(conn, worker)) == 5


def test_what_was_leased_before_there_was_a_rate_gives_nothing_back(conn: Conn, tokens: Queue, worker: int) -> None:
    Queue.objects.update(rate_amount=None, rate_period=None, rate_unit=None)
    fill(tokens, count=4, units=500)
    uncounted = lease(conn, worker)
    Queue.objects.update(rate_amount=1_000, rate_period=60.0, rate_unit="tokens")
    done(conn, uncounted, {"tokens": 0})
    fill(tokens, count=9, units=500)
    assert len(lease(conn, worker)) == 2, "nothing of these was counted, so there is no rest"


def test_what_was_counted_as_less_under_an_earlier_rate_gives_back_no_more_than_that(
    conn: Conn, tokens: Queue, worker: int
) -> None:
    Queue.objects.update(rate_amount=100)
    fill(tokens, count=1, units=5_000)
    begun = lease(conn, worker)
    Queue.objects.update(rate_amount=1_000)
    done(conn, begun, {"tokens": 0})
    fill(tokens, count=20, units=100)
    assert len(lease(conn, worker)) == 10, "it was counted as a hundred"


@pytest.mark.parametrize("key", [None, "tenant"])
def test_a_queue_whose_next_run_needs_more_than_is_left_takes_no_slot_from_another(
    conn: Conn, worker: int, key: str | None
) -> None:
    tokens = Queue.objects.create(name="tokens", rate_amount=100, rate_period=60.0, rate_unit="tokens")
    bank = Queue.objects.create(name="bank")
    fill(tokens, key, age=90, units=40)
    assert len(lease(conn, worker, 1)) == 1
    fill(tokens, key, age=80, units=70)
    fill(tokens, "other", age=70, units=5)
    fill(bank, None, 3, age=10)
    for _ in range(3):
        assert [g.queue_id for g in lease(conn, worker, 1)] == [bank.pk]
    assert lease(conn, worker, 1) == [], "and no smaller run of its own passes it"
