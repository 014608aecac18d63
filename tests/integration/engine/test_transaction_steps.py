"""`@step(transaction=True)`: the rows that a step writes and its snapshot stand together or not at all."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from holdfast import db
from holdfast.demo.models import Order
from queues.models import Worker
from runs import store
from runs.models import Rollup, Run, Snapshot
from tests.support.processes import Fleet
from tests.support.runs import all_final, attempts, lines, run, snapshots, the
from tests.support.waiting import eventually

BOTH = pytest.mark.parametrize("name", ["writes", "writes-async"])


@pytest.fixture
def worked(stepping: Fleet) -> Fleet:
    """One worker and the scheduler."""
    stepping.pair()
    return stepping


def rows(customer: str) -> int:
    return Order.objects.filter(customer=customer).count()


@pytest.mark.parametrize("name", ["writes-in-a-thread-of-its-own", "writes-in-type-checkers-words"])
def test_async_tasks_have_other_ways_to_call_it(worked: Fleet, name: str) -> None:
    handle = the(name).enqueue("ann")
    assert handle.result(timeout=60) == Order.objects.get(customer="ann").pk
    assert [s.key for s in snapshots(handle.id)] == ["write#1"]


def test_the_snapshot_shows_what_the_step_was_called_with(worked: Fleet) -> None:
    handle = the("takes-all").enqueue(["ann", "bob"])
    assert handle.result(timeout=60) == 2
    assert [s.input for s in snapshots(handle.id)] == [{"customers": ["ann", "bob"]}]


@BOTH
def test_a_step_in_a_transaction_writes_once_and_is_counted(worked: Fleet, name: str) -> None:
    handle = the(name).enqueue("ann")
    assert handle.result(timeout=60) == Order.objects.get(customer="ann").pk
    (found,) = snapshots(handle.id)
    assert (found.kind, found.key, found.sequence) == ("step", "write#1", 1)
    eventually(
        lambda: Rollup.objects.filter(kind="step", name="write", status="completed", count=1).exists(),
        "the step is counted",
    )


@BOTH
def test_a_worker_killed_between_the_write_and_the_commit_leaves_neither_row_nor_snapshot(
    stepping: Fleet, name: str
) -> None:
    victim = stepping.worker("worker-1")
    handle = the(name).enqueue("ann", "dies before the commit")
    assert victim.wait() == -signal.SIGKILL
    assert (rows("ann"), snapshots(handle.id)) == (0, [])
    stepping.worker("worker-2")
    handle.result(timeout=60)
    assert rows("ann") == 1
    assert [(s.kind, s.attempt) for s in snapshots(handle.id)] == [("step", 2)]
    assert stepping.ledger.count("write", "ann") == 2


@BOTH
def test_a_worker_killed_right_after_the_commit_leaves_both_and_the_step_is_not_called_again(
    stepping: Fleet, name: str
) -> None:
    victim = stepping.worker("worker-1")
    handle = the(name).enqueue("ann", "dies after the commit")
    assert victim.wait() == -signal.SIGKILL
    assert rows("ann") == 1
    assert [(s.kind, s.attempt) for s in snapshots(handle.id)] == [("step", 1)]
    stepping.worker("worker-2")
    assert handle.result(timeout=60) == Order.objects.get(customer="ann").pk
    assert rows("ann") == 1
    assert stepping.ledger.count("write", "ann") == 1


@BOTH
def test_a_step_whose_connection_is_cut_is_rolled_back_and_called_again_without_counting_as_failed(
    worked: Fleet, name: str
) -> None:
    handle = the(name).enqueue("ann", "is cut")
    handle.result(timeout=60)
    assert rows("ann") == 1
    assert worked.ledger.count("write", "ann") == 2
    assert [s.kind for s in snapshots(handle.id)] == ["step"]


@BOTH
def test_a_commit_whose_answer_is_lost_with_the_connection_is_found_to_have_happened(worked: Fleet, name: str) -> None:
    handle = the(name).enqueue("ann", "loses its answer")
    assert handle.result(timeout=60) == Order.objects.get(customer="ann").pk
    assert worked.ledger.count("lost", "ann") == 1
    assert worked.ledger.count("write", "ann") == 1, "it was not called again"
    assert [s.kind for s in snapshots(handle.id)] == ["step"]


@pytest.fixture
def slow_commit() -> Iterator[None]:
    """A COMMIT that has written an order waits for a lock that the test holds."""
    with connection.cursor() as cursor:
        cursor.execute("""
            CREATE FUNCTION tests_slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                PERFORM pg_advisory_xact_lock_shared(4711); RETURN NULL; END $$;
            CREATE CONSTRAINT TRIGGER tests_slow AFTER INSERT ON demo_order DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION tests_slow()""")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TRIGGER tests_slow ON demo_order; DROP FUNCTION tests_slow()")


@BOTH
def test_a_commit_that_was_ended_by_the_server_is_known_not_to_have_happened(
    worked: Fleet, slow_commit: None, name: str
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(4711)")
        handle = the(name).enqueue("ann")
        eventually(lambda: ended(cursor), "the session that commits is ended")
        cursor.execute("SELECT pg_advisory_unlock(4711)")
    handle.result(timeout=60)
    assert rows("ann") == 1
    assert worked.ledger.count("write", "ann") == 2


def ended(cursor: Any) -> bool:
    cursor.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'holdfast step %' "
        "AND query = 'COMMIT' AND wait_event = 'advisory' AND datname = current_database()"
    )
    return bool(cursor.fetchall())


def test_a_worker_that_was_declared_lost_commits_nothing(stepping: Fleet) -> None:
    quick = {"HOLDFAST_HEARTBEAT_TIMEOUT": "5"}
    victim = stepping.worker("worker-frozen", **quick)
    handle = the("writes").enqueue("ann", "is held")
    eventually(lambda: stepping.ledger.count("holds") == 1, "the step has written")
    victim.signal(signal.SIGSTOP)
    stepping.worker("worker-rescuer", **quick)
    assert handle.result(timeout=60) == Order.objects.get(customer="ann").pk
    stepping.ledger.open_gate("held")
    victim.signal(signal.SIGCONT)
    assert victim.wait() == 3
    assert rows("ann") == 1
    assert [s.attempt for s in snapshots(handle.id)] == [2]
    assert [a.status for a in attempts(handle.id)] == ["crashed", "completed"]
    assert Worker.objects.get(name="worker-frozen").lost_at is not None


def test_rows_that_a_frozen_step_has_locked_are_free_when_its_worker_is_declared_lost(stepping: Fleet) -> None:
    quick = {"HOLDFAST_HEARTBEAT_TIMEOUT": "5"}
    Order.objects.create(customer="ann", item="kelp", quantity=1)
    victim = stepping.worker("worker-frozen", **quick)
    handle = the("adds-one").enqueue("ann")
    eventually(lambda: stepping.ledger.count("added") == 1, "the row is locked")
    victim.signal(signal.SIGSTOP)
    stepping.worker("worker-rescuer", **quick)
    assert handle.result(timeout=60) == 2, "the first try's change is rolled back"


def test_a_step_that_is_frozen_on_the_way_to_its_commit_lets_go_of_the_worker_and_the_lease(
    transactional_db: None,
) -> None:
    other = connection.copy()

    def frozen() -> None:
        with transaction.atomic():
            with db.callers() as conn:
                store.transaction_begin(conn, 4711)
                store.transaction_seal(conn, quiet=0.1)
            with other.cursor() as cursor:
                eventually(lambda: not open_steps(cursor), "PostgreSQL ends the session")
            Order.objects.count()

    with pytest.raises(DatabaseError, match="idle-in-transaction timeout"):
        frozen()
    other.close()


@pytest.mark.parametrize("name", ["writes-at-third", "writes-at-third-async"])
def test_a_try_that_fails_is_rolled_back_recorded_and_retried(worked: Fleet, name: str) -> None:
    handle = the(name).enqueue("ann")
    assert handle.result(timeout=60) == 1, "the rows of the tries that failed are not there"
    assert [s.kind for s in snapshots(handle.id)] == ["failure", "failure", "step"]
    assert [a.status for a in attempts(handle.id)] == ["completed"]


def test_what_the_step_enqueues_joins_its_transaction(worked: Fleet) -> None:
    handle = the("writes-and-enqueues").enqueue("ann")
    child = handle.result(timeout=60)
    all_final([child])  # type: ignore[list-item]
    assert run(child).status == "completed"  # type: ignore[arg-type]
    failing = the("writes-and-enqueues").enqueue("bob", fail=True)
    all_final([failing.id])
    assert run(failing.id).status == "failed"
    assert rows("bob") == 0
    assert Run.objects.filter(tags=["child"]).count() == 1


def test_hooks_run_after_the_commit_and_one_that_fails_does_not_repeat_the_step(worked: Fleet) -> None:
    the("writes").enqueue("ann", "notes its commit").result(timeout=60)
    assert worked.ledger.count("committed", "1") == 1
    handle = the("writes-async").enqueue("bob", "its hook fails")
    handle.result(timeout=60)
    assert (rows("bob"), worked.ledger.count("write", "bob")) == (1, 1)
    (line,) = [line for line in lines(handle.id) if line.level >= 40]
    assert "will not be called again" in line.message
    assert "ZeroDivisionError" in line.message


def test_a_savepoint_within_the_step_may_fail_alone(worked: Fleet) -> None:
    the("writes").enqueue("ann", "keeps the rest").result(timeout=60)
    assert (rows("ann"), rows("nobody")) == (1, 0)
    assert worked.ledger.count("savepoint", "DataError") == 1


@pytest.mark.parametrize(
    ("name", "how", "said"),
    [
        ("writes-within-a-transaction", (), "Call the step outside transaction.atomic()"),
        ("writes", ("rolls back",), "marked its transaction for rollback"),
    ],
)
def test_a_result_that_would_not_be_durable_is_refused(
    worked: Fleet, name: str, how: tuple[str, ...], said: str
) -> None:
    handle = the(name).enqueue("ann", *how)
    all_final([handle.id])
    assert run(handle.id).status == "failed"
    assert said in run(handle.id).error["message"]
    assert rows("ann") == 0
    assert not Snapshot.objects.filter(run_id=handle.id, kind="step").exists()


def test_both_ways_of_storing_share_one_sequence_and_keep_the_context(worked: Fleet) -> None:
    handle = the("writes-beside-others").enqueue(40)
    found = handle.result(timeout=60)
    assert found[2] == 2
    assert found[1][0] == "holdfast-step"  # type: ignore[index]
    assert found[1][1].startswith(f"{handle.id}:say_where#")  # type: ignore[index]
    assert sorted(s.sequence for s in snapshots(handle.id)) == list(range(1, 41))
    assert {line.step.split("#")[0] for line in lines(handle.id)} == {"say_where"}
    assert Order.objects.filter(customer__startswith="many-").count() == 20


def test_a_step_that_the_task_waits_for_no_more_is_rolled_back(worked: Fleet) -> None:
    handle = the("writes-too-slowly").enqueue("ann")
    all_final([handle.id])
    assert run(handle.id).status == "timed_out"
    worked.ledger.open_gate("held")
    with connection.cursor() as cursor:
        eventually(lambda: not open_steps(cursor), "its thread has left the transaction")
    assert (rows("ann"), snapshots(handle.id)) == (0, [])


def open_steps(cursor: Any) -> bool:
    cursor.execute(
        "SELECT 1 FROM pg_stat_activity WHERE application_name LIKE 'holdfast step %' AND datname = current_database()"
    )
    return bool(cursor.fetchall())


# ── outside a run, and other databases ───────────────────────────────────────────────────────────────────────────


def test_outside_a_run_it_is_its_function_in_a_transaction(stepping: Fleet) -> None:
    write = the("writes").function.__globals__["write"]
    assert write("ann") == Order.objects.get(customer="ann").pk
    with pytest.raises(ZeroDivisionError):
        write("bob", "its hook fails")
    assert rows("bob") == 1, "it is Django's own behaviour that a hook's error comes after the commit"


def test_writes_to_a_second_database_are_refused_and_reads_are_not(worked: Fleet) -> None:
    handle = the("writes-elsewhere").enqueue("ann")
    all_final([handle.id])
    assert run(handle.id).status == "failed"
    assert "writes to database 'other'" in run(handle.id).error["message"]
    assert worked.ledger.count("read", "0") == 1
    assert (rows("ann"), rows("bob")) == (0, 0)
