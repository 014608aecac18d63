"""Fault 21: an answer that comes as its wait's time is over has one outcome, and the replay has the same."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from django.db import connection

from holdfast.access.grants import Actor
from runs import answers
from runs.errors import WaitOver
from runs.models import Signal, Wait
from tests.support.processes import Fleet
from tests.support.runs import all_final, run, the
from tests.support.waiting import eventually

ACTOR = Actor.system("test")
RUNS = 12
#: Seconds that each run waits for its answer.
SECONDS = 4.0


def offset(number: int) -> float:
    """Seconds after the timeout, from a second before it to a second after, most of them close to it; the first one
    comes as soon as it is asked for."""
    return -SECONDS if number == 0 else float((2 * number / (RUNS - 1) - 1) ** 3)


class Answer(threading.Thread):
    """Answers a wait at a time around the one at which it is over; `taken` is whether it was told so."""

    def __init__(self, asked: Wait, number: int) -> None:
        super().__init__()
        assert asked.due_at is not None
        self.asked, self.at = asked, asked.due_at.timestamp() + offset(number)
        self.taken = False
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            eventually(lambda: time.time() >= self.at, "it is time to answer")
            if self.asked.kind == "signal":
                answers.run_signal(self.asked.run_id, "news", "in time", actor=ACTOR)
            else:
                answers.approval_decide(self.asked.pk, approved=True, actor=ACTOR)
            self.taken = True
        except WaitOver:
            pass
        except BaseException as error:
            self.error = error
        finally:
            connection.close()


@pytest.mark.parametrize("kind", ["signal", "approval"])
def test_fault_21_an_answer_in_the_instant_of_the_timeout_has_one_outcome_and_replays_as_that(
    waits: Fleet, kind: str
) -> None:
    for name in ("worker-1", "worker-2"):
        waits.worker(name)
    waits.scheduler()
    ids = [the("answered-in-the-nick-of-time").enqueue(kind, SECONDS).id for _ in range(RUNS)]
    eventually(lambda: Wait.objects.filter(run_id__in=ids, kind=kind).count() == RUNS, "all have asked")
    threads = [Answer(wait, n) for n, wait in enumerate(Wait.objects.filter(run_id__in=ids, kind=kind))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [thread.error for thread in threads] == [None] * RUNS
    all_final(ids)
    outcomes = set()
    for thread in threads:
        asked = Wait.objects.get(pk=thread.asked.pk)
        got = run(asked.run_id).output
        outcomes.add(asked.outcome)
        assert got == ("in time" if asked.outcome == "completed" else late(kind))
        assert told(kind, thread) == (asked.outcome == "completed"), "whoever answered was told the truth"
        noted = [entry.words[2:] for entry in waits.ledger.entries("got", str(asked.run_id))]
        assert len(noted) == 2, "it was entered again"
        assert {" ".join(words) for words in noted} == {got}
    assert outcomes == {"completed", "timed_out"}, "the race has both winners"


def late(kind: str) -> Any:
    return "nothing" if kind == "signal" else "rejected by timeout"


def told(kind: str, thread: Answer) -> bool:
    """A signal that comes too late is kept, unread; an approval is refused."""
    if kind == "approval":
        return thread.taken
    (sent,) = Signal.objects.filter(run_id=thread.asked.run_id)
    return sent.wait_id == thread.asked.pk
