import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from holdfast import words

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (-1, "0 ms"),
        (0, "0 ms"),
        (0.0034, "3.4 ms"),
        (0.34, "340 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (12.48, "12.5 s"),
        (59.94, "59.9 s"),
        (59.96, "1 m 00 s"),
        (125, "2 m 05 s"),
        (3599.4, "59 m 59 s"),
        (3599.6, "1 h 00 m"),
        (11_520, "3 h 12 m"),
        (86_399.7, "1 d 0 h"),
        (187_200, "2 d 4 h"),
    ],
)
def test_durations_have_the_two_units_that_matter(seconds, text):
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("ago", "text"),
    [
        (0, "just now"),
        (-1.9, "just now"),
        (40, "40 s ago"),
        (59.9, "59 s ago"),
        (60, "1 m ago"),
        (7199, "1 h ago"),
        (90_000, "1 d ago"),
        (-10_800, "in 3 h"),
    ],
)
def test_times_are_told_from_now(ago, text):
    assert words.relative(NOON - timedelta(seconds=ago), NOON) == text


def test_an_exact_time_is_in_utc_wherever_it_was_noted():
    berlin = timezone(timedelta(hours=1))
    assert words.exact(datetime(2026, 11, 23, 13, 0, 1, 250_999, berlin)) == "2026-11-23 12:00:01.250 UTC"


def test_json_for_reading_keeps_every_digit_and_every_letter():
    value = {"n": 9007199254740993123, "text": "Tång & <b>"}
    text = words.pretty_json(value)
    assert json.loads(text) == value
    assert "Tång" in text


def test_numbers_have_separators_and_nothing_is_a_dash():
    assert words.count(12_345) == "12,345"
    assert words.count(None) == "–"
