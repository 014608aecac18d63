import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs import histogram


@given(st.floats(min_value=0, max_value=1e12, allow_nan=False))
def test_a_duration_lies_within_the_bounds_of_its_bucket(seconds: float) -> None:
    low, high = histogram.bounds(histogram.bucket(seconds))
    assert low <= seconds < high


def test_buckets_touch_and_leave_no_gap() -> None:
    for number in range(histogram.LAST):
        assert histogram.bounds(number)[1] == histogram.bounds(number + 1)[0]
    assert histogram.bounds(0)[0] == 0
    assert histogram.bounds(histogram.LAST)[1] == math.inf


@pytest.mark.parametrize(
    ("seconds", "number"),
    [(-1, 0), (0, 0), (0.00099, 0), (0.001, 1), (0.002, 5), (0.004, 9), (1.024, 41), (float("inf"), histogram.LAST)],
)
def test_bucket_numbers_never_change(seconds: float, number: int) -> None:
    assert histogram.bucket(seconds) == number


def test_four_buckets_make_an_octave() -> None:
    assert histogram.bounds(21)[0] == pytest.approx(2 * histogram.bounds(17)[0])


def test_nan_is_refused_with_a_hint() -> None:
    with pytest.raises(ValueError, match="number of seconds"):
        histogram.bucket(float("nan"))


@pytest.mark.parametrize("number", [-1, histogram.LAST + 1])
def test_an_unknown_bucket_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match="numbered 0 to"):
        histogram.bounds(number)


def test_merged_histograms_are_those_of_all_durations() -> None:
    assert histogram.merge([(4, 1), (2, 3), (4, 5)]) == {2: 3, 4: 6}
    assert list(histogram.merge([(9, 1), (1, 1)])) == [1, 9]


@given(
    st.lists(st.floats(min_value=0.002, max_value=1e6), min_size=1, max_size=300), st.sampled_from([0.05, 0.5, 0.95])
)
def test_a_percentile_is_off_by_one_bucket_at_most(durations: list[float], q: float) -> None:
    counts = histogram.merge((histogram.bucket(d), 1) for d in durations)
    exact = sorted(durations)[max(0, math.ceil(q * len(durations)) - 1)]
    value = histogram.percentile(counts, q)
    assert value is not None
    assert exact / 1.2 <= value <= exact * 1.2


def test_percentiles_of_nothing_and_of_the_ends() -> None:
    assert histogram.percentile({}, 0.5) is None
    assert histogram.percentile({3: 0}, 0.5) is None
    assert histogram.percentile({histogram.LAST: 1}, 0.5) == histogram.bounds(histogram.LAST)[0]
    assert histogram.percentile({0: 2}, 0.5) == pytest.approx(0.0005)
    with pytest.raises(ValueError, match="between 0 and 1"):
        histogram.percentile({1: 1}, 50)
