"""A thread that code of a run starts does not know the run: a step called there says so."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from holdfast.testing import run_inline
from runs import step, task


@step
def double(number: int) -> int:
    return 2 * number


@task(id="lost-in-pool")
def pooled(plain: bool = False) -> list[int]:
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(double.function if plain else double, range(3)))


@task(id="lost-in-executor")
async def in_executor() -> int:
    return await asyncio.get_running_loop().run_in_executor(None, double, 4)


@pytest.mark.parametrize("lost", [pooled, in_executor])
def test_a_step_in_a_thread_that_knows_no_run_is_refused(lost: object) -> None:
    result = run_inline(lost)
    assert result.status == "failed"
    assert result.error["type"] == "runs.errors.NotInRun"
    assert "asyncio.to_thread" in result.error["message"]
    assert "double.function(" in result.error["message"]


def test_its_plain_function_may_be_called_there() -> None:
    assert run_inline(pooled, plain=True).output == [0, 2, 4]


def test_where_nothing_executes_runs_a_thread_may_call_it() -> None:
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(double, 4).result() == 8
