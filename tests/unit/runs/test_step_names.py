"""A step's name stands for one function in a run."""

from __future__ import annotations

import pytest

from holdfast.testing import run_inline
from runs import step, task
from runs.errors import DeclarationError


@step(name="fetch")
def from_shop(page: int) -> str:
    return f"shop {page}"


@step(name="fetch")
def from_store(page: int) -> str:
    return f"store {page}"


@task(id="names-both")
def both() -> list[str]:
    return [from_shop(1), from_store(2)]


@task(id="names-one-at-a-time")
def one(shop: bool) -> str:
    return from_shop(1) if shop else from_store(1)


@task(id="names-made-anew")
async def anew() -> list[int]:
    found = []
    for number in range(3):

        @step
        async def square(number: int = number) -> int:
            return number**2

        found.append(await square())
    return found


def test_two_functions_of_one_name_are_told_apart_before_one_gets_the_result_of_the_other() -> None:
    result = run_inline(both)
    assert result.status == "failed"
    assert result.error is not None
    assert result.error["type"] == "runs.errors.StepMisuse"
    for words in ("Two functions are step 'fetch'", "from_shop", "from_store", '@step(name="…")'):
        assert words in result.error["message"]


def test_runs_that_call_one_of_them_go_on() -> None:
    assert [run_inline(one, shop=shop).output for shop in (True, False)] == ["shop 1", "store 1"]


def test_a_function_that_is_made_anew_is_the_same_one() -> None:
    assert run_inline(anew).output == [0, 1, 4]


@pytest.mark.parametrize("name", ["hook", "hook:mine", "hook:on_success"])
def test_the_names_of_hooks_are_kept_for_hooks(name: str) -> None:
    with pytest.raises(DeclarationError, match=rf"step '{name}': .* are a task's hooks.*another name"):
        step(name=name)(from_shop.function)
    assert step(name="hooks:mine")(from_shop.function).name == "hooks:mine"
