import pytest

from runs import words


def test_counts_are_exact_up_to_ten_thousand() -> None:
    assert words.count(10_000) == "10,000"
    assert words.count(10_001) == "10,000+"


@pytest.mark.parametrize(("number", "text"), [(0, "0 B"), (999, "999 B"), (1400, "1.4 kB"), (2_000_000, "2.0 MB")])
def test_sizes_are_written_in_the_unit_that_fits(number: int, text: str) -> None:
    assert words.size(number) == text
