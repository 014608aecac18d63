"""Steps that somebody outside finishes: whatever happens meanwhile, the function is called once for each try."""

from __future__ import annotations

import signal
import uuid
from typing import Any

import pytest

from holdfast.access.grants import Actor
from runs import answers, services, waitlinks
from runs.errors import WaitOver
from runs.models import Wait
from tests.support.api import Caller
from tests.support.processes import Fleet
from tests.support.runs import attempts, run, snapshots, the
from tests.support.waiting import eventually

ACTOR = Actor.system("test")
BOTH = pytest.mark.parametrize("name", ["renders", "renders-sync", "renders-apart"])


@pytest.fixture
def farm(completing: Fleet) -> Fleet:
    """One worker and the scheduler; the test is the farm."""
    completing.pair()
    return completing


def submitted(farm: Fleet, scene: str, number: int = 1) -> uuid.UUID:
    """The token that came with the so-many-th submission of a scene."""
    found = eventually(lambda: farm.ledger.entries("submit", scene)[number - 1 :], f"submission {number} of {scene}")
    return uuid.UUID(found[0].words[2])


def put_down(run_id: uuid.UUID) -> None:
    eventually(lambda: run(run_id).status == "waiting", "the run waits, and holds nothing")


@BOTH
def test_a_step_is_finished_by_whoever_completes_its_token(farm: Fleet, name: str) -> None:
    handle = the(name).enqueue("kelp")
    token = submitted(farm, "kelp")
    put_down(handle.id)
    assert (run(handle.id).waiting_for or {})["what"].startswith("token 'render")
    answers.wait_complete(token, {"seconds": 90}, actor=ACTOR)
    assert handle.result(timeout=60) == 90
    assert farm.ledger.count("submit") == 1
    assert [s.kind for s in snapshots(handle.id)] == ["handed", "step"]
    assert [a.status for a in attempts(handle.id)] == ["completed"]


def test_it_is_finished_by_its_address_without_an_account(farm: Fleet) -> None:
    handle = the("renders").enqueue("kelp")
    submitted(farm, "kelp")
    [url] = [entry.words[3] for entry in farm.ledger.entries("submit")]
    path = url.partition("/api/v1")[2]
    refused = Caller().post(path, {"value": {"seconds": "long"}})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "value.seconds")
    assert Caller().post(path, {"value": {"seconds": 5}}).status_code == 200
    assert handle.result(timeout=60) == 5


def test_an_answer_that_is_there_before_the_function_has_left_is_not_lost(farm: Fleet) -> None:
    handles = [the("renders").enqueue(f"scene-{number}") for number in range(20)]
    for number in range(20):
        answers.wait_complete(submitted(farm, f"scene-{number}"), {"seconds": number}, actor=ACTOR)
    assert [handle.result(timeout=60) for handle in handles] == list(range(20))
    assert farm.ledger.count("submit") == 20


@BOTH
def test_a_token_that_is_failed_is_a_failed_try_and_the_next_one_has_its_own(farm: Fleet, name: str) -> None:
    handle = the(name).enqueue("kelp")
    first = submitted(farm, "kelp")
    answers.token_fail(first, "the lamp broke", actor=ACTOR)
    second = submitted(farm, "kelp", 2)
    assert second != first
    with pytest.raises(WaitOver, match="failed by test"):
        answers.wait_complete(first, {"seconds": 1}, actor=ACTOR)
    answers.wait_complete(second, {"seconds": 2}, actor=ACTOR)
    assert handle.result(timeout=60) == 2
    assert [s.kind for s in snapshots(handle.id)] == ["handed", "failure", "handed", "step"]
    [failure] = [s.error for s in snapshots(handle.id) if s.kind == "failure"]
    assert failure is not None
    assert (failure["type"], "the lamp broke" in failure["message"]) == ("runs.errors.CompletionFailed", True)


def test_silence_is_a_failed_try(farm: Fleet) -> None:
    handle = the("renders").enqueue("kelp", timeout=1.9)
    answers_late = submitted(farm, "kelp")
    token = submitted(farm, "kelp", 2)
    with pytest.raises(WaitOver, match="timed out"):
        answers.wait_complete(answers_late, {"seconds": 1}, actor=ACTOR)
    services.run_cancel(handle.id, actor=ACTOR)
    eventually(lambda: run(handle.id).status == "cancelled", "it is over")
    assert token != answers_late
    assert not Wait.objects.filter(run_id=handle.id, resolved_at=None).exists()


