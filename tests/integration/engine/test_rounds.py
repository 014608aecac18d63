"""`continue_as_new`: one run, many rounds, and a history of one."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from holdfast.access.grants import Actor
from runs import answers, services
from runs.errors import UnknownWait, WaitOver
from runs.models import Signal, Wait
from tests.support.processes import Fleet
from tests.support.runs import attempts, run, snapshots, the
from tests.support.waiting import eventually

ACTOR = Actor.system("test")


@pytest.fixture
def going(waits: Fleet) -> Iterator[Fleet]:
    """One worker and the scheduler, with the tasks that wait."""
    waits.pair()
    return waits


@pytest.mark.parametrize("name", ["counts-on", "counts-on-sync", "counts-on-apart"])
def test_a_run_goes_on_with_another_payload_and_no_history(going: Fleet, name: str) -> None:
    handle = the(name).enqueue(left=4)
    assert handle.result(timeout=60) == 4 + 3 + 2 + 1
    stored = run(handle.id)
    assert (stored.round, stored.payload["left"], stored.payload["total"]) == (5, 0, 10)
    assert [a.status for a in attempts(handle.id)] == ["completed"] * 5
    assert len(snapshots(handle.id)) == 5, "those of earlier rounds stay to be looked at"


def test_a_parent_gets_the_last_rounds_result(going: Fleet) -> None:
    assert the("waits-for-a-count").enqueue().result(timeout=60) == 6


def test_no_signal_is_lost_repeated_or_overtaken(going: Fleet) -> None:
    handle = the("hears-on").enqueue(left=10, heard=[])
    for number in range(20):
        answers.run_signal(handle.id, "word", number, actor=ACTOR)
    heard = handle.result(timeout=60)
    assert heard == list(range(20))
    assert not Signal.objects.filter(run_id=handle.id, wait_id=None).exists()


def test_each_round_has_tokens_of_its_own(going: Fleet) -> None:
    handle = the("tokens-on").enqueue(left=2, tokens=[])
    for left in (2, 1, 0):
        wait = eventually(lambda: Wait.objects.filter(run_id=handle.id, resolved_at=None).first(), "it asks")
        answers.wait_complete(wait.pk, None, actor=ACTOR)
        with pytest.raises((WaitOver, UnknownWait)):  # it is over, or was of an earlier round
            answers.wait_complete(wait.pk, None, actor=ACTOR)
        eventually(lambda n=3 - left: run(handle.id).round > n or run(handle.id).output, "the next round")
    assert len(set(handle.result(timeout=60))) == 3


def test_a_worker_that_dies_begins_the_round_again_and_no_other(waits: Fleet) -> None:
    first = waits.worker("worker-1")
    waits.scheduler()
    handle = the("counts-on").enqueue(left=400)
    eventually(lambda: run(handle.id).round > 20, "it is on its way")
    first.signal(signal.SIGKILL)
    waits.worker("worker-2")
    assert handle.result(timeout=60) == 400 * 401 // 2
    assert len(waits.ledger.repeated("round")) <= 1
    assert [a.status for a in attempts(handle.id)].count("crashed") <= 1, "none, where it died between two rounds"


def test_the_time_of_a_round_is_its_own(going: Fleet) -> None:
    assert the("loops-on").enqueue(seconds=1).result(timeout=60) == "over"
    late = the("loops-on").enqueue(seconds=10)
    eventually(lambda: run(late.id).status == "timed_out", "one that takes too long is stopped")


def test_attempts_are_counted_anew(going: Fleet) -> None:
    handle = the("fails-on").enqueue(left=3)
    assert handle.result(timeout=60) == "over"
    assert [a.status for a in attempts(handle.id)] == ["failed", "completed"] * 4


def test_hooks_are_called_once_for_the_run(going: Fleet) -> None:
    handle = the("hooked-on").enqueue(left=3)
    assert handle.result(timeout=60) == "over"
    assert going.ledger.count("hook", str(handle.id)) == 2, "on_start, and on_success"


def test_a_run_that_is_cancelled_does_not_go_on(going: Fleet) -> None:
    ids: list[uuid.UUID] = [the("counts-on").enqueue(left=100_000).id for _ in range(5)]
    for run_id in ids:
        eventually(lambda i=run_id: run(i).round > 5, "it is on its way")
        services.run_cancel(run_id, actor=ACTOR)
    for run_id in ids:
        eventually(lambda i=run_id: run(i).status == "cancelled", "it is over")
    ended = {run_id: (run(run_id).round, run(run_id).finished_at) for run_id in ids}
    assert the("counts-on").enqueue(left=3).result(timeout=60) == 6, "whoever would go on had the time to"
    for run_id in ids:
        assert (run(run_id).round, run(run_id).finished_at) == ended[run_id]
        assert run(run_id).status == "cancelled"


@pytest.mark.parametrize(
    ("how", "kind", "words"),
    [
        ("payload", "InvalidPayload", "payload.how"),
        ("step", "StepMisuse", "was called inside step inside#1"),
        ("branch", "StepMisuse", "while step long#1@1 is at work in another branch"),
    ],
)
def test_misuse_says_what_to_write_instead(going: Fleet, how: str, kind: str, words: str) -> None:
    handle = the("continues-badly").enqueue(how=how)
    error: Any = eventually(lambda: run(handle.id).error, "it fails")
    assert (error["type"].endswith(kind), words in error["message"]) == (True, True), error
    assert run(handle.id).round == 1


def test_a_block_that_would_be_rolled_back_is_to_end_first(going: Fleet) -> None:
    handle = the("continues-in-a-transaction").enqueue()
    error: Any = eventually(lambda: run(handle.id).error, "it fails")
    assert "was called inside transaction.atomic()" in error["message"]
