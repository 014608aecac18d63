"""The kit with steps that somebody outside finishes (the test is that somebody), and with runs of several rounds."""

from __future__ import annotations

import pytest

from holdfast.testing import complete_token, crash_at, fail_token, inline, run_inline
from runs import Abort, CompletionFailed, Retry, acompletion, completion, continue_as_new, step, task, wait
from runs.errors import InvalidPayload


@step(retry=Retry(max_attempts=3, min_delay=5, max_delay=10))
async def film(scene: str) -> int:
    later = await acompletion(timeout=3_600)
    later.hand_over()


@task(id="kit-films")
async def films(scene: str) -> int:
    return await film(scene)


@step
def print_out() -> str:
    completion().hand_over()


@task(id="kit-prints")
def prints() -> str:
    return print_out()


def test_a_step_is_finished_by_the_test() -> None:
    result = run_inline(films, scene="kelp", answers=[complete_token("film", 90)])
    assert (result.output, result.calls["film"]) == (90, 1)
    assert run_inline(prints, answers=[complete_token("print_out", "done")]).output == "done"


def test_a_value_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidPayload, match="value"):
        run_inline(films, scene="kelp", answers=[complete_token("film", "long")])


def test_a_failure_and_a_silence_are_failed_tries() -> None:
    with inline(films, scene="kelp") as run:
        run.until_waiting()
        run.fail_token("film", "the lamp broke")
        run.until_waiting()
        run.advance(3_600)
        run.until_waiting()
        run.complete_token("film", 90)
        result = run.result()
    assert (result.output, result.calls["film"]) == (90, 3)
    assert [wait.outcome for wait in result.waits if wait.kind == "token"] == ["failed", "timed_out", "completed"]


@pytest.mark.parametrize(("retry", "error"), [(True, CompletionFailed), (False, Abort)])
def test_what_the_code_is_told(retry: bool, error: type[Exception]) -> None:
    @step
    async def once() -> None:
        (await acompletion()).hand_over()

    @task(id=f"kit-told-{retry}")
    async def told() -> str:
        try:
            await once()
        except Exception as raised:
            return type(raised).__name__
        return "nothing"

    assert run_inline(told, answers=[fail_token("once", "no", retry=retry)]).output == error.__name__


@pytest.mark.parametrize(
    ("point", "calls"), [("before-step", 1), ("handed-written", 1), ("wait-opened", 2), ("snapshot-written", 1)]
)
def test_wherever_the_attempt_dies_the_function_is_left_once(point: str, calls: int) -> None:
    result = run_inline(films, scene="kelp", answers=[complete_token("film", 90)], crashes=crash_at(point))
    assert (result.output, result.calls["film"]) == (90, calls)


@step
async def counted(total: int) -> int:
    return total


@task(id="kit-rounds")
async def rounds(left: int, total: int = 0) -> int:
    assert await counted(total) == total
    await wait.asleep(60)
    if left:
        continue_as_new(left=left - 1, total=total + left)
    return total


def test_a_run_has_rounds_and_one_result() -> None:
    result = run_inline(rounds, left=3)
    assert (result.output, result.calls["counted"], result.slept) == (6, 4, 240)
    assert [a.status for a in result.attempts] == ["completed"] * 4


@pytest.mark.parametrize("point", ["before-step", "snapshot-written", "wait-opened", "answer-written", "before-finish"])
def test_wherever_a_round_dies_it_is_that_round_which_begins_again(point: str) -> None:
    result = run_inline(rounds, left=3, crashes=crash_at(point, nth=3))
    assert result.output == 6
    assert [a.status for a in result.attempts].count("crashed") == 1


def test_a_payload_that_does_not_fit_fails_the_run() -> None:
    @task(id="kit-rounds-badly")
    def badly(left: int) -> None:
        continue_as_new(left="none")

    result = run_inline(badly, left=1)
    assert (result.status, "left" in str(result.error)) == ("failed", True)
