"""How runs are sampled, and which differences are worth telling."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs import histogram
from runs.charts import Cell, Window
from runs.explore.asked import Asked, Box
from runs.explore.differences import MIN_RUNS, SHOWN, rank
from runs.explore.sample import BESIDE, INSIDE, OUTSIDE, PASSED, SAMPLE, about, parameters, slices

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
WINDOW = Window(START, START + timedelta(hours=2), 15)


def cell(minute: int, count: int, seconds: float = 1.5, status: str = "completed") -> Cell:
    return Cell(START + timedelta(minutes=minute), status, histogram.bucket(seconds), count)


def minutes(number: float) -> datetime:
    return START + timedelta(minutes=number)


CELLS = [cell(0, 100), cell(15, 40, 60), cell(15, 60), cell(30, 10), cell(105, 1_000), cell(0, 99, status="cancelled")]


def test_a_box_cuts_its_time_into_those_in_it_and_those_of_another_duration() -> None:
    box = Box(minutes(15), minutes(30), over=timedelta(seconds=30))
    found = slices(CELLS, WINDOW, box)
    assert [(one.start, one.kind, one.count) for one in found] == [
        (minutes(0), OUTSIDE, 100),
        (minutes(15), INSIDE, 40),
        (minutes(15), BESIDE, 60),
        (minutes(30), OUTSIDE, 10),
        (minutes(105), OUTSIDE, 1_000),
    ]
    assert about(found, INSIDE) == 40
    assert about(found, BESIDE, OUTSIDE) == 1_170


def test_a_box_that_begins_within_a_bin_has_a_part_of_its_runs() -> None:
    found = slices([cell(0, 90)], WINDOW, Box(since=minutes(5)))
    assert [(one.start, one.end, one.kind, one.count) for one in found] == [
        (minutes(0), minutes(5), OUTSIDE, 30),
        (minutes(5), minutes(15), INSIDE, pytest.approx(60)),
    ]


def test_a_box_at_another_time_has_no_runs() -> None:
    assert about(slices(CELLS, WINDOW, Box(since=minutes(600))), INSIDE) == 0
    assert about(slices(CELLS, WINDOW, Box(until=minutes(-600))), INSIDE) == 0
    assert parameters([], Asked())["takes"] == []


@given(st.lists(st.integers(1, 10**7), min_size=1, max_size=8), st.integers(0, 8))
def test_a_sample_is_bounded_and_spread_as_all_runs_are(counts: list[int], until: int) -> None:
    cells = [cell(15 * n, count) for n, count in enumerate(counts)]
    box = Box(until=minutes(15 * until)) if until else Box()
    found = slices(cells, WINDOW, box)
    asked = parameters(found, Asked(box=box))
    for kind in (INSIDE, OUTSIDE):
        sides = [(one.count, asked["takes"][n], asked["passes"][n]) for n, one in enumerate(found) if one.kind == kind]
        total = sum(count for count, _, _ in sides)
        if total <= SAMPLE:
            assert all(take >= count for count, take, _ in sides), "few runs are looked at all"
        else:
            assert sum(take for _, take, _ in sides) <= SAMPLE + len(sides)
            assert all(abs(take - SAMPLE * count / total) <= 1 for count, take, _ in sides)
        assert all(take <= passed <= PASSED for _, take, passed in sides)


def test_what_is_more_frequent_in_the_box_is_ranked_by_the_difference_of_shares() -> None:
    rows = [
        ("task", "", "sums", 100, 1_000),
        ("version", "", "v2", 90, 10),
        ("payload", "tenant", '"globex"', 50, 100),
        ("tag", "", "rare", MIN_RUNS - 1, 0),
        ("key", "", "less", 10, 600),
        ("worker", "", "chance", 53, 500),
    ]
    found = rank(rows, 100, 1_000)
    assert [(item.field, item.value) for item in found] == [("version", "v2"), ("payload.tenant", '"globex"')]
    assert (found[0].inside_share, found[0].outside_share) == (0.9, 0.01)
    assert found[0].difference == pytest.approx(0.89)
    assert str(found[1].term) == "payload.tenant:globex"


def test_no_side_is_compared_with_nothing() -> None:
    assert rank([("task", "", "sums", 10, 0)], 10, 0) == []
    assert rank([], 0, 10) == []


def test_what_no_search_can_say_is_left_out_and_so_is_what_is_too_much() -> None:
    rows = [("tag", "", "two\nlines", 50, 0), ("payload", "", "1", 50, 0), ("payload", "a\x07", "1", 50, 0)]
    assert rank(rows, 50, 50) == []
    assert len(rank([("tag", "", f"tag-{n}", 50, 0) for n in range(100)], 50, 50)) == SHOWN
