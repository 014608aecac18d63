"""When a rule fires, and what it is made of: counts of minutes in, states out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs import histogram
from runs.alerts import series
from runs.alerts.rules import GIVE_UP, Span, Standing, move, spans

T0 = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def walk(*values: float | None, hold: int = 0, threshold: float = 10.0) -> list[str]:
    standing, states = Standing("unmeasured", T0), []
    for number, value in enumerate(values):
        standing = move(standing, value, T0 + number * MINUTE, threshold=threshold, hold=hold * MINUTE)
        states.append(str(standing.state))
    return states


def test_it_fires_at_once_when_it_need_not_hold() -> None:
    assert walk(None, 10, 11, 10) == ["unmeasured", "ok", "firing", "ok"], "at the threshold is not above it"


def test_it_is_pending_until_it_has_held_and_fires_until_it_was_calm_as_long() -> None:
    assert walk(11, 11, 9, 11, 11, 11, 9, 11, 9, 9, 9, hold=2) == [
        "pending", "pending", "ok", "pending", "pending", "firing", "firing", "firing", "firing", "firing", "ok",
    ]  # fmt: skip


def test_without_a_value_it_is_unmeasured_and_never_green() -> None:
    assert walk(9, None, 11, None, 11, 11, hold=1) == ["ok", "unmeasured", "pending", "unmeasured", "pending", "firing"]


def test_what_fires_goes_on_firing_while_nothing_can_be_measured_for_a_day() -> None:
    firing = Standing("firing", T0)
    blind = move(firing, None, T0 + MINUTE, threshold=1, hold=timedelta())
    assert (blind.state, blind.since, blind.blind_since) == ("firing", T0, T0 + MINUTE)
    later = T0 + MINUTE + GIVE_UP
    assert move(blind, None, later - MINUTE, threshold=1, hold=timedelta()).state == "firing"
    assert move(blind, None, later, threshold=1, hold=timedelta()) == Standing("unmeasured", later)
    assert move(blind, 2, later, threshold=1, hold=timedelta()) == firing, "a value begins the day anew"
    assert move(blind, 1, later, threshold=1, hold=timedelta()).state == "ok"


def test_calm_minutes_around_a_blind_one_do_not_add_up() -> None:
    assert walk(11, 11, 9, None, 9, 9, hold=1) == ["pending", "firing", "firing", "firing", "firing", "ok"]


def test_a_preview_counts_the_times_it_would_have_fired_with_their_peaks() -> None:
    values = [1, 11, 30, 12, 1, None, 15, 16]
    found = spans([(T0 + n * MINUTE, v) for n, v in enumerate(values)], threshold=10, hold=timedelta())
    assert found == [Span(T0 + MINUTE, T0 + 4 * MINUTE, 30), Span(T0 + 6 * MINUTE, None, 16)]


@given(st.lists(st.one_of(st.none(), st.floats(0, 20)), max_size=60), st.integers(0, 4))
def test_a_preview_says_what_looking_each_minute_would_have_said(values: list[float | None], hold: int) -> None:
    points = [(T0 + n * MINUTE, value) for n, value in enumerate(values)]
    states = walk(*values, hold=hold)
    begun = [n for n, state in enumerate(states) if state == "firing" and (n == 0 or states[n - 1] != "firing")]
    found = spans(points, threshold=10, hold=hold * MINUTE)
    assert [span.since for span in found] == [T0 + n * MINUTE for n in begun]


# ── series ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_rate_is_that_of_its_window_and_nothing_with_too_few_runs() -> None:
    assert series.rates([0, 1, 0, 4], [1, 3, 0, 4], 2, 3) == [25.0, pytest.approx(100 / 3), 100.0]
    assert series.rates([0, 1], [1, 3], 2, 5) == [None]
    assert series.rates([0], [0], 1, 0) == [None], "of no run at all there is no rate"


@given(st.lists(st.dictionaries(st.integers(0, 9), st.integers(1, 9), max_size=2), min_size=3, max_size=12))
def test_percentiles_of_a_sliding_window_are_those_of_each_window_alone(grid: list[dict[int, int]]) -> None:
    alone = []
    for n in range(len(grid) - 2):
        merged = histogram.merge(pair for cells in grid[n : n + 3] for pair in cells.items())
        alone.append(histogram.percentile(merged, 0.95) if sum(merged.values()) >= 2 else None)
    assert series.percentiles(grid, 3, 2, 0.95) == alone


def test_who_started_late_was_in_line_before() -> None:
    waits = series.head_waits([None, None, None, 150.0, None])
    # It started in the middle of minute 3, at 210 s, so it had been ready at 60 s.
    assert waits == [0.0, 60.0, 120.0, 0.0, 0.0]


def test_who_waits_now_has_been_in_line_since_it_was_ready() -> None:
    assert series.head_waits([None, None, None], 90.0) == [0.0, 30.0, 90.0]


def test_nothing_stands_still_while_nothing_is_to_be_done() -> None:
    assert series.standstills([False] * 4, [False] * 4, 10) == [0.0] * 4


def test_a_standstill_counts_from_the_first_work_after_the_last_completion() -> None:
    completed = [True, False, False, False, True, False]
    assert series.standstills(completed, [True, False, True, True, True, True], 10) == [0, 0, 60, 120, 0, 60]


def test_work_that_fails_now_and_then_adds_up_unless_it_is_too_seldom() -> None:
    active = [True, False, False, True, False, False, False, False]
    assert series.standstills([False] * 8, active, 3) == [60, 120, 180, 240, 300, 360, 420, 0]


def test_minutes_are_covered_by_intervals_that_reach_over_the_ends() -> None:
    assert series.covered(5, [(-3, 0), (2, 3), (3, 9), (7, 9)]) == [True, False, True, True, True]
    assert series.covered(2, []) == [False, False]
