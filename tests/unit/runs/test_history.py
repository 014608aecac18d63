"""What counts as a history that does not fit, and what must not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from runs.engine.history import MAX_LISTED, History
from runs.engine.outcome import Mismatch
from runs.sdk.step import Step, step
from runs.sdk.task import Task, task
from runs.store import Fact, Started

RUN = UUID(int=7)
Facts = list[Fact]


@step
def do(what: Any) -> None: ...


@task(id="history-plain")
def plain() -> None:
    do(1)


@task(id="history-loose")
async def loose() -> None:
    import asyncio

    async with asyncio.timeout(1):
        pass


def facts(*words: str) -> Facts:
    """`do#1` is a finished step, `!do#1` a failed try, `wait:…` a wait, `checkpoint` one; ` 2` the attempt."""
    found = []
    for number, word in enumerate(words, 1):
        key, _, attempt = word.partition(" ")
        kind = "failure" if key[0] == "!" else "wait" if key.startswith("signal:") else "step"
        kind = "checkpoint" if key == "checkpoint" else kind
        key = key.lstrip("!")
        name = key.partition("#")[0].partition(":")[0]
        given = json.dumps({"what": number}) if kind == "step" else None
        found.append(Fact(number, kind, key, int(attempt or 1), "null", None, name, given))
    return found


def history(
    found: Facts, of: Task[..., Any] = plain, *, before: str = "another", accepted: int | None = None
) -> History:
    started = Started(
        RUN, "t", 1, "{}", 1, 0, 3, [], "trace", 7, 0.0, None, None, False, before=before, accepted=accepted
    )
    made = History.of(of, started, found)
    assert made is not None
    return made


def told(call: Callable[..., Any], *args: Any) -> dict[str, Any]:
    with pytest.raises(Mismatch) as caught:
        call(*args)
    assert caught.value.waiting_for is not None
    return dict(json.loads(caught.value.waiting_for))


def asks(of: History, *keys: str) -> None:
    for key in keys:
        of.met(key)


def test_a_new_step_while_a_finished_one_of_the_branch_is_left_out_is_told_with_both_lists() -> None:
    found = history(facts("do#1", "signal:go#1", "do#2"))
    asks(found, "do#1", "signal:go#1")
    said = told(found.beyond, "other#1", "")
    assert said["expected"] == ["do#1", "signal:go#1", "do#2"]
    assert said["asked"] == ["do#1", "signal:go#1", "other#1"]
    assert (said["ran"], said["version"]) == ("another", plain.version)


def test_a_new_step_after_all_finished_ones_is_welcome() -> None:
    found = history(facts("do#1", "do#2"))
    asks(found, "do#2", "do#1")
    found.beyond("other#1", "")
    found.ended(0)
    assert found.is_complete


def test_branches_are_compared_by_themselves() -> None:
    found = history(facts("do#1@1", "do#1@2", "do#2@1"))
    asks(found, "do#1@2")
    found.beyond("new#1@2", "2")
    asks(found, "do#1@1")
    assert told(found.beyond, "new#1@1", "1")["what"].endswith("where the history has do#2@1")


@pytest.mark.parametrize(
    "words",
    [
        ("do#1", "!risky#1", "repair#1"),
        ("do#1", "!risky#1", "repair#1", "risky#1"),
        ("do#1", "!risky#1", "risky#1 2", "repair#1 2"),
        ("do#1", "repair#1", "checkpoint"),
        ("do#1", "repair:key"),
    ],
    ids=[
        "after a failed try",
        "a failed try that came back",
        "of another attempt",
        "before a checkpoint",
        "with a key",
    ],
)
def test_what_something_else_than_code_may_have_led_to_is_not_expected(words: tuple[str, ...]) -> None:
    found = history(facts(*words))
    asks(found, "do#1")
    found.beyond("other#1", "")


def test_a_try_that_failed_and_was_repeated_at_once_keeps_what_follows_expected() -> None:
    found = history(facts("!do#1", "do#1", "do#2"))
    asks(found, "do#1")
    told(found.beyond, "other#1", "")


def test_code_that_a_clock_may_lead_away_is_believed() -> None:
    found = history(facts("do#1", "do#2"), loose)
    found.beyond("other#1", "")
    found.ended(0)


def test_the_end_tells_what_other_code_has_left_out() -> None:
    found = history(facts("do#1", "do#2"))
    asks(found, "do#1")
    assert told(found.ended, 0)["what"].endswith("the run ended where the history has do#2")
    history(facts("do#1"), before=plain.version).ended(0)


def test_the_end_leaves_branches_alone_that_were_begun() -> None:
    found = history(facts("do#1@1", "do#1@2", "do:key"))
    found.ended(2)
    told(found.ended, 1)


def called(found: History, key: str, what: Any, of: Step[Any, Any] = do) -> bool:
    return found.met_step(of, key, (what,), {})


def test_arguments_of_another_finished_step_are_told() -> None:
    found = history(facts("do#1", "do#2"))
    called(found, "do#1", 1)
    assert told(called, found, "do#2", 1)["asked"] == ["do#1", "do#2 with the arguments of do#1"]


@pytest.mark.parametrize(("what", "said"), [(2, False), (3, True), (object(), False)], ids=["own", "new", "no JSON"])
def test_new_arguments_are_only_said_once_and_those_that_cannot_be_compared_not_at_all(what: Any, said: bool) -> None:
    found = history(facts("do#1", "do#2"))
    assert called(found, "do#2", what) is said
    assert called(found, "do#2", what) is False


def test_what_a_person_has_accepted_is_compared_no_more() -> None:
    found = history(facts("do#1", "do#2", "do#3"), accepted=2)
    called(found, "do#1", 2)
    assert told(found.beyond, "other#1", "")["what"].endswith("has do#3")


def test_long_lists_are_cut_around_the_difference() -> None:
    keys = [f"do#{n}" for n in range(1, 1_001)]
    found = history(facts(*keys))
    asks(found, *keys[:500])
    said = told(found.beyond, "other#1", "")
    assert len(said["expected"]) == len(said["asked"]) + 1 == MAX_LISTED + 2
    assert "do#501" in said["expected"]
    assert said["asked"][-1] == "other#1"
