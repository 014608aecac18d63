"""Updates are taken in order, answered once, whatever dies, and nobody waits for a run that has ended."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections, transaction

from holdfast.access.grants import Actor
from holdfast.access.models import AuditEntry
from runs import answers, services, updates
from runs.errors import (
    IdempotencyConflict,
    InvalidOption,
    InvalidPayload,
    StepMisuse,
    UnknownRun,
    UpdateRefused,
    UpdateTimeout,
    WrongState,
)
from runs.models import Update
from tests.support.processes import Fleet
from tests.support.runs import attempts, run, snapshots, the
from tests.support.waiting import eventually

ACTOR = Actor.system("test")


@pytest.fixture
def selling(updating: Fleet) -> Fleet:
    """One worker and the scheduler."""
    updating.pair(HOLDFAST_PROCESSES="1")
    return updating


def put_down(run_id: uuid.UUID) -> None:
    eventually(lambda: run(run_id).status == "waiting", "the run waits")


def outcome(update_id: uuid.UUID) -> str | None:
    return Update.objects.get(pk=update_id).outcome


@pytest.mark.parametrize("name", ["sells-sync", "sells-apart", "sells-apart-async"])
def test_a_caller_gets_the_reply_or_the_refusal(selling: Fleet, name: str) -> None:
    handle = the(name).enqueue()
    put_down(handle.id)
    assert handle.update("set-price", {"price": 5}, timeout=60) == {"old": 10}
    with pytest.raises(UpdateRefused, match=r"^below cost$"):
        handle.update("set-price", {"price": 3}, timeout=60)
    assert handle.result(timeout=60) == [5, 5]
    assert [a.status for a in attempts(handle.id)] == ["completed"]


def test_updates_before_the_wait_are_kept_and_answered_in_order(updating: Fleet) -> None:
    handle = the("sells").enqueue(changes=3)
    sent = [updates.update_send(handle.id, "set-price", {"price": n}, actor=ACTOR) for n in (7, 1, 8)]
    with pytest.raises(UpdateTimeout, match="has not answered update 'set-price' yet"):
        updates.wait_for_reply(handle.id, sent[0], 0)
    updating.worker("worker-1")
    assert handle.result(timeout=60) == [7, 7, 8]
    assert [(u.outcome, u.reply, u.reason) for u in Update.objects.all()] == [
        ("replied", {"old": 10}, ""),
        ("refused", None, "below cost"),
        ("replied", {"old": 7}, ""),
    ]
    seen = dict.fromkeys(e.words[1:] for e in updating.ledger.entries("asked"))  # once for each stay
    assert list(seen) == [("7", "test"), ("1", "test"), ("8", "test")]
    audited = AuditEntry.objects.filter(action="runs.update", object_id=str(handle.id))
    assert [e.after["name"] for e in audited] == ["set-price"] * 3


def test_what_does_not_fit_an_open_wait_is_not_sent(selling: Fleet) -> None:
    handle = the("sells").enqueue()
    put_down(handle.id)
    with pytest.raises(InvalidPayload) as error:
        handle.update("set-price", {"price": "much"}, timeout=60)
    assert [e["field"] for e in error.value.data["errors"]] == ["payload.price"]
    assert not Update.objects.exists()
    assert handle.update("set-price", {"price": 5}, timeout=60) == {"old": 10}


@pytest.mark.parametrize(("name", "seen", "last"), [("sells", [6], "abandoned"), ("sells-sync", [6, 9], "replied")])
def test_what_does_not_fit_a_later_wait_is_refused_and_the_run_never_sees_it(
    updating: Fleet, name: str, seen: list[int], last: str
) -> None:
    handle = the(name).enqueue()
    sent = [  # before there is a worker: once the run waits, what does not fit is refused to whoever sends it
        updates.update_send(handle.id, "set-price", given, actor=ACTOR)
        for given in ({"price": "much"}, 7, {"price": 6}, {"price": 9})
    ]
    updating.worker("worker-1")
    assert handle.result(timeout=60) == seen
    found = [Update.objects.get(pk=update) for update in sent]
    assert [u.outcome for u in found[:3]] == ["refused", "refused", "replied"]
    assert found[0].reason.startswith("payload.price: Input should be a valid integer")
    assert outcome(sent[3]) == last


def test_what_only_the_run_can_tell_does_not_fit_leaves_its_wait_open(selling: Fleet) -> None:
    for name in ("sells", "sells-sync"):
        handle = the(name).enqueue()
        put_down(handle.id)
        with pytest.raises(UpdateRefused, match=r"payload\.price: .*13 brings bad luck"):
            handle.update("set-price", {"price": 13}, timeout=60)
        assert handle.update("set-price", {"price": 5}, timeout=60) == {"old": 10}
        if name == "sells":
            assert handle.result(timeout=60) == [5]


@pytest.mark.parametrize("die", ["before", "after"])
def test_a_failed_attempt_neither_loses_the_reply_nor_gives_it_twice(selling: Fleet, die: str) -> None:
    handle = the("answers-late").enqueue(die)
    put_down(handle.id)
    assert handle.update("work", "w", timeout=60) == {"attempt": 2 if die == "before" else 1}
    assert handle.result(timeout=60) == "w"
    kept = [s.key for s in snapshots(handle.id) if s.kind == "wait"]
    assert kept == ["update:work#1", "reply:update:work#1", "sleep:#1"]
    assert Update.objects.get().reply == {"attempt": 2 if die == "before" else 1}


def test_one_key_is_one_update(updating: Fleet) -> None:
    handle = the("sells").enqueue(changes=2)
    with pytest.raises(UpdateTimeout) as timeout:
        handle.update("set-price", {"price": 5}, timeout=0, key="order-17")
    updating.worker("worker-1")
    assert handle.update("set-price", {"price": 5}, timeout=60, key="order-17") == {"old": 10}
    assert timeout.value.data["update"] == str(Update.objects.get().pk)
    with pytest.raises(IdempotencyConflict, match="'order-17' was used for another update"):
        handle.update("set-price", {"price": 6}, timeout=60, key="order-17")
    assert handle.update("set-price", {"price": 6}, timeout=60, key="order-18") == {"old": 5}
    assert handle.result(timeout=60) == [5, 6]
    # The run is over, and its replies are still there.
    assert handle.update("set-price", {"price": 5}, timeout=60, key="order-17") == {"old": 10}
    assert AuditEntry.objects.filter(action="runs.update").count() == 2


@pytest.mark.parametrize("fail", [False, True])
def test_a_run_that_ends_without_an_answer_tells_its_callers(selling: Fleet, fail: bool) -> None:
    handle = the("leaves-unanswered").enqueue(fail)
    put_down(handle.id)
    taken = updates.update_send(handle.id, "work", 1, actor=ACTOR)
    ended = "failed" if fail else "completed"
    with pytest.raises(WrongState, match=f"is {ended}; it ended without an answer"):
        updates.wait_for_reply(handle.id, taken, 60)
    assert outcome(taken) == "abandoned"
    with pytest.raises(WrongState, match=f"is {ended}; nobody would answer"):
        handle.update("work", 2, timeout=60)
    assert Update.objects.count() == 1, "what was sent to a run that is over is not kept"


def test_a_run_that_never_asked_or_is_cancelled_abandons_what_it_was_sent(selling: Fleet) -> None:
    ended, cancelled = the("never-asks").enqueue(), the("never-asks").enqueue()
    sent = [updates.update_send(handle.id, "work", 1, actor=ACTOR) for handle in (ended, cancelled)]
    put_down(ended.id)
    put_down(cancelled.id)
    answers.run_signal(ended.id, "end", None, actor=ACTOR)
    services.run_cancel(cancelled.id, actor=ACTOR)
    for update, handle in zip(sent, (ended, cancelled), strict=True):
        with pytest.raises(WrongState):
            updates.wait_for_reply(handle.id, update, 60)
        assert outcome(update) == "abandoned"


def test_a_race_gives_back_the_update_that_its_loser_had_taken(updating: Fleet) -> None:
    handle = the("races-for-updates").enqueue()
    answers.run_signal(handle.id, "go", None, actor=ACTOR)
    sent = updates.update_send(handle.id, "work", 1, actor=ACTOR)
    updating.worker("worker-1")
    assert updates.wait_for_reply(handle.id, sent, 60) == "second"
    assert handle.result(timeout=60) == [0, 1]


def test_an_update_is_answered_once_and_as_its_task_can(selling: Fleet) -> None:
    handle = the("answers-wrongly").enqueue()
    put_down(handle.id)
    assert handle.update("work", timeout=60) == 2
    blocks, unfit, *again = handle.result(timeout=60)
    assert "await change.areply(…)" in blocks
    assert unfit == "NotSerializable"
    assert all("answered already" in text for text in again)
    assert len(again) == 2


def test_an_answer_is_no_part_of_a_transaction(selling: Fleet) -> None:
    handle = the("answers-in-a-transaction").enqueue()
    put_down(handle.id)
    with pytest.raises(UpdateRefused, match=r"inside transaction\.atomic"):
        handle.update("work", timeout=60)
    assert handle.result(timeout=60) == "answered"


def test_a_wait_for_an_update_times_out(selling: Fleet) -> None:
    assert the("times-out-asking").enqueue().result(timeout=60) == "nothing"


def test_bad_requests_are_refused_by_name(updating: Fleet) -> None:
    handle = the("sells").enqueue()
    with pytest.raises(UnknownRun):
        updates.update_send(uuid.uuid4(), "work", 1, actor=ACTOR)
    with pytest.raises(InvalidOption, match="name is ''"):
        handle.update("", 1)
    with pytest.raises(InvalidOption, match="key is 7"):
        handle.update("work", 1, key=7)  # type: ignore[arg-type]
    with transaction.atomic(), pytest.raises(StepMisuse, match=r"inside transaction\.atomic"):
        handle.update("work", 1)
    assert not Update.objects.exists()


def test_callers_race_the_end_of_a_run_and_each_is_told(selling: Fleet) -> None:
    """Whether sent before, while or after the run ends: an answer or WrongState, and nothing is left open."""
    handles = [the("sells").enqueue() for _ in range(10)]
    start = threading.Event()

    def ask(handle: Any, price: int) -> str:
        try:
            start.wait()
            reply = handle.update("set-price", {"price": price}, timeout=60)
        except WrongState:
            return "ended"
        finally:
            connections.close_all()
        return str(reply)

    with ThreadPoolExecutor(8) as pool:
        asked = [[pool.submit(ask, handle, price) for price in (5, 6, 7, 8)] for handle in handles]
        start.set()
        told = [sorted(future.result(timeout=120) for future in of_one) for of_one in asked]
    assert told == [["ended", "ended", "ended", "{'old': 10}"]] * len(handles)
    assert not Update.objects.filter(outcome=None).exists()


def test_what_a_run_publishes_can_be_queried(selling: Fleet) -> None:
    handle = the("publishes").enqueue()
    put_down(handle.id)
    found = handle.query()
    assert (found.status, found.progress, found.words, found.metadata) == ("waiting", 0.5, "half", {"rows": 7})
    plain = the("sells").enqueue().query()
    assert (plain.progress, plain.words, plain.metadata) == (None, "", None)
