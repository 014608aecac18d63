"""Sync and async mixed up: what would block an event loop, hold a worker or wait for nothing is said."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from holdfast.testing import run_inline
from runs import step, task, wait
from runs.sdk.task import Task


@step
async def fetch(n: int) -> int:
    return n


@task(id="mixed-child")
def child() -> int:
    return 1


@task(id="mixed-own-loop")
def own_loop(kind: str) -> Any:
    async def work() -> Any:
        if kind == "step":
            return await fetch(3)
        if kind == "child":
            return await child.aenqueue_and_wait()
        return await (wait.asleep(60) if kind == "sleep" else wait.asignal("news"))

    return asyncio.run(work())


def test_an_async_step_may_be_called_in_a_plain_functions_own_loop() -> None:
    assert run_inline(own_loop, kind="step").output == 3


@pytest.mark.parametrize("kind", ["sleep", "signal", "child"])
def test_a_wait_in_a_plain_functions_own_loop_is_refused_because_the_run_could_not_leave(kind: str) -> None:
    result = run_inline(own_loop, kind=kind)
    assert result.status == "failed"
    assert result.error is not None
    assert result.error["type"] == "runs.errors.StepMisuse"
    assert "Leave the `a` away, as in wait.sleep(60), or make the task `async def`" in result.error["message"]


@task(id="mixed-forgets-in-def")
def forgets_in_def() -> None:
    wait.aapproval("Publish?")  # type: ignore[unused-coroutine]


@task(id="mixed-forgets-in-async-def")
async def forgets_in_async_def() -> None:
    wait.afirst(wait.asleep(60), wait.asignal("stop"))  # type: ignore[unused-coroutine]


@pytest.mark.parametrize(
    ("forgets", "what"), [(forgets_in_def, "approval 'Publish?'"), (forgets_in_async_def, "the first")]
)
def test_a_wait_that_is_never_awaited_is_a_warning_in_the_runs_log(forgets: Task[..., None], what: str) -> None:
    result = run_inline(forgets)
    assert [(line.level, line.message) for line in result.logs] == [
        ("warning", f"{what} was described and never awaited: nothing was waited for")
    ]


@task(id="mixed-remembers")
async def remembers() -> None:
    await asyncio.gather(wait.asleep(60), wait.asleep(70))
    async with asyncio.TaskGroup() as group:
        group.create_task(wait.asleep(80))
    await wait.afirst(wait.asleep(60), wait.asignal("stop"))


@task(id="mixed-remembers-in-def")
def remembers_in_def() -> None:
    wait.first(wait.asleep(60), wait.asignal("stop"))
    wait.sleep(5)


@pytest.mark.parametrize("remembered", [remembers, remembers_in_def])
def test_a_wait_that_is_waited_for_says_nothing(remembered: Task[..., None]) -> None:
    result = run_inline(remembered)
    assert (result.status, result.logs) == ("completed", ())
