"""The users' test kit: a run in the test's own process, by the engine's rules, with a clock that jumps."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from holdfast.testing import (
    POINTS,
    Clock,
    arun_inline,
    complete_approval,
    complete_token,
    crash_at,
    inline,
    reject_approval,
    run_inline,
    send_signal,
)
from holdfast.testing.errors import (
    InEventLoop,
    NotWaiting,
)
from runs import (
    OutcomeUnknown,
    Reconciled,
    Retry,
    RunFailed,
    WaitTimeout,
    acheckpoint,
    checkpoint,
    current_run,
    log,
    step,
    stream,
    task,
    wait,
)
from runs.errors import InvalidPayload
from runs.sdk.task import registry

FEW = Retry(max_attempts=3, min_delay=10, max_delay=3_600)


class Edits(BaseModel):
    title: str


@pytest.fixture(autouse=True)
def own_tasks() -> Iterator[None]:
    """Tasks that a test declares are forgotten after it."""
    known = dict(registry._tasks)
    yield
    registry._tasks.clear()
    registry._tasks.update(known)


# ── replay ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@step
async def fetch(page: int) -> int:
    return page * 10


@step
def add(numbers: list[int]) -> int:
    return sum(numbers)


@task(id="kit-pages", retry=FEW)
async def pages(count: int = 3, fails: int = 0) -> list[int]:
    found = [await fetch(page) for page in range(count)]
    await acheckpoint({"pages": len(found)})
    if current_run().attempt <= fails:
        raise ConnectionError("the wire was cut")
    return found


@task(id="kit-plain", retry=FEW)
def plain(fails: int = 0) -> int:
    total = add([1, 2])
    checkpoint({"total": total})
    if current_run().attempt <= fails:
        raise ConnectionError("the wire was cut")
    return total


def test_a_run_goes_to_its_end_and_tells_what_it_left_behind() -> None:
    result = run_inline(pages, count=2)
    assert (result.status, result.output, result.error) == ("completed", [0, 10], None)
    assert result.steps == ("fetch", "fetch")
    assert [s.key for s in result.snapshots] == ["fetch#1", "fetch#2", ""]
    assert [s.input for s in result.snapshots[:2]] == [{"page": 0}, {"page": 1}]
    assert result.state == {"pages": 2}
    assert result.slept == 0


@pytest.mark.parametrize("failing", [pages, plain], ids=["async", "sync"])
def test_a_failed_attempt_is_followed_by_one_that_keeps_the_finished_steps(failing: Any) -> None:
    result = run_inline(failing, fails=2)
    assert [(a.number, a.status) for a in result.attempts] == [(1, "failed"), (2, "failed"), (3, "completed")]
    assert set(result.calls.values()) == ({3} if failing is pages else {1})
    assert result.slept >= 20  # two delays of at least ten seconds


def test_a_run_that_has_no_attempt_left_has_failed_and_its_error_is_told_not_raised() -> None:
    result = run_inline(pages, fails=3)
    assert (result.status, result.output) == ("failed", None)
    assert result.error is not None
    assert (result.error["type"], result.error["message"]) == ("ConnectionError", "the wire was cut")
    assert run_inline(pages, fails=1, max_attempts=1).status == "failed"


@pytest.mark.parametrize("delay", [0.5, 30.0])
def test_a_step_tries_again_by_itself_and_the_delay_passes_at_once(delay: float) -> None:
    tries = []

    @step(retry=Retry(max_attempts=3, min_delay=delay, max_delay=delay))
    async def flaky() -> int:
        tries.append(current_run().attempt)
        if len(tries) < 3:
            raise ConnectionResetError("again")
        return len(tries)

    @task(id="kit-flaky")
    async def flaky_task() -> int:
        return await flaky()

    result = run_inline(flaky_task)
    assert (result.output, result.calls["flaky"], result.slept) == (3, 3, pytest.approx(2 * delay))
    assert [a.status for a in result.attempts] == ["completed"]
    assert [s.kind for s in result.snapshots] == ["failure", "failure", "step"]


def test_a_step_takes_its_timeout_in_real_seconds() -> None:
    @step(timeout=0.05)
    async def hang() -> None:
        await asyncio.sleep(30)

    @task(id="kit-hangs")
    async def hangs() -> None:
        await hang()

    result = run_inline(hangs)
    assert result.error is not None
    assert "took longer than 0.05 s" in result.error["message"]


# ── time, answers ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_sleeps_take_no_time_but_the_clock_shows_them() -> None:
    seen = []

    @task(id="kit-sleeps")
    async def sleeps() -> None:
        seen.append("entered")
        await wait.asleep(timedelta(days=1))
        await asyncio.gather(wait.asleep(10), wait.asleep(30))
        await wait.auntil(datetime(2026, 6, 1, tzinfo=UTC))

    clock = Clock(datetime(2026, 5, 1, tzinfo=UTC))
    result = run_inline(sleeps, clock=clock)
    assert result.status == "completed"
    assert clock.time == datetime(2026, 6, 1, tzinfo=UTC)
    assert result.slept == timedelta(days=31).total_seconds()
    assert len(seen) > 2  # each wait put it down, and it was entered again
    assert len(result.attempts) == 1


@task(id="kit-publish", retry=FEW)
async def publish(text: str, patience: float | None = None) -> str:
    draft = await fetch(len(text))
    decision = await wait.aapproval("Publish?", form=Edits, timeout=patience, assignee="ada")
    if not decision.approved:
        return f"rejected by {decision.by}: {decision.comment}"
    assert decision.form is not None
    return f"{decision.form.title} {draft}"


def test_answers_are_given_once_the_run_asks_for_them() -> None:
    result = run_inline(publish, text="abc", answers=[complete_approval("Publish?", form=Edits(title="Kelp"))])
    assert result.output == "Kelp 30"
    assert [(w.kind, w.name, w.outcome) for w in result.waits] == [("approval", "Publish?", "completed")]
    assert result.waits[0].detail["assignee"] == "ada"
    assert result.calls["fetch"] == 1

    result = run_inline(publish, text="abc", answers=[reject_approval("Publish?", by="ada", comment="too short")])
    assert result.output == "rejected by ada: too short"


def test_a_wait_that_nobody_answers_times_out() -> None:
    result = run_inline(publish, text="abc", patience=3_600, max_attempts=1)
    assert result.slept == 3_600
    assert result.error is not None
    assert result.error["type"] == "runs.errors.WaitTimeout"


def test_a_test_acts_while_the_run_waits() -> None:
    with inline(publish, text="abc") as run:
        run.until_waiting()
        assert run.status == "waiting"
        assert [w.name for w in run.waiting_for] == ["Publish?"]
        with pytest.raises(InvalidPayload, match="title"):
            run.complete_approval("Publish?", form={"name": "Kelp"})
        with pytest.raises(NotWaiting, match=r"complete_approval\('Delete\?'\), but for approval 'Publish\?'"):
            run.complete_approval("Delete?")
        run.complete_approval("Publish?", form={"title": "Kelp"})
        assert run.result().output == "Kelp 30"
        with pytest.raises(NotWaiting, match="is completed"):
            run.send_signal("late")


def test_the_clock_is_moved_by_hand_up_to_a_timeout_and_beyond() -> None:
    with inline(publish, text="abc", patience=60, max_attempts=1) as run:
        assert run.until_waiting().advance(59).status == "waiting"
        assert run.advance(1).status == "failed"


def test_signals_are_kept_and_tokens_are_completed_in_plain_functions_too() -> None:
    @task(id="kit-outside")
    def outside() -> list[Any]:
        token = wait.token("payment", type=int)
        return [wait.signal("paid"), wait.signal("paid"), token.wait()]

    answers = [send_signal("paid", 1), complete_token("payment", 7), send_signal("paid", 2)]
    assert run_inline(outside, answers=answers).output == [1, 2, 7]


def test_a_race_is_won_by_what_comes_first() -> None:
    @task(id="kit-race")
    async def race() -> list[Any]:
        first = await wait.afirst(wait.asignal("stop"), wait.asleep(60))
        return [first.index, first.value]

    assert run_inline(race).output == [1, None]
    assert run_inline(race, answers=[send_signal("stop", "now")]).output == [0, "now"]


def test_a_branch_that_waits_beside_one_that_works_gets_its_answer() -> None:
    @task(id="kit-beside")
    async def beside() -> str:
        done = asyncio.Event()

        async def listen() -> None:
            await wait.asignal("stop")
            done.set()

        async def work() -> None:
            while not done.is_set():
                await asyncio.sleep(0.01)

        await asyncio.gather(listen(), work())
        return current_run().task_id

    assert run_inline(beside, answers=[send_signal("stop")]).output == "kit-beside"


def test_a_timeout_can_be_caught_as_elsewhere() -> None:
    @task(id="kit-catches")
    async def catches() -> str:
        try:
            await wait.asignal("never", timeout=5)
        except WaitTimeout as error:
            return str(error.data["name"])
        return ""

    assert run_inline(catches).output == "never"


def test_run_timeout_counts_waits() -> None:
    @task(id="kit-too-long", run_timeout=100)
    async def too_long() -> None:
        await wait.asleep(101)

    result = run_inline(too_long)
    assert (result.status, result.slept) == ("timed_out", 100)


# ── children ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_children_run_inline_and_their_failures_are_told() -> None:
    @task(id="kit-family")
    async def family() -> list[Any]:
        numbers = await pages.aenqueue_many_and_wait([{"count": 1}, {"count": 2}])
        try:
            await pages.using(max_attempts=1).aenqueue_and_wait(fails=1)
        except RunFailed as error:
            return [*numbers, error.data["status"]]
        return []

    result = run_inline(family)
    assert result.output == [[0], [0, 10], "failed"]
    assert [child.status for child in result.children] == ["completed", "completed", "failed"]


def test_a_child_may_ask_somebody() -> None:
    @task(id="kit-parent")
    def parent() -> str:
        return publish.enqueue_and_wait(text="abc")

    with inline(parent) as run:
        run.until_waiting().complete_approval("Publish?", form={"title": "Kelp"})
        assert run.result().output == "Kelp 30"


# ── crashes ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@task(id="kit-all")
async def everything() -> int:
    first = await fetch(1)
    await acheckpoint({"first": first})
    await wait.asignal("go")
    return first + await fetch(2)


@pytest.mark.parametrize("point", sorted(set(POINTS) - {"failure-written", "intent-written", "handed-written"}))
def test_wherever_an_attempt_dies_the_run_ends_the_same(point: str) -> None:
    result = run_inline(everything, answers=[send_signal("go")], crashes=crash_at(point))
    assert (result.status, result.output, result.state) == ("completed", 30, {"first": 10})
    died = [] if point == "finish-written" else ["crashed"]
    assert [a.status for a in result.attempts] == [*died, "completed"]
    assert result.calls["fetch"] == (3 if point == "step-called" else 2)


def test_a_stored_step_is_not_called_again_and_one_that_was_not_is() -> None:
    result = run_inline(pages, crashes=crash_at("snapshot-written", step="fetch#2"))
    assert (result.calls["fetch"], result.output) == (3, [0, 10, 20])
    result = run_inline(pages, crashes=crash_at("step-called", step="fetch", nth=2))
    assert (result.calls["fetch"], result.output) == (4, [0, 10, 20])
    assert any("may have been executed before" in line.message for line in result.logs)


@pytest.mark.parametrize("point", ["before-step", "step-called", "snapshot-written", "checkpoint-written"])
def test_a_plain_function_dies_as_well(point: str) -> None:
    result = run_inline(plain, crashes=crash_at(point))
    assert (result.output, [a.status for a in result.attempts]) == (3, ["crashed", "completed"])


def test_what_a_dead_attempt_still_does_is_not_stored() -> None:
    @task(id="kit-finally")
    async def tidies() -> int:
        try:
            return await fetch(1)
        finally:
            log.info("tidy")
            if not current_run().is_replaying and current_run().attempt == 1:
                await fetch(2)

    result = run_inline(tidies, crashes=crash_at("snapshot-written"))
    assert [s.key for s in result.snapshots] == ["fetch#1"]


def test_five_crashes_are_too_many() -> None:
    result = run_inline(pages, crashes=[crash_at("before-step", nth=n) for n in range(1, 6)])
    assert (result.status, len(result.attempts)) == ("crashed", 5)


def test_branches_of_one_run_die_together() -> None:
    @task(id="kit-branches")
    async def branches() -> list[int]:
        return list(await asyncio.gather(*(fetch(n) for n in range(5))))

    result = run_inline(branches, crashes=crash_at("snapshot-written", nth=3))
    assert result.output == [0, 10, 20, 30, 40]
    assert 5 <= result.calls["fetch"] <= 7
    assert len(result.steps) == 5


def test_an_unsafe_step_that_dies_is_not_called_again() -> None:
    @step(safety="unsafe")
    async def pay() -> str:
        return "paid"

    @task(id="kit-pay")
    async def pays() -> str:
        return await pay()

    result = run_inline(pays, crashes=crash_at("intent-written"))
    assert (result.status, result.calls["pay"]) == ("unknown", 0)
    result = run_inline(pays, crashes=crash_at("step-called"))
    assert (result.status, result.calls["pay"]) == ("unknown", 1)


def test_an_unsafe_step_is_reconciled() -> None:
    async def ask(*, step_key: str) -> Reconciled:
        return Reconciled.happened("paid before")

    @step(safety="unsafe", reconcile=ask)
    async def pay() -> str:
        raise OutcomeUnknown("no answer")

    @task(id="kit-reconciled")
    async def pays() -> str:
        return await pay()

    assert run_inline(pays).output == "paid before"


# ── what it says ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_log_print_and_logging_are_captured_and_given_back() -> None:
    @step
    def talk() -> None:
        print("printed")
        logging.getLogger("mine").warning("logged %d", 1)

    @task(id="kit-talks")
    def talks() -> None:
        talk()
        log.info("said", to="you")

    stdout, handlers = sys.stdout, list(logging.getLogger().handlers)
    lines = run_inline(talks).logs
    assert [(x.level, x.message, x.step) for x in lines] == [
        ("info", "printed", "talk#1"),
        ("warning", "logged 1", "talk#1"),
        ("info", "said", ""),
    ]
    assert lines[2].fields == {"to": "you"}
    assert (sys.stdout, logging.getLogger().handlers) == (stdout, handlers)


def test_streams_hold_what_readers_keep() -> None:
    @step(retry=Retry(max_attempts=2, min_delay=0.1, max_delay=0.1))
    async def write() -> None:
        out = stream("answer")
        out.send("half")
        if current_run().attempt == 1 and not tries:
            tries.append(1)
            raise ConnectionError("cut")
        out.send("whole")

    tries: list[int] = []

    @task(id="kit-writes")
    async def writes() -> None:
        await write()

    assert run_inline(writes).streams == {"answer": ["half", "whole"]}


async def test_async_tests_share_their_event_loop() -> None:
    result = await arun_inline(publish, text="abc", answers=[reject_approval("Publish?")])
    assert result.status == "completed"
    with inline(publish, text="abc") as run:
        await run.auntil_waiting()
        run.complete_approval("Publish?", form={"title": "Kelp"})
        assert (await run.aresult()).output == "Kelp 30"
    with pytest.raises(InEventLoop, match="await arun_inline"):
        run_inline(pages)
    assert asyncio.get_running_loop().get_task_factory() is None
