"""Two who want the same thing at the same moment, and none of them hangs, fails or doubles it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from django.db import connection

from holdfast import db
from holdfast.access.grants import Actor
from queues import store as queue_store
from runs import services, store
from runs.models import Run
from tests.support.runs import run, the
from tests.support.waiting import eventually


@pytest.fixture
def actor() -> Actor:
    return Actor.system("test")


def beside(job: Callable[[], object]) -> tuple[threading.Thread, list[BaseException]]:
    """Starts `job` in a thread; the list gets what it raises."""
    raised: list[BaseException] = []

    def call() -> None:
        try:
            job()
        except BaseException as error:
            raised.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=call)
    thread.start()
    return thread, raised


def someone_waits() -> bool:
    with db.connect("look") as conn:
        row = conn.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        ).fetchone()
    return bool(row and row[0])


def test_fault_20_a_cancel_that_meets_the_timer_as_it_falls_due_takes_effect(registered: None, actor: Actor) -> None:
    handle = the("echo").using(delay=0.05).enqueue("never")
    with db.connect("promoter") as conn:
        conn.execute("SET idle_in_transaction_session_timeout = 0")
        with conn.transaction():
            eventually(lambda: _promote(conn) == 1, "the timer is due")
            thread, raised = beside(lambda: services.run_cancel(handle.id, actor=actor))
            eventually(someone_waits, "the cancel waits for the timer")
        thread.join(30)
    assert raised == []
    assert run(handle.id).status == "cancelled"


def _promote(conn: db.Conn) -> int:
    due = queue_store.promote(conn, limit=10)
    store.ready(conn, [timer.entry_id for timer in due])
    return len(due)


def test_fault_22_two_batches_with_the_same_keys_in_another_order_do_not_block_each_other(
    registered: None, actor: Actor
) -> None:
    def batch(*keys: str) -> Callable[[], object]:
        items = [{"payload": {"value": key}, "options": {"idempotency_key": key}} for key in keys]
        return lambda: services.task_enqueue_many("echo", items, actor=actor)

    keys = [f"key-{number:02}" for number in range(60)]
    started = [beside(batch(*(keys if number % 2 else reversed(keys)))) for number in range(6)]
    for thread, _ in started:
        thread.join(30)
    assert [error for _, raised in started for error in raised] == []
    assert Run.objects.count() == 60
