"""What steps and tasks raise, and what follows from it: odd exceptions go by the same policy as any other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from holdfast.testing import run_inline
from runs import Abort, OutcomeUnknown, Reconciled, Retry, step, task

TWICE = Retry(max_attempts=2, min_delay=0)


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


class MuteAndUnsure(OutcomeUnknown, Mute):
    __str__ = Mute.__str__


class Unready(Exception):
    @property
    def retry_after(self) -> int:
        raise LookupError("the answer had no such header")


def once(error: BaseException) -> Callable[[], int]:
    """A function that raises when it is called first."""
    left = [error]

    def function() -> int:
        if left:
            raise left.pop()
        return 7

    return function


@pytest.mark.parametrize("error", [Mute(), Unready("not yet")])
def test_an_error_that_cannot_tell_of_itself_is_retried_as_the_step_says(error: Exception) -> None:
    @task(id="raised-odd")
    def calls() -> int:
        return step(name="odd", retry=TWICE)(once(error))()

    result = run_inline(calls)
    assert (result.status, result.output, result.calls["odd"]) == ("completed", 7, 2)
    assert [a.status for a in result.attempts] == ["completed"]


def test_an_error_without_words_is_shown_as_such() -> None:
    @task(id="raised-mute")
    def calls() -> int:
        return step(name="mute", retry=TWICE)(once(Mute()))()

    (line,) = run_inline(calls).logs
    assert "step mute#1 failed (Mute: (its message cannot be shown: ValueError)); try 2 of 2" in line.message


@pytest.mark.parametrize("doubt", [Mute(), MuteAndUnsure()])
def test_a_reconcile_hook_is_heard_even_if_the_doubt_has_no_words(doubt: Exception) -> None:
    def did_not(*, step_key: str) -> Reconciled:
        return Reconciled.did_not_happen()

    @task(id="raised-unsafe")
    def calls() -> Any:
        return step(name="pay", safety="unsafe", reconcile=did_not, retry=TWICE)(once(doubt))()

    assert run_inline(calls).output == 7


def test_a_reconcile_hook_without_words_leaves_the_run_to_a_person() -> None:
    def fails(*, step_key: str) -> Reconciled:
        raise Mute

    @task(id="raised-reconcile")
    def calls() -> Any:
        return step(name="pay", safety="unsafe", reconcile=fails)(once(MuteAndUnsure()))()

    result = run_inline(calls)
    assert result.status == "unknown"
    assert result.error is not None
    assert "it failed with Mute: (its message cannot be shown: ValueError)" in result.error["message"]


def test_an_abort_in_a_task_group_fails_the_run_at_once() -> None:
    @step
    async def refuses() -> None:
        raise Abort("no use")

    @task(id="raised-group", retry=TWICE)
    async def calls() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(refuses())

    result = run_inline(calls)
    assert (result.status, [a.status for a in result.attempts], result.calls["refuses"]) == ("failed", ["failed"], 1)
