"""The simulation behind *What if*, beside the slow and obvious model of admission."""

from __future__ import annotations

import heapq
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from queues.rate import Rate
from queues.whatif import Arrival, Limits, Outcome, simulate
from tests.support.admission import Model

KEYS = (None, "a", "b", "c")


def arrivals() -> st.SearchStrategy[list[Arrival]]:
    one = st.builds(
        Arrival,
        at=st.integers(0, 60).map(float),
        seconds=st.integers(0, 20).map(float),
        key=st.sampled_from(KEYS),
        priority=st.integers(-1, 1),
        units=st.integers(1, 12),
    )
    return st.lists(one, max_size=25).map(lambda found: sorted(found, key=lambda arrival: arrival.at))


def limits() -> st.SearchStrategy[Limits]:
    rate = st.none() | st.builds(
        Rate, st.integers(1, 6), st.sampled_from([5.0, 30.0]), st.sampled_from([None, "tokens"])
    )
    few = st.none() | st.integers(1, 4)
    return st.builds(Limits, few, few, rate, rate, st.dictionaries(st.sampled_from("ab"), st.integers(1, 3)))


def modelled(found: list[Arrival], of: Limits) -> list[float]:
    """The waits by the model: it is asked again at every moment at which anything may change."""

    def rate(given: Rate | None) -> tuple[int, float, bool] | None:
        return None if given is None else (given.amount, given.period, given.unit is not None)

    model = Model(
        of.concurrency_limit, of.key_concurrency_limit, rate(of.rate), rate(of.key_rate), dict(of.key_weights)
    )
    waits = [0.0] * len(found)
    periods = [given.period for given in (of.rate, of.key_rate) if given is not None]
    moments = [(a.at, 1, n) for n, a in enumerate(found)]
    heapq.heapify(moments)
    while moments:
        now = moments[0][0]
        while moments and moments[0][0] <= now:
            _, kind, number = heapq.heappop(moments)
            arrival = found[number]
            if kind == 0:
                model.end(number)
            elif kind == 1:
                model.add(number, arrival.key, arrival.priority, arrival.units, now)
        while (started := model.start(now)) is not None:
            waits[started] = now - found[started].at
            heapq.heappush(moments, (now + found[started].seconds, 0, started))
            for period in periods:
                heapq.heappush(moments, (now + period, 2, 0))
    return waits


@settings(max_examples=400)
@given(arrivals(), limits())
def test_it_starts_what_admission_starts_when_admission_does(found: list[Arrival], of: Limits) -> None:
    assert simulate(found, of).waits == modelled(found, of)


@given(arrivals())
def test_without_limits_nobody_waits(found: list[Arrival]) -> None:
    assert set(simulate(found, Limits()).waits) <= {0.0}


def test_one_slot_is_a_line() -> None:
    came = [Arrival(0, 10), Arrival(1, 10), Arrival(2, 10)]
    assert simulate(came, Limits(1)).waits == [0, 9, 18]
    assert simulate(came, Limits(2)).waits == [0, 0, 8]


def test_a_rate_opens_as_its_window_slides() -> None:
    came = [Arrival(0, 0) for _ in range(5)]
    assert simulate(came, Limits(rate=Rate(2, per=30))).waits == [0, 0, 30, 30, 60]


def test_the_numbers_are_those_of_the_waits() -> None:
    found = Outcome.of([0.0] * 90 + [5.0] * 10)
    assert (found.p50, found.p95, found.longest, found.delayed) == (0, 5, 5, 0.1)
    nobody: Any = Outcome.of([])
    assert (nobody.p50, nobody.p95, nobody.longest, nobody.delayed) == (0, 0, 0, 0)
