"""Keys under which several enqueues are one run: idempotency keys and debounces."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import F

from holdfast import db
from holdfast.access.grants import Actor
from queues.models import Entry, Timer
from runs import Debounce, services, store
from runs.errors import HoldfastError, IdempotencyConflict, InvalidOption, UnknownQueue
from runs.models import Deadline, DebounceKey, IdempotencyKey, Run
from tests.support.processes import Fleet
from tests.support.runs import run, the

pytestmark = pytest.mark.usefixtures("registered")


def calls(*values: Any, task: str = "echo", **options: Any) -> list[Any]:
    """The handles of calls under one debounce."""
    given = {"key": "k", "delay": 30, **options}
    return [the(task).using(debounce=Debounce(**given)).enqueue(value) for value in values]


def due(run_id: Any) -> datetime:
    return Timer.objects.get(entry_id=run_id).due_at  # type: ignore[return-value]


def quiet_for(seconds: float) -> None:
    """As if so much time had passed since the last call."""
    ago = timedelta(seconds=seconds)
    Timer.objects.update(due_at=F("due_at") - ago)
    DebounceKey.objects.update(began_at=F("began_at") - ago, quiet_at=F("quiet_at") - ago)


# ── debounce ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_calls_that_come_close_upon_each_other_are_one_run_with_the_last_payload() -> None:
    first, second, third = calls("a", "b", "c")
    assert first.id == second.id == third.id
    assert (first.created, second.created, third.created) == (True, False, False)
    stored = Run.objects.get()
    assert (stored.status, stored.payload) == ("scheduled", {"value": "c"})
    assert stored.next_at == due(stored.id) == DebounceKey.objects.get().quiet_at


def test_each_call_moves_the_start_and_the_deadlines_along() -> None:
    [first] = calls("a", task="echo")
    Deadline.objects.create(run_id=first.id, kind="ttl", at=due(first.id) + timedelta(seconds=60))
    before = due(first.id)
    calls("b", delay=90)
    assert timedelta(seconds=59) < due(first.id) - before < timedelta(seconds=75)
    assert Deadline.objects.get().at - due(first.id) == timedelta(seconds=60)


def test_max_wait_bounds_how_long_calls_can_put_it_off() -> None:
    [first] = calls("a", max_wait=40)
    quiet_for(25)
    began = DebounceKey.objects.get().began_at
    calls("b", max_wait=40)
    assert due(first.id) == began + timedelta(seconds=40)
    assert run(first.id).payload == {"value": "b"}


def test_a_call_after_the_quiet_begins_another_run() -> None:
    [first] = calls("a")
    quiet_for(31)
    [second] = calls("b")
    assert second.created
    assert first.id != second.id
    assert run(first.id).payload == {"value": "a"}


def test_a_call_for_a_run_that_has_been_queued_or_cancelled_begins_another() -> None:
    [first] = calls("a")
    with db.callers() as conn, transaction.atomic():
        conn.execute("UPDATE queues_timer SET due_at = holdfast_now()")
        from queues import store as queue_store

        queue_store.promote(conn, limit=10)
        store.ready(conn, [first.id])
    [second] = calls("b")
    assert second.id != first.id
    services.run_cancel(second.id, actor=Actor.local())
    [third] = calls("c")
    assert len({first.id, second.id, third.id}) == 3
    assert run(second.id).payload == {"value": "b"}


def test_the_timer_of_a_retry_is_not_taken_for_that_of_the_start() -> None:
    [first] = calls("a")
    Run.objects.filter(pk=first.id).update(status="retrying", failures=1)
    Timer.objects.update(due_at=F("due_at") + timedelta(seconds=1))
    before = due(first.id)
    [second] = calls("b")
    assert second.id != first.id
    assert (due(first.id), run(first.id).payload) == (before, {"value": "a"})


def test_leading_starts_at_once_with_the_first_payload_and_ignores_the_rest_until_it_is_quiet() -> None:
    first, second = calls("a", "b", mode="leading")
    assert first.id == second.id
    assert (run(first.id).status, run(first.id).payload) == ("queued", {"value": "a"})
    assert Entry.objects.filter(entry_id=first.id).exists()
    quiet_for(31)
    assert calls("c", mode="leading")[0].created


def test_leading_with_max_wait_starts_another_though_it_is_never_quiet() -> None:
    [first] = calls("a", mode="leading", max_wait=40)
    for _ in range(2):  # calls 25 s apart: quiet for less than 30 s each time
        quiet_for(25)
        [last] = calls("b", mode="leading", max_wait=40)
    assert last.created
    assert last.id != first.id


def test_keys_and_tasks_do_not_meet() -> None:
    calls("a")
    calls("b", key="other")
    the("echo-sync").using(debounce=Debounce("k", 30)).enqueue("c")
    assert Run.objects.count() == 3


def test_of_many_callers_at_once_one_begins_the_run() -> None:
    def call(number: int) -> Any:
        try:
            return calls(number)[0]
        finally:
            connection.close()

    with ThreadPoolExecutor(20) as pool:
        handles = list(pool.map(call, range(20)))
    assert len({h.id for h in handles}) == 1
    assert sum(h.created for h in handles) == 1
    assert Run.objects.count() == Timer.objects.count() == 1


def test_a_call_that_is_rolled_back_has_not_been_made() -> None:
    [first] = calls("a")
    before = due(first.id)
    with transaction.atomic():
        calls("b", delay=90)
        transaction.set_rollback(True)
    assert (run(first.id).payload, due(first.id)) == ({"value": "a"}, before)


def test_a_debounced_run_is_executed_once_with_the_last_payload(fleet: Fleet) -> None:
    fleet.worker("worker-1")
    handles = calls("a", "b", "c", delay=2)  # they come while the scheduler starts
    fleet.scheduler()
    assert handles[0].result(timeout=60) == "c"
    assert Run.objects.count() == 1


@pytest.mark.parametrize(
    ("debounce", "field"),
    [
        ({"key": "", "delay": 1}, "debounce.key"),
        ({"key": "k" * 201, "delay": 1}, "debounce.key"),
        ({"key": 7, "delay": 1}, "debounce.key"),
        ({"key": "k\x00", "delay": 1}, "debounce.key"),
        ({"key": "k", "delay": 0}, "debounce.delay"),
        ({"key": "k", "delay": -1}, "debounce.delay"),
        ({"key": "k", "delay": float("nan")}, "debounce.delay"),
        ({"key": "k", "delay": 10**12}, "debounce.delay"),
        ({"key": "k", "delay": True}, "debounce.delay"),
        ({"key": "k", "delay": "5"}, "debounce.delay"),
        ({"key": "k", "delay": 1, "mode": "both"}, "debounce.mode"),
        ({"key": "k", "delay": 1, "mode": ["leading"]}, "debounce.mode"),
        ({"key": "k", "delay": 10, "max_wait": 5}, "debounce.max_wait"),
        ({"key": "k", "delay": 10, "max_wait": -5}, "debounce.max_wait"),
    ],
)
def test_a_debounce_that_makes_no_sense_is_refused_with_its_field(debounce: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidOption) as refused:
        the("echo").using(debounce=Debounce(**debounce))
    assert refused.value.data["errors"][0]["field"] == f"options.{field}"
    assert not Run.objects.exists()


def test_what_debounce_decides_about_cannot_be_given_beside_it() -> None:
    for options in ({"delay": 5}, {"idempotency_key": "k"}, {"run_after": datetime.now().astimezone()}):
        with pytest.raises(InvalidOption, match="stands beside debounce"):
            the("echo").using(debounce=Debounce("k", 5), **options)  # type: ignore[arg-type]
    with pytest.raises(InvalidOption, match="one key cannot name many"):
        the("echo").using(debounce=Debounce("k", 5)).enqueue_many([{"value": 1}])
    with pytest.raises(InvalidOption, match="write Debounce"):
        the("echo").using(debounce="k")  # type: ignore[arg-type]


def test_a_debounce_into_a_queue_that_does_not_exist_is_refused_and_holds_nothing_up() -> None:
    with pytest.raises(UnknownQueue):
        the("echo").using(debounce=Debounce("k", 5), queue_name="nowhere").enqueue("a")
    assert calls("b")[0].created


# ── idempotency keys ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_key_is_remembered_for_its_ttl() -> None:
    first = the("echo").using(idempotency_key="k", idempotency_ttl=60).enqueue("a")
    key = IdempotencyKey.objects.get()
    assert key.expires_at - key.created_at == timedelta(seconds=60)
    IdempotencyKey.objects.update(expires_at=F("created_at"))
    second = the("echo").using(idempotency_key="k", idempotency_ttl=60).enqueue("another payload")
    assert second.created
    assert second.id != first.id


def test_keys_that_say_nothing_any_more_are_forgotten() -> None:
    the("echo").using(idempotency_key="old").enqueue("a")
    IdempotencyKey.objects.update(expires_at=F("created_at"))
    the("echo").using(idempotency_key="new").enqueue("a")
    calls("a")
    quiet_for(91)
    calls("b", key="other")
    with db.callers() as conn:
        assert store.forget_keys(conn) == 2
    assert IdempotencyKey.objects.get().key == "new"
    assert DebounceKey.objects.get().key == "other"


def test_a_key_in_the_scope_of_a_run_is_that_runs_own(fleet: Fleet) -> None:
    fleet.worker("worker-1")
    first, second = the("enqueues-keyed").enqueue(), the("enqueues-keyed").enqueue()
    found = [set(handle.result(timeout=60)) for handle in (first, second)]
    assert [len(ids) for ids in found] == [1, 1], "each calls twice"
    assert found[0].isdisjoint(found[1])
    with pytest.raises(InvalidOption, match="no run enqueues this"):
        the("echo").using(idempotency_key="k", idempotency_scope="run").enqueue("a")


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"idempotency_ttl": 60}, "idempotency_ttl"),
        ({"idempotency_scope": "run"}, "idempotency_scope"),
        ({"idempotency_key": "k", "idempotency_ttl": 0}, "idempotency_ttl"),
        ({"idempotency_key": "k", "idempotency_scope": "world"}, "idempotency_scope"),
    ],
)
def test_a_ttl_or_scope_that_makes_no_sense_is_refused(options: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidOption) as refused:
        the("echo").using(**options)
    assert refused.value.data["errors"][0]["field"] == f"options.{field}"


def batch(*items: tuple[Any, dict[str, Any]]) -> list[Any]:
    given = [{"payload": {"value": value}, "options": options} for value, options in items]
    return services.task_enqueue_many("echo", given, actor=Actor.local())


def test_a_batch_keeps_its_order_whatever_keys_and_options_its_items_have() -> None:
    known = the("echo").using(idempotency_key="known").enqueue(0)
    ids = batch(
        (1, {"tags": ["x"]}),
        (2, {"idempotency_key": "b"}),
        (0, {"idempotency_key": "known"}),
        (3, {}),
        (2, {"idempotency_key": "b"}),
        (4, {"debounce": {"key": "d", "delay": 5}}),
        (5, {"debounce": {"key": "d", "delay": 5}}),
    )
    assert ids[2] == known.id
    assert ids[1] == ids[4]
    assert ids[5] == ids[6]
    payloads = {r.id: (r.payload["value"], r.idempotency_key) for r in Run.objects.all()}
    assert [payloads[i] for i in ids[:4]] == [(1, None), (2, "b"), (0, "known"), (3, None)]
    assert payloads[ids[5]] == (5, None)
    assert Run.objects.count() == 5


def test_a_batch_with_one_item_that_cannot_be_stored_stores_none() -> None:
    the("echo").using(idempotency_key="known").enqueue(0)
    for item, error, path in (
        ((9, {"idempotency_key": "known"}), IdempotencyConflict, "items[1]"),
        ((1, {"queue_name": "nowhere"}), UnknownQueue, "items[1].options.queue_name"),
        ((1, {"queue_name": "nowhere", "idempotency_key": "new"}), UnknownQueue, "items[1].options.queue_name"),
    ):
        with pytest.raises(error) as refused:
            batch((1, {"idempotency_key": "fresh"}), item)
        assert isinstance(refused.value, HoldfastError)
        assert refused.value.data["errors"][0]["field"] == path
    assert Run.objects.count() == IdempotencyKey.objects.count() == 1


def test_of_a_batch_in_parts_a_key_without_a_run_is_free_again() -> None:
    from runs import enqueue
    from runs.sdk.options import Options

    items = [
        enqueue.Item('{"value": 1}', Options(idempotency_key="a", queue_name="nowhere")),
        enqueue.Item('{"value": 2}', Options(idempotency_key="b")),
    ]
    refused, stored = enqueue.enqueue_items(the("echo"), items)
    assert isinstance(refused, UnknownQueue)
    assert isinstance(stored, enqueue.Stored)
    assert [key.key for key in IdempotencyKey.objects.all()] == ["b"]
