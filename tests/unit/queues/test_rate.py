"""Rates, in code and in words."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from queues import Queue, Rate
from queues.naming import QueueDeclarationError
from queues.rate import RateError


@pytest.mark.parametrize(
    ("text", "amount", "period"),
    [
        ("10 per minute", 10, 60.0),
        ("10/min", 10, 60.0),
        (" 5 / s ", 5, 1.0),
        ("1,000 per hours", 1000, 3600.0),
        ("7 per day", 7, 86_400.0),
        ("100 per 30 s", 100, 30.0),
        ("100/0.5", 100, 0.5),
        ("3 PER 2 seconds", 3, 2.0),
        ("9,000 tokens per minute", 9_000, 60.0),
        ("9000tokens/min", 9_000, 60.0),
    ],
)
def test_words_are_read_and_what_is_written_is_read_back(text: str, amount: int, period: float) -> None:
    rate = Rate.parse(text)
    assert (rate.amount, rate.period) == (amount, period)
    assert Rate.parse(rate.words) == rate == Rate.from_json(rate.as_json()) == Rate.from_json(text)


def test_a_period_is_a_word_seconds_or_a_timedelta() -> None:
    assert Rate(10, per="minute") == Rate(10, per=60) == Rate(10, per=timedelta(minutes=1))
    assert Rate(10, per=90).words == "10 per 90 s"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ten per minute",
        "10",
        "0/min",
        "10 per fortnight",
        "10/0",
        "9" * 99,
        "1/1.2.3",
        "1e12 per minute",
        "1E9 tokens per minute",
        "10k per minute",
        "1,000e3/min",
        "10k",
    ],
)
def test_words_that_are_no_rate_are_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(RateError, match=r"write a rate such as|from 1 to|a period is"):
        Rate.parse(text)


def test_a_rate_without_a_period_is_refused_in_the_same_words_in_code_in_text_and_in_json() -> None:
    said = set()
    for without in (lambda: Rate(10), lambda: Rate.parse("10"), lambda: Rate.parse("9,000 tokens"),
                    lambda: Rate.from_json({"amount": 10}), lambda: Rate.from_json("10"),
                    lambda: Rate.from_json({"amount": 10, "per": None})):  # fmt: skip
        with pytest.raises(RateError) as refused:
            without()
        said.add(str(refused.value))
    assert said == {
        "has no period, such as 10 per minute; a period is second, minute, hour, day, or seconds from 0.1 to 2,678,400 "
        "(31 days)"
    }


@pytest.mark.parametrize(
    "value",
    [5, True, [], {}, {"amount": 0}, {"amount": 1.5}, {"amount": True}, {"amount": 10**3000}, {"amount": 1, "per": 0},
     {"amount": 1, "per": "x"}, {"amount": 1, "per": None}, {"amount": 1, "per": float("nan")},
     {"amount": 1, "more": 1}, {"per": 60}],
)  # fmt: skip
def test_json_that_is_no_rate_is_refused(value: Any) -> None:
    with pytest.raises(RateError):
        Rate.from_json(value)


def test_a_queue_is_declared_with_a_rate_and_refuses_anything_else() -> None:
    try:
        assert Queue("unit-rated", rate=Rate(10, per="minute")).rate == Rate(10, per="minute")
        with pytest.raises(QueueDeclarationError, match="in code Rate"):
            Queue("unit-wrong", rate=10)  # type: ignore[arg-type]
        with pytest.raises(QueueDeclarationError, match="declared twice"):
            Queue("unit-rated", rate=Rate(11, per="minute"))
    finally:
        Queue.declared.pop("unit-rated", None)
