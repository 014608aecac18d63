"""What tasks should not do, and what PostgreSQL may refuse: the worker goes on, and no run is stranded."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connection

from holdfast.access.grants import Actor
from queues.models import Lease
from runs import answers
from runs.models import Run, Snapshot
from tests.support.processes import Fleet
from tests.support.runs import all_final, attempts, lines, run, snapshots, statuses, the
from tests.support.waiting import eventually

ACTOR = Actor.system("test")


@pytest.fixture
def worked(hard: Fleet) -> Fleet:
    """One worker and the scheduler."""
    hard.pair()
    return hard


@contextmanager
def refusing(when: str, code: str) -> Iterator[None]:
    """PostgreSQL refuses updates of runs for which the condition holds, with this SQLSTATE."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE FUNCTION tests_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"RAISE EXCEPTION 'refused by the test' USING ERRCODE = '{code}'; END $$;"
            f"CREATE TRIGGER tests_refuse BEFORE UPDATE ON runs_run FOR EACH ROW WHEN ({when}) "
            f"EXECUTE FUNCTION tests_refuse()"
        )
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TRIGGER tests_refuse ON runs_run; DROP FUNCTION tests_refuse()")


# ── a run is put down while its code does other things ───────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["group-put-down", "gather-put-down"])
def test_a_step_that_waits_for_its_retry_beside_others_puts_the_run_down_and_is_not_a_failure(
    worked: Fleet, name: str
) -> None:
    handle = the(name).enqueue()
    eventually(lambda: run(handle.id).status == "waiting", "the run is put down")
    assert handle.result(timeout=60) == ["a", "b"]
    assert [a.status for a in attempts(handle.id)] == ["completed"]
    assert worked.ledger.count("quick", f"{handle.id}-a") == 1


def test_code_that_catches_everything_cannot_make_a_result_out_of_a_run_that_is_put_down(worked: Fleet) -> None:
    handle = the("catch-all-put-down").enqueue()
    assert handle.result(timeout=60) == f"{handle.id}-b"
    assert [a.status for a in attempts(handle.id)] == ["completed"]


def test_fault_4_a_group_of_tasks_is_handed_over_and_not_failed(hard: Fleet) -> None:
    worker = hard.worker("worker-1", HOLDFAST_GRACE="0.1")
    handle = the("group-of-naps").enqueue()
    eventually(lambda: hard.ledger.count("nap") >= 4, "it is at work")
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    assert run(handle.id).status == "queued"
    hard.worker("worker-2")
    assert handle.result(timeout=60) == "rested"
    assert [a.number for a in attempts(handle.id)] == [1]
    assert hard.ledger.repeated("nap") == []


def test_fault_4_a_thread_that_reaches_no_step_boundary_does_not_keep_its_worker_from_ending(hard: Fleet) -> None:
    worker = hard.worker("worker-1", HOLDFAST_GRACE="0.1")
    handle = the("stuck").enqueue()
    eventually(lambda: hard.ledger.count("stuck") == 1, "it is at work")
    worker.signal(signal.SIGTERM)
    worker.wait()
    hard.worker("worker-2")
    eventually(lambda: hard.ledger.count("stuck") == 2, "it goes on elsewhere")
    hard.ledger.open_gate("stuck")
    assert handle.result(timeout=60) == "free"


def test_a_step_that_starts_tasks_of_its_own_does_not_change_the_names_of_the_branches_after_it(worked: Fleet) -> None:
    handle = the("branches-after-a-step-of-many-tasks").enqueue()
    eventually(lambda: run(handle.id).status == "waiting", "the run is put down")
    answers.run_signal(handle.id, "go", None, actor=ACTOR)
    assert handle.result(timeout=60) == [3, 1, 2]
    assert worked.ledger.count("branched") == 2
    assert [s.key for s in snapshots(handle.id)][1:3] == ["branched#1@1", "branched#1@2"]


@pytest.mark.parametrize("how", ["step", "unsafe", "sleep", "thread"])
def test_a_branch_that_works_keeps_its_run_in_the_worker_while_another_waits(worked: Fleet, how: str) -> None:
    handle = the("works-beside-a-listener").enqueue(how)
    assert handle.result(timeout=60) == ["done"]
    assert worked.ledger.count("long") == 1


@pytest.mark.parametrize("how", ["step", "sleep"])
def test_a_run_leaves_its_worker_once_the_branch_that_worked_waits_as_well(worked: Fleet, how: str) -> None:
    handle = the("works-beside-a-listener").enqueue(how, listens_on=True)
    eventually(lambda: worked.ledger.count("through") == 1, "the work is done")
    eventually(lambda: run(handle.id).status == "waiting", "the run is put down")
    answers.run_signal(handle.id, "go", 5, actor=ACTOR)
    assert handle.result(timeout=60) == ["done", 5]


# ── what PostgreSQL refuses ──────────────────────────────────────────────────────────────────────────────────────


def test_a_result_that_postgresql_refuses_fails_its_run_and_frees_its_slot(worked: Fleet) -> None:
    with refusing("NEW.output = '\"bad\"'::jsonb", "22000"):
        bad, good = the("returns").enqueue("bad"), the("returns").enqueue("good")
        assert good.result(timeout=60) == "good"
        all_final([bad.id])
    assert bad.refresh().status == "failed"
    assert bad.error is not None
    assert "refused by the test" in bad.error["message"]
    assert [a.status for a in attempts(bad.id)] == ["failed"]
    assert not Lease.objects.exists()


