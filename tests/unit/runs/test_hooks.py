"""Hooks and what they take; progress rows that follow each other."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from runs import Failure, Retry, step
from runs.errors import DeclarationError, InvalidProgress
from runs.sdk.hooks import RETRY, hook_steps
from runs.sdk.progress import checked_metadata, checked_progress
from runs.store import ProgressRow


def test_a_hook_takes_what_it_is_about_or_nothing() -> None:
    seen: list[Any] = []

    def with_it(about: Any) -> None:
        seen.append(about)

    def without() -> None:
        seen.append("nothing")

    hooks = hook_steps({"on_success": with_it, "on_start": without, "on_wait": None}, "task 'x'")
    assert sorted(hooks) == ["on_start", "on_success"]
    hooks["on_success"].function(7)
    hooks["on_start"].function(7)
    assert seen == [7, "nothing"]
    assert (hooks["on_start"].name, hooks["on_start"].retry) == ("hook:on_start", RETRY)


def test_a_step_as_a_hook_brings_its_retry_policy() -> None:
    own = Retry(max_attempts=9)

    @step(retry=own)
    async def tells() -> None: ...

    hook = hook_steps({"on_failure": tells}, "task 'x'")["on_failure"]
    assert (hook.retry, hook.is_async) == (own, True)


def test_what_cannot_be_a_hook_is_refused_where_it_is_declared() -> None:
    def takes_two(a: Any, b: Any) -> None: ...

    with pytest.raises(DeclarationError, match="task 'x': on_start is 'takes_two', which takes more than one argument"):
        hook_steps({"on_start": takes_two}, "task 'x'")
    with pytest.raises(DeclarationError, match="task 'x': on_start is 7; give it a function"):
        hook_steps({"on_start": 7}, "task 'x'")  # type: ignore[dict-item]


def test_a_failure_is_made_of_a_stored_error() -> None:
    assert Failure.of({"type": "ValueError", "message": "no"}) == Failure("ValueError", "no")


def test_the_latest_word_wins_and_what_it_leaves_out_stays() -> None:
    run = uuid.uuid4()
    first = ProgressRow(run, 0.1, "a", None).followed_by(ProgressRow(run, None, None, '{"x": 1}'))
    assert first == ProgressRow(run, 0.1, "a", '{"x": 1}')
    assert first.followed_by(ProgressRow(run, 0.2, "", None)) == ProgressRow(run, 0.2, "", '{"x": 1}')


def test_what_cannot_be_shown_is_refused() -> None:
    assert checked_progress(1, "x" * 300) == (1.0, "x" * 199 + "…")
    for value in (True, -0.1, 1.01, None, "1"):
        with pytest.raises(InvalidProgress, match="write a number from 0 to 1"):
            checked_progress(value, "")
    with pytest.raises(InvalidProgress, match="is no object"):
        checked_metadata({1: 2})
