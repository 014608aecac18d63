"""Hooks and what they take; progress rows that follow each other."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest

from runs import Failure, Retry, step, task
from runs.errors import DeclarationError, InvalidProgress
from runs.sdk.hooks import RETRY, hook_steps
from runs.sdk.progress import checked_metadata, checked_progress
from runs.sdk.task import registry
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


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"safety": "unsafe"}, 'safety="unsafe"; a hook is called again when its worker dies.'),
        (
            {"transaction": True},
            "transaction=True; what a hook writes and that it was called are not committed together.",
        ),
        ({"local": True}, "local=True; no run stays on a machine for the sake of a hook."),
        ({"breaker": "bank"}, 'breaker="bank"; a hook is called whether its breaker is open or not.'),
        ({"heartbeat_timeout": 90}, "heartbeat_timeout=90; nobody watches the heartbeats of a hook."),
    ],
)
@pytest.mark.parametrize(
    ("name", "remedy"), [("on_success", ', with an idempotency_key and idempotency_scope="run"'), ("on_wait", "")]
)
def test_a_step_with_a_promise_that_hooks_do_not_keep_is_refused(
    name: str, remedy: str, options: dict[str, Any], said: str
) -> None:
    async def pay() -> None: ...

    def pay_sync() -> None: ...

    pays = step(name="pay", **options)(pay_sync if options.get("transaction") else pay)
    words = f"task 'x': {name} is step 'pay' with {said} Enqueue a task that calls it{remedy}."
    with pytest.raises(DeclarationError, match=f"^{re.escape(words)}$"):
        task(id="x", **{name: pays})(pay)
    assert registry.get("x") is None


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
