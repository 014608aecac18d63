"""What the test kit says to a test that asks for what cannot be, or never comes to what it is about."""

from __future__ import annotations

from datetime import datetime

import pytest

from holdfast.testing import Clock, complete_token, crash_at, inline, run_inline
from holdfast.testing.errors import (
    AnswerNotAsked,
    BadCall,
    CrashPointMissed,
    NotTheSameSteps,
    NotWaiting,
    StillWaiting,
)
from runs import step, task, wait
from runs.errors import InvalidPayload


@step
async def fetch(page: int) -> int:
    return page * 10


@task(id="kit-browse")
async def browse(count: int = 3) -> list[int]:
    return [await fetch(page) for page in range(count)]


@task(id="kit-ask")
async def ask(text: str) -> bool:
    return (await wait.aapproval("Publish?", context=text)).approved


@task(id="kit-nothing")
def nothing() -> None:
    pass


def test_what_cannot_be_is_said_with_what_to_write_instead() -> None:
    with pytest.raises(BadCall, match="is no task; give the function that @task wraps"):
        run_inline(fetch)  # type: ignore[arg-type]
    with pytest.raises(InvalidPayload, match=r"payload\.count"):
        run_inline(browse, count="many")
    with pytest.raises(BadCall, match="did you mean 'snapshot-written'"):
        crash_at("snapshot-writen")
    with pytest.raises(BadCall, match="no point of a step"):
        crash_at("wait-opened", step="fetch")
    with pytest.raises(BadCall, match="nth is 0"):
        crash_at("before-step", nth=0)
    with pytest.raises(BadCall, match="start is"):
        Clock(datetime(2026, 1, 1))
    with pytest.raises(BadCall, match="cannot be passed"):
        Clock().advance(-1)
    with pytest.raises(BadCall, match="is no answer"):
        run_inline(browse, answers=["yes"])  # type: ignore[list-item]


def test_a_test_that_never_comes_to_its_point_fails() -> None:
    with pytest.raises(CrashPointMissed, match=r"crash_at\('snapshot-written', step='fetsh'\); it called fetch"):
        run_inline(browse, crashes=crash_at("snapshot-written", step="fetsh"))
    with pytest.raises(AnswerNotAsked, match=r"complete_token\('payment'\)"):
        run_inline(browse, answers=[complete_token("payment", 1)])
    with pytest.raises(StillWaiting, match=r"approval 'Publish\?'.*answers=\[complete_approval\('Publish\?'\)\]"):
        run_inline(ask, text="abc")
    with inline(browse) as run, pytest.raises(NotWaiting, match="ended instead"):
        run.until_waiting()


def test_a_payload_may_have_the_names_of_options() -> None:
    @task(id="kit-names")
    async def names(tags: list[str]) -> list[str]:
        return tags

    assert run_inline(names, payload={"tags": ["a"]}).output == ["a"]


def test_inside_a_run_there_is_no_inline_run() -> None:
    @task(id="kit-nested")
    def nested() -> None:
        run_inline(nothing)

    error = run_inline(nested).error
    assert error is not None
    assert "inside a run" in error["message"]


def test_code_that_asks_for_other_steps_when_it_is_entered_again_is_told_and_not_entered_for_ever() -> None:
    entered: list[int] = []

    @step
    async def lend(page: int) -> None: ...

    @task(id="kit-whim")
    async def whim() -> None:
        entered.append(1)
        await (fetch(1) if len(entered) == 1 else lend(1))
        await wait.asleep(60)
        await fetch(2)

    with pytest.raises(NotTheSameSteps, match=r"kit-whim .* lend#1 was asked for where the history has fetch#1\. A"):
        run_inline(whim)
    assert len(entered) == 2


def test_steps_that_swap_their_arguments_are_told() -> None:
    entered: list[int] = []

    @task(id="kit-swap")
    async def swap() -> None:
        entered.append(1)
        for page in (1, 2) if len(entered) == 1 else (2, 1):
            await fetch(page)
        await wait.asleep(60)

    with pytest.raises(NotTheSameSteps, match="fetch#1 was called with the arguments that fetch#2 had"):
        run_inline(swap)