def test_fault_15_work_resumes_after_the_disk_was_full_and_nothing_is_lost(worked: Fleet) -> None:
    with refusing("NEW.status = 'completed'", "53100"):
        handles = [the("returns").enqueue(str(n)) for n in range(5)]
        eventually(lambda: Run.objects.filter(status="running").count() == 5, "all were started")
        with pytest.raises(TimeoutError):
            handles[0].result(timeout=1)
    assert [h.result(timeout=60) for h in handles] == ["0", "1", "2", "3", "4"]
    assert {a.status for h in handles for a in attempts(h.id)} == {"completed"}


def test_a_result_that_is_too_large_fails_the_attempt_and_says_what_to_do(worked: Fleet) -> None:
    handle = the("returns-much").enqueue(40_000_000)
    all_final([handle.id])
    assert handle.refresh().status == "failed"
    assert handle.error is not None
    assert "40,000,002 bytes" in handle.error["message"]
    assert "reference" in handle.error["message"]
    assert the("returns-much").enqueue(1_000_000).result(timeout=60) == "x" * 1_000_000


def test_arguments_that_cannot_be_shown_do_not_fail_a_step_that_succeeded(worked: Fleet) -> None:
    handle = the("odd-arguments").enqueue()
    assert handle.result(timeout=60) == 8
    assert len(snapshots(handle.id)) == 8


def test_no_log_line_however_odd_fails_a_run_or_is_lost(worked: Fleet) -> None:
    handle = the("odd-lines").enqueue()
    handle.result(timeout=60)
    said = eventually(lambda: lines(handle.id) if len(lines(handle.id)) >= 7 else None, "all lines")
    messages = [line.message for line in said]
    assert messages[0] == "above all"
    assert messages[1:3] == ["an unshowable field", "a long field"]
    assert messages[3] == "half ? nul \ufffd"
    assert messages[4] == "%s"
    assert messages[-2].startswith("yyy")
    assert messages[-1] == "the end"
    assert "refused" not in worked.processes[0].said()


@pytest.mark.parametrize("name", ["chatty", "chatty-sync"])
def test_ten_thousand_lines_arrive_whole_and_in_order(worked: Fleet, name: str) -> None:
    handle = the(name).enqueue(10_000)
    handle.result(timeout=60)
    # On a slow machine there is one more, which says that it held up the event loop.
    said = [line.message for line in lines(handle.id) if line.message.isdecimal()]
    assert said == [str(n) for n in range(10_000)]


# ── what is left behind ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_thread_that_outlives_its_attempt_writes_nothing_into_the_next(worked: Fleet) -> None:
    handle = the("leaves-a-thread").enqueue()
    assert handle.result(timeout=60) == "onetwo"
    assert [a.status for a in attempts(handle.id)] == ["failed", "completed"]
    assert "refused" not in worked.processes[0].said()
    assert [(s.attempt, s.output) for s in snapshots(handle.id)] == [(2, "one"), (2, "two")]


@pytest.mark.parametrize("name", ["exits-in-a-group", "interrupts-in-a-group"])
def test_an_exit_within_a_group_fails_its_run_and_not_the_event_loop(worked: Fleet, name: str) -> None:
    handle = the(name).enqueue()
    all_final([handle.id])
    assert handle.refresh().status == "failed"
    assert the("returns").enqueue("alive").result(timeout=60) == "alive"
    assert worked.processes[0].popen.poll() is None


def test_a_task_that_resists_its_end_does_not_keep_its_run(worked: Fleet) -> None:
    handle = the("resists").enqueue()
    assert handle.result(timeout=60) == "done"
    worked.ledger.open_gate("resists")


def test_a_transaction_that_a_run_leaves_open_does_not_harm_the_next_in_its_thread(hard: Fleet) -> None:
    hard.worker("worker-1", HOLDFAST_THREADS="1")
    assert the("open-transaction").enqueue(True).result(timeout=60) >= 1
    assert the("open-transaction").enqueue(False).result(timeout=60) >= 2


def test_async_tasks_reach_the_database_again_after_their_connection_was_cut(worked: Fleet) -> None:
    assert the("uses-the-orm").enqueue().result(timeout=60) == 1
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'holdfast' "
            "AND datname = current_database() AND pid <> pg_backend_pid()"
        )
    ids = [the("uses-the-orm").using(max_attempts=1).enqueue().id]
    all_final(ids)
    ids.append(the("uses-the-orm").enqueue().id)
    all_final(ids)
    assert "completed" in statuses(ids)
    assert Snapshot.objects.count() == 0


@pytest.mark.parametrize("name", ["steps-in-bare-threads", "steps-in-bare-threads-apart"])
def test_a_step_in_a_thread_that_knows_no_run_is_refused_rather_than_forgotten(worked: Fleet, name: str) -> None:
    handle = the(name).enqueue()
    eventually(lambda: run(handle.id).status == "failed", "the run fails")
    error = run(handle.id).error
    assert error["type"] == "runs.errors.NotInRun"
    assert "'by_hand'" in error["message"]