@pytest.mark.parametrize(
    ("retry", "said"),
    [
        (True, "CompletionFailed: token 'render' was failed: no such scene"),
        (False, "Abort: token 'render' was failed: no such scene"),
    ],
)
def test_the_code_is_told_why(farm: Fleet, retry: bool, said: str) -> None:
    handle = the("renders-and-tells").enqueue("kelp", timeout=60)
    answers.token_fail(submitted(farm, "kelp"), "no such scene", retry=retry, actor=ACTOR)
    assert handle.result(timeout=60) == said


def test_what_cannot_heal_is_not_tried_again(farm: Fleet) -> None:
    handle = the("renders").enqueue("kelp")
    answers.token_fail(submitted(farm, "kelp"), "no such scene", retry=False, actor=ACTOR)
    eventually(lambda: run(handle.id).status == "failed", "it is over")
    assert farm.ledger.count("submit") == 1


@BOTH
@pytest.mark.parametrize("when", ["while the worker is dead", "afterwards"])
def test_a_dead_worker_does_not_submit_again(completing: Fleet, name: str, when: str) -> None:
    first = completing.worker("worker-1")
    completing.scheduler()
    handle = the(name).enqueue("kelp")
    token = submitted(completing, "kelp")
    eventually(lambda: [s.kind for s in snapshots(handle.id)] == ["handed"], "it has handed over")
    first.signal(signal.SIGKILL)
    if when != "afterwards":
        answers.wait_complete(token, {"seconds": 7}, actor=ACTOR)
    completing.worker("worker-2")
    if when == "afterwards":
        put_down(handle.id)
        answers.wait_complete(token, {"seconds": 7}, actor=ACTOR)
    assert handle.result(timeout=60) == 7
    assert completing.ledger.count("submit") == 1


def test_branches_hand_over_side_by_side(farm: Fleet) -> None:
    scenes = [f"scene-{number}" for number in range(10)]
    handle = the("renders-many").enqueue(scenes)
    tokens = {scene: submitted(farm, scene) for scene in scenes}
    put_down(handle.id)
    for number, scene in reversed(list(enumerate(scenes))):
        answers.wait_complete(tokens[scene], {"seconds": number}, actor=ACTOR)
    assert handle.result(timeout=60) == list(range(10))
    assert farm.ledger.count("submit") == 10


def test_a_function_that_returns_has_its_own_result_and_the_token_is_given_up(farm: Fleet) -> None:
    handle = the("renders-what-is-known").enqueue("kelp")
    assert handle.result(timeout=60) == 1
    eventually(lambda: Wait.objects.get(run_id=handle.id).outcome == "cancelled", "nobody waits for the token")
    with pytest.raises(WaitOver):
        answers.wait_complete(submitted(farm, "kelp"), {"seconds": 2}, actor=ACTOR)


def test_a_person_retries_a_run_that_was_cancelled_in_somebodys_hands_and_it_is_submitted_anew(farm: Fleet) -> None:
    handle = the("renders").enqueue("kelp")
    submitted(farm, "kelp")
    put_down(handle.id)
    services.run_cancel(handle.id, actor=ACTOR)
    eventually(lambda: run(handle.id).status == "cancelled", "it is over")
    services.run_retry(handle.id, actor=ACTOR)
    answers.wait_complete(submitted(farm, "kelp", 2), {"seconds": 3}, actor=ACTOR)
    assert handle.result(timeout=60) == 3


def test_a_plain_token_can_be_failed_as_well(farm: Fleet) -> None:
    handle = the("pays-by-token").enqueue()
    first = submitted(farm, "payment")
    answers.token_fail(first, "card refused", actor=ACTOR)

    def others() -> set[str]:
        return {entry.words[2] for entry in farm.ledger.entries("submit", "payment")} - {str(first)}

    [second] = eventually(others, "the next attempt has a token of its own")
    answers.wait_complete(uuid.UUID(second), 99, actor=ACTOR)
    assert handle.result(timeout=60) == 99
    assert [a.status for a in attempts(handle.id)] == ["failed", "completed"]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("outside a step", "outside a step. Call it inside the function that @step wraps"),
        ("unsafe", "cannot be finished from outside"),
        ("transaction", "cannot be finished from outside"),
        ("elsewhere", "hand_over() leaves step elsewhere#1, and was called elsewhere"),
    ],
)
def test_misuse_says_what_to_write_instead(farm: Fleet, how: str, words: str) -> None:
    handle = the("misuses-completion").enqueue(how)
    error: Any = eventually(lambda: run(handle.id).error, "it fails")
    assert error["type"] == "runs.errors.StepMisuse"
    assert words in error["message"]


def test_its_address_is_signed(farm: Fleet) -> None:
    the("renders").enqueue("kelp")
    token = submitted(farm, "kelp")
    [url] = [entry.words[3] for entry in farm.ledger.entries("submit")]
    assert url == waitlinks.url(token)
