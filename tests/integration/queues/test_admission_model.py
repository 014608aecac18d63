"""Admission beside a slow and obvious reference: whatever comes, ends and goes by, the same ones start.

All times are multiples of eleven seconds, so that the moments a machine takes decide nothing: no two starts are in one
slice of a rate's window, and none is within five seconds of leaving it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from queues import line, store
from queues.models import Queue
from queues.store import Conn, Grant
from tests.support.admission import Model, Pool
from tests.support.flow import fill

STEP = 11.0  # seconds
KEYS = st.sampled_from([None, "a", "b", "c"])
RATES = st.sampled_from([None, None, (3, 60.0, False), (8, 60.0, True), (4, 600.0, True)])
LIMITS = st.fixed_dictionaries(
    {
        "limit": st.sampled_from([None, None, 2, 4]),
        "key_limit": st.sampled_from([None, None, 1, 2]),
        "rate": RATES,
        "key_rate": RATES,
        "weights": st.dictionaries(st.sampled_from("abc"), st.integers(1, 3), max_size=2),
    }
)


def moves(queues: int) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    """What may come, in any of so many queues."""
    where = st.integers(0, queues - 1)
    return st.lists(
        st.one_of(
            st.tuples(st.just("add"), KEYS, st.sampled_from([0, 0, 1, 2, -2]), st.integers(1, 6), where),
            st.tuples(st.just("add"), KEYS, st.just(0), st.just(1), where),
            st.tuples(st.just("start"), st.integers(1, 4)),
            st.tuples(st.just("end"), st.integers(0, 9)),
            st.tuples(st.just("wait"), st.sampled_from([2 * STEP, 4 * STEP, 6 * STEP, 19 * STEP])),
        ),
        min_size=4,
        max_size=50,
    )


QUIET = settings(
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def at(conn: Conn, seconds: float) -> None:
    """The database's time, for this session and for Django's."""
    for say in (conn.execute, _django):
        say("SELECT set_config('holdfast.clock_offset', %s, false)", [f"{seconds} seconds"])


def _django(query: str, parameters: list[Any]) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(query, parameters)


class Pair:
    """The real queues, and the model of them."""

    def __init__(self, conn: Conn, worker: int, *limits: dict[str, Any]) -> None:
        conn.execute("TRUNCATE queues_entry, queues_lease, queues_turn, queues_note, queues_start")
        Queue.objects.filter(name__startswith="model").delete()
        self.queues = [self.queue(f"model-{number}", own) for number, own in enumerate(limits)]
        self.conn, self.worker, self.model = conn, worker, Pool([Model(**own) for own in limits])
        self.now, self.names = 0.0, dict[UUID, int]()
        self.grants: dict[int, tuple[Grant, Model]] = {}
        at(conn, 0.0)

    @staticmethod
    def queue(name: str, limits: dict[str, Any]) -> Queue:
        rates: dict[str, Any] = {}
        for kind in ("rate", "key_rate"):
            if (rate := limits[kind]) is not None:
                rates |= {f"{kind}_amount": rate[0], f"{kind}_period": rate[1]}
                rates |= {f"{kind}_unit": "tokens" if rate[2] else None}
        return Queue.objects.create(
            name=name,
            concurrency_limit=limits["limit"],
            key_concurrency_limit=limits["key_limit"],
            key_weights=limits["weights"],
            **rates,
        )

    def add(self, key: str | None, priority: int, units: int, where: int = 0) -> None:
        self.wait(STEP)  # no two come at one moment
        (entry,) = fill(self.queues[where], key, priority=priority, units=units)
        name = self.names[entry] = len(self.names)
        self.model.queues[where].add(name, key, priority, units, self.now)

    def start(self, most: int) -> None:
        """Some leases of one, and what the model would start: one after the other, or none."""
        for _ in range(most):
            self.wait(STEP)
            got = self.lease()
            assert got == self.model.start(self.now), self.model

    def lease(self) -> int | None:
        while True:
            with self.conn.transaction():
                found = store.lease(self.conn, worker=self.worker, pools=["default"], coroutines=1, threads=0)
            if found.grants:
                (grant,) = found.grants
                name = self.names[grant.entry_id]
                where = next(n for n, queue in enumerate(self.queues) if queue.pk == grant.queue_id)
                self.grants[name] = grant, self.model.queues[where]
                return name
            if not found.more:
                return None

    def end(self, which: int) -> None:
        if not self.grants:
            return
        name = sorted(self.grants)[which % len(self.grants)]
        grant, model = self.grants.pop(name)
        with self.conn.transaction(), self.conn.cursor() as cur:
            store.release(cur, ids=[grant.entry_id], tokens=[grant.token], delays=[None])
        model.end(name)

    def wait(self, seconds: float) -> None:
        self.now += seconds
        at(self.conn, self.now)


@QUIET
@given(limits=LIMITS, came=moves(1))
def test_the_lease_starts_what_the_rules_say(
    conn: Conn, register: Callable[[], int], limits: dict[str, Any], came: list[tuple[Any, ...]]
) -> None:
    pair = Pair(conn, register(), limits)
    for name, *arguments in came:
        getattr(pair, name)(*arguments)
    pair.start(3)


@QUIET
@given(limits=st.lists(LIMITS, min_size=3, max_size=3), came=moves(3))
def test_queues_of_a_pool_start_in_the_order_of_what_they_run(
    conn: Conn, register: Callable[[], int], limits: list[dict[str, Any]], came: list[tuple[Any, ...]]
) -> None:
    pair = Pair(conn, register(), *limits)
    for name, *arguments in came:
        getattr(pair, name)(*arguments)
    pair.start(3)


@QUIET
@given(
    weights=st.dictionaries(st.sampled_from("abc"), st.integers(1, 3), max_size=2),
    entries=st.lists(st.tuples(KEYS, st.sampled_from([0, 0, 0, 2, -1])), min_size=1, max_size=14),
    started=st.integers(0, 4),
)
def test_the_place_in_line_is_the_number_of_starts_before_ones_own(
    conn: Conn,
    register: Callable[[], int],
    weights: dict[str, int],
    entries: list[tuple[str | None, int]],
    started: int,
) -> None:
    pair = Pair(
        conn, register(), {"limit": None, "key_limit": None, "rate": None, "key_rate": None, "weights": weights}
    )
    for key, priority in entries:
        pair.add(key, priority, 1)
    for _ in range(started):
        pair.wait(STEP)
        pair.lease()
    with conn.transaction():
        store.lease(conn, worker=pair.worker, pools=["default"], coroutines=0, threads=0)  # takes the notes
    waits = [entry for entry, name in pair.names.items() if name not in pair.grants]
    places = {pair.names[entry]: line.place(entry) for entry in waits}
    # A turn brings its key forward by the priority of its first run, and goes on when the next of it was ready: where
    # runs differ in priority, or a key has several starts in a turn, the place is a guess.
    exact = len({priority for _, priority in entries}) == 1 and not weights
    order = []
    while (name := pair.lease()) is not None:
        order.append(name)
        pair.wait(STEP)
    assert sorted(order) == sorted(places)
    for number, name in enumerate(order):
        place = places[name]
        assert place is not None
        if exact:
            assert place.ahead == number, (order, places)
