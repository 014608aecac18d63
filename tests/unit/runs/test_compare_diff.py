"""Differences of lines."""

from __future__ import annotations

from runs.compare.diff import Line, lines


def shown(found: list[Line]) -> list[str]:
    marks = {"same": " ", "gone": "-", "new": "+", "cut": "…"}
    return [f"{marks[line.kind]}{line.text}" for line in found]


def test_what_is_the_same_has_no_difference() -> None:
    assert lines(["a", "b"], ["a", "b"]) == []
    assert lines([], []) == []


def test_a_difference_stands_among_three_lines_that_are_the_same() -> None:
    first = [f"line {n}" for n in range(20)]
    second = [*first[:10], "other", *first[11:]]
    assert shown(lines(first, second)) == [
        "…7 lines that are the same",
        " line 7", " line 8", " line 9", "-line 10", "+other", " line 11", " line 12", " line 13",
        "…6 lines that are the same",
    ]  # fmt: skip


def test_one_side_may_be_empty() -> None:
    assert shown(lines([], ["a"])) == ["+a"]
    assert shown(lines(["a"], [])) == ["-a"]


def test_loosely_numbers_ids_and_quotes_do_not_count_and_both_are_shown_where_words_differ() -> None:
    first = ["run 17 took 0.3 s", "key 'a' of 01900000-0000-7000-8000-000000000000", "done at 0xffee"]
    assert (
        lines(
            first, ["run 9 took 12 s", 'key "b" of 01900000-0000-7000-8000-000000000001', "done at 0x1"], loosely=True
        )
        == []
    )
    assert shown(lines(["took 3 s", "well"], ["took 4 s", "badly"], loosely=True)) == [" took 3 s", "-well", "+badly"]
