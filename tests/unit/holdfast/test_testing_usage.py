"""The test kit, for tasks with hooks, usage and progress."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated

import pytest
from pydantic import AfterValidator

from holdfast.testing import crash_at, run_inline
from runs import Abort, Failure, current_run, step, task, usage
from runs.sdk.context import current_step
from runs.sdk.task import registry

CALLED: list[object] = []


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    before = set(registry.ids())
    CALLED.clear()
    yield
    for name in set(registry.ids()) - before:
        del registry._tasks[name]


@step
def ask() -> int:
    usage(tokens_in=40, cost=Decimal("0.25"))
    return 7


def test_usage_progress_and_metadata_are_in_the_result() -> None:
    @task
    def spender() -> int:
        current_run().progress(0.5, "half")
        current_run().set_metadata({"topic": "kelp"})
        return ask()

    result = run_inline(spender)
    assert result.usage == {"tokens_in": 40, "cost": Decimal("0.25")}
    assert (result.progress, result.metadata) == (0.5, {"topic": "kelp"})


def test_hooks_are_called_once_each_even_if_the_attempt_dies_after_the_functions_end() -> None:
    @task(on_start=lambda: CALLED.append("start"), on_success=CALLED.append)
    def asks_with_hooks() -> int:
        return ask()

    result = run_inline(asks_with_hooks, crashes=crash_at("snapshot-written", step="hook:on_success"))
    assert (result.status, result.output) == ("completed", 7)
    assert CALLED == ["start", 7]
    assert [a.status for a in result.attempts] == ["crashed", "completed"]


def test_the_hook_of_a_failure_is_told_why() -> None:
    def failed(why: Failure) -> None:
        CALLED.append(why.message)

    @task(on_failure=failed)
    async def fails() -> None:
        raise Abort("no kelp today")

    assert run_inline(fails).status == "failed"
    assert CALLED == ["no kelp today"]


def unreadable_to_hooks(value: int) -> int:
    if current_step.get().startswith("hook:"):
        raise ValueError("this code reads it no more")
    return value


def test_a_result_that_a_hook_cannot_be_given_is_the_hooks_failure_and_not_the_runs() -> None:
    @task(on_success=CALLED.append)
    def gives() -> Annotated[int, AfterValidator(unreadable_to_hooks)]:
        return 7

    result = run_inline(gives)
    assert (result.status, result.output, CALLED) == ("completed", 7, [])
    (kept,) = [s for s in result.snapshots if s.kind == "step"]
    assert kept.error is not None
    assert "result is not what the annotation says: Value error, this code reads it no more" in kept.error["message"]
