import pytest

from runs import words


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.0041, "4.1 ms"),
        (0.00999, "10 ms"),
        (0.087, "87 ms"),
        (2.34, "2.3 s"),
        (9.99, "10 s"),
        (59.99, "1 min"),
        (245, "4 min 5 s"),
        (7800, "2 h 10 min"),
        (273600, "3 d 4 h"),
    ],
)
def test_durations_are_written_as_people_read_them(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


def test_counts_are_exact_up_to_ten_thousand() -> None:
    assert words.count(10_000) == "10,000"
    assert words.count(10_001) == "10,000+"


@pytest.mark.parametrize(("number", "text"), [(0, "0 B"), (999, "999 B"), (1400, "1.4 kB"), (2_000_000, "2.0 MB")])
def test_sizes_are_written_in_the_unit_that_fits(number: int, text: str) -> None:
    assert words.size(number) == text
