"""Mistakes in what `@task`, `@step` and `Retry` are given: refused at import, with what to write instead."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from runs import Retry, step, task
from runs.errors import DeclarationError, InvalidOption, InvalidPayload
from runs.sdk.task import registry


def one(n: int) -> int:
    return n


def yields() -> Iterator[int]:
    yield 1


async def yields_later() -> AsyncIterator[int]:
    yield 1


class Machine:
    def start(self, n: int) -> None: ...


@step
def a_step(n: int) -> int:
    return n


@task(id="declared-task")
def a_task(n: int) -> int:
    return n


@pytest.mark.parametrize("decorator", [task, step])
@pytest.mark.parametrize(
    ("over", "said"),
    [
        ("my-name", r"write @(task\(id|step\(name)="),
        (Machine, "over a function"),
        (functools.partial(one, 1), "over a function"),
        (7, "over a function"),
        (yields, "it yields"),
        (yields_later, "it yields"),
        (Machine.start, "at module level"),
        (a_step, "one decorator over each function"),
        (a_task, "one decorator over each function"),
    ],
)
def test_what_a_decorator_cannot_stand_over_is_refused(decorator: Any, over: Any, said: str) -> None:
    known = registry.ids()
    with pytest.raises(DeclarationError, match=said):
        decorator(over)
    assert registry.ids() == known, "nothing of it is registered"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"id": 5}, "letters, digits"),
        ({"retry": 3}, r"retry=Retry\(max_attempts=3\)"),
        ({"queue": "crm"}, r'queue=Queue\("name"\)'),
        ({"middleware": one}, r"such as \[bind\]"),
        ({"middleware": "shop.tracing.bind"}, r"such as \[bind\]"),
        ({"signals": 1}, "write a list of names"),
        ({"events": 1}, "write a list of names"),
    ],
)
def test_an_argument_of_a_task_of_another_type_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(DeclarationError, match=said):
        task(**{"id": "declared-wrong", **given})(one)


@pytest.mark.parametrize("declare", [lambda: step(retry=3)(one), lambda: a_step.using(retry=3)])  # type: ignore[call-overload, arg-type]
def test_a_retry_policy_of_a_step_is_a_retry(declare: Callable[[], Any]) -> None:
    with pytest.raises(DeclarationError, match=r"retry=Retry\(max_attempts=3\)"):
        declare()


@pytest.mark.parametrize(
    "given",
    [
        {"max_attempts": "3"},
        {"max_attempts": True},
        {"factor": "2"},
        {"factor": float("nan")},
        {"min_delay": "1"},
        {"max_delay": timedelta(minutes=1)},
        {"retry_on": ValueError},
        {"retry_on": [ValueError]},
        {"retry_on": ("ValueError",)},
        {"abort_on": ValueError},
        {"abort_on": (ValueError("x"),)},
    ],
)
def test_a_policy_that_would_only_fail_with_its_first_failure_is_refused_at_once(given: dict[str, Any]) -> None:
    (name,) = given
    with pytest.raises(DeclarationError, match=f"Retry: .*{name} .*write"):
        Retry(**given)


@pytest.mark.parametrize("tags", ["import", 5])
def test_one_tag_is_not_taken_for_its_letters(tags: Any) -> None:
    with pytest.raises(InvalidOption, match=r"options\.tags must be a list"):
        a_task.using(tags=tags)
    assert a_task.using(tags=("import", "night")).options.tags == ["import", "night"]
    assert a_task.using(tags=()).options.tags == []


@pytest.mark.parametrize("payloads", [5, "ab", {"n": 1}])
def test_many_payloads_are_a_list_of_objects(payloads: Any) -> None:
    with pytest.raises(InvalidPayload, match="payloads must be a list of objects"):
        a_task.enqueue_many(payloads)
