"""The kit enters runs again as workers do: tokens that are opened anew or lose a race, and usage between steps."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from holdfast.testing import complete_token, inline, run_inline
from holdfast.testing.errors import NotTheSameSteps
from runs import Retry, WaitTimeout, acheckpoint, current_run, step, task, usage, wait
from runs.sdk.task import registry

TWICE = Retry(max_attempts=2, min_delay=0)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    before = set(registry.ids())
    yield
    for name in set(registry.ids()) - before:
        del registry._tasks[name]


@step
async def same(value: Any) -> Any:
    return value


# ── tokens ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_token_whose_time_is_up_is_opened_anew_by_the_next_attempt_although_a_step_has_sent_the_old_one() -> None:
    @task(id="kit-token-again", retry=TWICE)
    async def asks() -> Any:
        token = await wait.atoken("pay", timeout=5)
        await same(str(token.id))
        return await token

    with inline(asks) as run:
        run.until_waiting()
        run.advance(6)
        run.until_waiting()
        run.complete_token("pay", 7)
        result = run.result()
    assert (result.output, result.calls["same"]) == (7, 1)
    assert [w.outcome for w in result.waits] == ["timed_out", "completed"]


def test_a_token_that_loses_a_race_may_be_raced_again() -> None:
    @task(id="kit-reminds")
    async def reminds() -> list[Any]:
        token = await wait.atoken("pay", type=int)
        for reminders in range(5):
            won = await wait.afirst(token, wait.asleep(60))
            if won.index == 0:
                return [reminders, won.value]
        return [5, await token]

    with inline(reminds) as run:
        run.until_waiting()
        run.advance(61)
        run.until_waiting()
        run.advance(61)
        run.until_waiting()
        run.complete_token("pay", 7)
        result = run.result()
    assert result.output == [2, 7]
    assert run_inline(reminds, answers=[complete_token("pay", 3)]).output == [0, 3]


def test_a_plain_function_waits_for_a_token_after_a_race_that_it_lost() -> None:
    @task(id="kit-reminds-sync")
    def reminds() -> Any:
        token = wait.token("pay", timeout=600)
        won = wait.first(token, wait.asleep(60))
        try:
            return [won.index, token.wait()]
        except WaitTimeout:
            return "too late"

    with inline(reminds) as run:
        run.until_waiting()
        run.advance(61)
        run.until_waiting()
        run.complete_token("pay", "paid")
        assert run.result().output == [1, "paid"]
    with inline(reminds) as run:
        run.until_waiting()
        run.advance(61)
        run.until_waiting()
        run.advance(600)
        assert run.result().output == "too late"


# ── children ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_children_that_are_asked_for_in_another_order_do_not_get_the_results_of_others() -> None:
    entered: list[int] = []

    @task(id="kit-child")
    async def child(number: int) -> int:
        await wait.asleep(60)
        return number

    @task(id="kit-swaps-children")
    async def parent() -> list[int]:
        entered.append(1)
        order = (1, 2) if len(entered) == 1 else (2, 1)
        return list(await asyncio.gather(*(child.aenqueue_and_wait(number=number) for number in order)))

    with pytest.raises(NotTheSameSteps, match=r"child#1@1 was asked for with the payloads that .*child#1@2 had"):
        run_inline(parent)


def test_children_whose_payload_is_another_each_time_get_the_result_of_what_was_enqueued() -> None:
    numbers = iter(range(10))

    @task(id="kit-child-anew")
    async def child(number: int) -> int:
        await wait.asleep(60)
        return number

    @task(id="kit-parent-anew")
    async def parent() -> int:
        return await child.aenqueue_and_wait(number=next(numbers))

    assert run_inline(parent).output == 0


def test_children_are_taken_as_they_end_from_tasks_that_are_started_in_order() -> None:
    @task(id="kit-child-in-order")
    async def child(number: int) -> int:
        await wait.asleep(60 + number)
        return number

    @task(id="kit-takes-children")
    async def parent() -> list[list[int]]:
        async def one(number: int) -> list[int]:
            return [number, await child.aenqueue_and_wait(number=number)]

        return [await done for done in asyncio.as_completed([asyncio.create_task(one(n)) for n in range(6)])]

    assert sorted(run_inline(parent).output) == [[n, n] for n in range(6)]


# ── steps with a key ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_key_that_is_used_twice_is_called_once_and_answers_both() -> None:
    @task(id="kit-key-twice")
    async def reads() -> list[str]:
        found = [await same.using(key=url)(url) for url in ("a", "b", "a")]
        await wait.asleep(60)
        return found

    result = run_inline(reads)
    assert (result.output, result.calls["same"]) == (["a", "b", "a"], 2)
    assert [s.key for s in result.snapshots if s.kind == "step"] == ["same:a", "same:b"]


def test_a_key_that_is_used_twice_is_called_once_in_a_plain_function_too() -> None:
    @step
    def plain(value: int) -> int:
        return value

    @task(id="kit-key-twice-sync")
    def reads() -> list[int]:
        found = [plain.using(key="k")(1), plain.using(key="k")(1)]
        wait.sleep(60)
        return found

    result = run_inline(reads)
    assert (result.output, result.calls["plain"]) == ([1, 1], 1)


def test_usage_between_steps_is_left_out_after_both_calls_with_one_key_have_been_answered() -> None:
    @task(id="kit-key-usage")
    async def reads() -> None:
        await same.using(key="a")("a")
        await same.using(key="a")("a")
        usage(calls=1)
        await same("b")
        await wait.asleep(60)

    assert run_inline(reads).usage == {"calls": 1}


@pytest.mark.parametrize("asleep", [False, True])
def test_one_key_for_calls_with_different_arguments_is_refused(asleep: bool) -> None:
    @task(id="kit-key-for-two")
    async def reads() -> list[int]:
        one = await same.using(key="k")(1)
        if asleep:
            await wait.asleep(60)
        return [one, await same.using(key="k")(2)]

    result = run_inline(reads)
    assert result.calls["same"] == 1
    assert result.error is not None
    assert "was called twice with the key 'k', and with other arguments" in result.error["message"]


def test_one_key_for_two_calls_at_once_is_refused_and_a_failed_one_may_be_called_again() -> None:
    @task(id="kit-key-at-once")
    async def reads() -> Any:
        return await asyncio.gather(same.using(key="k")(1), same.using(key="k")(1))

    error = run_inline(reads).error
    assert error is not None
    assert "while another call with this key is at work" in error["message"]
    tries: list[int] = []

    @step(retry=Retry(max_attempts=1))
    async def moody() -> str:
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionError("no")
        return "yes"

    @task(id="kit-key-again")
    async def insists() -> str:
        try:
            return await moody.using(key="k")()
        except ConnectionError:
            return await moody.using(key="k")()

    assert run_inline(insists).output == "yes"


# ── usage between steps ──────────────────────────────────────────────────────────────────────────────────────────────


def test_usage_after_a_checkpoint_counts_although_the_steps_before_it_are_not_asked_for_again() -> None:
    @task(id="kit-usage-checkpoint", retry=TWICE)
    async def counts() -> None:
        for number in range(current_run().state or 0, 4):
            await same.using(key=str(number))(number)
            usage(calls=1)
            await acheckpoint(number + 1)
            if number == 1 and current_run().attempt == 1:
                raise ValueError("once")

    assert run_inline(counts).usage == {"calls": 4}


def test_usage_after_a_wait_that_is_asked_again_counts() -> None:
    @task(id="kit-usage-wait", retry=TWICE)
    async def counts() -> None:
        await wait.asignal("go", timeout=5)
        await same(1)
        usage(calls=1)

    with inline(counts) as run:
        run.until_waiting()
        run.advance(6)
        run.until_waiting()
        run.send_signal("go")
        assert run.result().usage == {"calls": 1}


def test_usage_of_a_branch_that_replays_is_left_out_although_another_has_gone_on() -> None:
    @task(id="kit-usage-branches")
    async def counts() -> None:
        async def branch(name: str) -> None:
            await same(name)
            usage(calls=1)
            await same(f"{name}{name}")
            await wait.asignal(name)
            usage(signals=1)

        await asyncio.gather(branch("a"), branch("b"))

    with inline(counts) as run:
        run.until_waiting()
        run.send_signal("a")
        run.until_waiting()
        run.send_signal("b")
        assert run.result().usage == {"calls": 2, "signals": 2}
