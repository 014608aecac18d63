"""Heartbeats without servers: in unit tests of a user's own, in the test kit, and declared wrongly."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from holdfast.testing import crash_at, run_inline
from runs import HeartbeatLost, Retry, heartbeat, step, task
from runs.errors import DeclarationError, NotSerializable


@step(retry=Retry(max_attempts=3, min_delay=1, max_delay=2))
async def counted(most: int) -> int:
    begin: int = heartbeat.last() or 0
    for number in range(begin, most):
        heartbeat(number + 1)
        if number + 1 == most // 2 and begin == 0:
            raise ConnectionError("half-way")
    return begin


@task(id="unit-beat-counted")
async def counting(most: int = 8) -> int:
    return await counted(most)


def test_outside_a_run_a_heartbeat_does_nothing() -> None:
    heartbeat({"rows": 1})
    assert heartbeat.last() is None


def test_the_next_try_of_an_inline_run_is_told_the_last_details() -> None:
    assert run_inline(counting).output == 4


def test_so_is_the_next_attempt_after_a_crash() -> None:
    assert run_inline(counting, crashes=crash_at("step-called")).output == 8


@pytest.mark.parametrize(
    ("details", "words"),
    [
        ({"a": object()}, "a"),
        (float("nan"), "details"),
        ("x" * 70_000, "65,536"),
    ],
)
def test_details_that_cannot_be_kept_are_named(details: Any, words: str) -> None:
    with pytest.raises(NotSerializable, match=words):
        heartbeat(details)


def test_a_plain_function_cannot_be_lost_and_is_told_what_to_do() -> None:
    with pytest.raises(DeclarationError, match="needs `async def`"):

        @step(heartbeat_timeout=5)
        def plain() -> None: ...

    with pytest.raises(DeclarationError, match="greater than 0"):

        @step(heartbeat_timeout=0)
        async def never() -> None: ...

    assert counted.using(heartbeat_timeout=timedelta(minutes=1)).heartbeat_timeout == 60


def test_a_lost_heartbeat_crosses_process_borders() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(HeartbeatLost("Step 'x' gave no heartbeat for 1 s.", last="5")))
    assert (str(error), error.data) == ("Step 'x' gave no heartbeat for 1 s.", {"last": "5"})
