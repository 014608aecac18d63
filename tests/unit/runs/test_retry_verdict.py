"""Progress or burning: the rule."""

from __future__ import annotations

import pytest

from runs.retries.verdict import Verdict, idle, streak, verdict


@pytest.mark.parametrize(
    ("numbers", "prints", "made_in", "expected", "because"),
    [
        ([1], ["a"], 1, Verdict.EARLY, "the first attempt is no retry"),
        ([1], ["a"], None, Verdict.EARLY, "one failure says nothing"),
        ([1], ["a"], 2, Verdict.PROGRESS, "the attempt at work has finished something new"),
        ([2, 1], ["a", "a"], 2, Verdict.PROGRESS, "the same error, but one step further"),
        ([2, 1], ["a", "a"], 1, Verdict.BURNING, "the same error at the same place"),
        ([2, 1], ["a", "b"], 1, Verdict.EARLY, "another error: it may be the last one"),
        ([3, 2, 1], ["a", "b", "c"], None, Verdict.BURNING, "three attempts for nothing"),
        ([3, 2, 1], ["a", "b", "c"], 1, Verdict.EARLY, "two for nothing, each with an error of its own"),
        ([4, 3, 2, 1], ["a", "b", "c", "d"], 1, Verdict.BURNING, "three for nothing since the first"),
        ([2, 1], [None, None], 1, Verdict.EARLY, "attempts without a fingerprint are not alike"),
        ([], [], None, Verdict.EARLY, "nothing has ended"),
    ],
)
def test_the_rule(
    numbers: list[int], prints: list[str | None], made_in: int | None, expected: Verdict, because: str
) -> None:
    assert verdict(numbers, prints, made_in) is expected, because


def test_a_streak_is_of_the_latest_attempts_and_idle_counts_since_the_last_new_thing() -> None:
    assert streak(["a", "a", "b", "a"]) == 2
    assert streak([None, "a"]) == 0
    assert streak([]) == 0
    assert idle([5, 4, 3], 3) == 2
    assert idle([5, 4, 3], None) == 3
    assert idle([5, 4, 3], 6) == 0
