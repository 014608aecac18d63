"""What a snapshot shows as the input of its step: the arguments of the call, whatever the function does to them."""

from __future__ import annotations

import pytest

from holdfast.testing import run_inline
from runs import Retry, step, task, wait

TWICE = Retry(max_attempts=2, min_delay=0)


def eats(items: list[int]) -> int:
    taken = len(items)
    items.clear()
    if taken == 1:
        raise ConnectionError("only one")
    return taken


async def eats_later(items: list[int]) -> int:
    return eats(items)


@pytest.mark.parametrize("options", [{}, {"safety": "unsafe"}])
def test_arguments_are_shown_as_the_step_was_called_with_them(options: dict[str, object]) -> None:
    eat = step(name="eat", **options)(eats)  # type: ignore[call-overload]

    @task(id="inputs-plain")
    def meal() -> int:
        taken: int = eat([1, 2, 3])
        wait.sleep(60)
        return taken

    result = run_inline(meal)
    assert (result.status, result.output) == ("completed", 3)
    assert {s.kind: s.input for s in result.snapshots if s.name == "eat"}["step"] == {"items": [1, 2, 3]}


def test_a_step_that_is_answered_from_its_snapshot_is_not_said_to_have_other_arguments() -> None:
    eat = step(name="eat")(eats_later)

    @task(id="inputs-later")
    async def meal() -> int:
        taken = await eat([1, 2, 3])
        await wait.asleep(60)
        return taken

    result = run_inline(meal)
    assert result.snapshots[0].input == {"items": [1, 2, 3]}
    assert result.logs == ()


def test_a_try_that_fails_shows_what_the_call_was_given() -> None:
    eat = step(name="eat", retry=TWICE)(eats)

    @task(id="inputs-failed")
    def meal() -> int:
        return eat([7])

    result = run_inline(meal)
    assert [(s.kind, s.input) for s in result.snapshots] == [("failure", {"items": [7]}), ("step", {"items": [7]})]
