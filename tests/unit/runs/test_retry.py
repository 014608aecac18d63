"""Retry policies: when, how often, how long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs import Abort, Retry
from runs.errors import DeclarationError
from runs.sdk.retry import is_abort


def least(low: float, _high: float) -> float:
    return low


def most(_low: float, high: float) -> float:
    return high


@given(
    failures=st.integers(1, 1_000),
    factor=st.floats(1, 100),
    low=st.floats(0, 1_000),
    more=st.floats(0, 1_000),
)
def test_a_delay_lies_between_the_shortest_and_the_longest_however_many_failures(
    failures: int, factor: float, low: float, more: float
) -> None:
    retry = Retry(max_attempts=3, factor=factor, min_delay=low, max_delay=low + more)
    assert low <= retry.delay(failures) <= max(low, low + more)


def test_the_ceiling_doubles_with_each_failure_until_the_longest() -> None:
    retry = Retry(max_attempts=9, factor=2, min_delay=1, max_delay=10)
    assert [round(retry.delay(n, uniform=most), 6) for n in (1, 2, 3, 4, 5)] == [2, 4, 8, 10, 10]
    assert {retry.delay(n, uniform=least) for n in range(1, 6)} == {1.0}, "jitter reaches down to min_delay"


def test_without_jitter_the_ceiling_itself_is_the_delay() -> None:
    assert Retry(max_attempts=2, min_delay=3, max_delay=3, jitter=False).delay(1) == 3


class Busy(Exception):
    retry_after = 7


def test_a_delay_that_the_server_told_is_obeyed() -> None:
    assert Retry(max_attempts=2).delay(1, Busy()) == 7


def test_what_cannot_heal_is_not_tried_again() -> None:
    retry = Retry(max_attempts=5, retry_on=(OSError,), abort_on=(FileNotFoundError,))
    assert retry.allows(ConnectionError(), 1)
    assert not retry.allows(ConnectionError(), 5), "the budget is spent"
    assert not retry.allows(FileNotFoundError(), 1)
    assert not retry.allows(ValueError(), 1)
    assert not retry.allows(Abort("no use"), 1)
    assert not Retry(max_attempts=5).allows(KeyboardInterrupt(), 1)
    assert retry.allows(ConnectionError(), 5, max_attempts=6)


def test_a_group_with_what_cannot_heal_is_not_tried_again() -> None:
    retry = Retry(max_attempts=5, abort_on=(FileNotFoundError,))
    assert retry.allows(ExceptionGroup("two", [ConnectionError(), OSError()]), 1)
    assert not retry.allows(ExceptionGroup("two", [ConnectionError(), Abort("no use")]), 1)
    assert not retry.allows(ExceptionGroup("deep", [ExceptionGroup("inner", [FileNotFoundError()])]), 1)


def test_a_group_of_aborts_alone_blames_nobody_else() -> None:
    assert is_abort(Abort("no use"))
    assert is_abort(ExceptionGroup("two", [Abort("a"), ExceptionGroup("inner", [Abort("b")])]))
    assert not is_abort(ExceptionGroup("two", [Abort("a"), ConnectionError()]))
    assert not is_abort(ConnectionError())


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_attempts": 10**9}, "max_attempts"),
        ({"factor": 0.5}, "factor"),
        ({"factor": float("nan")}, "factor"),
        ({"min_delay": 5, "max_delay": 1}, "min_delay"),
        ({"min_delay": -1}, "min_delay"),
    ],
)
def test_a_policy_that_cannot_work_says_what_to_write(arguments: dict[str, float], word: str) -> None:
    with pytest.raises(DeclarationError, match=f"{word}.*write"):
        Retry(**arguments)  # type: ignore[arg-type]
