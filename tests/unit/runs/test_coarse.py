"""Which sums of rollups are read for a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from runs import coarse
from runs.explore.asked import LONGEST, SPANS, Asked

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
ODD = datetime(2026, 3, 4, 11, 52, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    ("days", "minutes", "size"), [(1, 15, 15), (1, 0, 60), (1, 5, 0), (7, 120, 60), (28, 360, 360), (28, 180, 60)]
)
def test_the_largest_size_is_taken_that_fits_into_the_bins_of_the_reader(days: int, minutes: int, size: int) -> None:
    assert coarse.over(NOON - timedelta(days=days), NOON, minutes=minutes)["size"] == size


def test_a_short_time_is_read_by_the_minute() -> None:
    found = coarse.over(NOON - timedelta(hours=1), NOON)
    assert (found["size"], found["first"], found["last"]) == (0, found["start"], found["start"])


def test_what_does_not_begin_with_a_bin_is_read_by_the_minute_until_one_begins_and_after_the_last() -> None:
    found = coarse.over(ODD - timedelta(days=1), ODD)
    assert found["first"] == datetime(2026, 3, 3, 12, 0, tzinfo=UTC)
    assert found["last"] == datetime(2026, 3, 4, 11, 0, tzinfo=UTC)


def test_bins_of_a_reader_that_begin_elsewhere_are_read_by_the_minute() -> None:
    assert coarse.over(ODD - timedelta(days=1), ODD, minutes=15)["size"] == 0


def test_explore_never_reads_more_than_some_hundreds_of_bins_of_a_long_time() -> None:
    for length in (SPANS["24h"], SPANS["7d"], timedelta(days=13), LONGEST):
        window = Asked(span="", start=NOON - length, end=NOON).window(NOON)
        found = coarse.over(window.start, window.end, minutes=window.minutes)
        assert found["size"], length
        assert (window.end - window.start) / timedelta(minutes=found["size"]) <= 500, length
