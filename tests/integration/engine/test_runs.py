"""A run from enqueue to its end, through the public contract, executed by a real worker."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from queues.models import Entry, Lease, Timer
from runs.errors import InvalidOption, InvalidPayload, PayloadTooLarge, RunFailed, UnknownQueue
from runs.models import Rollup, Run
from tests.support.processes import Fleet
from tests.support.runs import all_final, attempts, lines, run, snapshots, the
from tests.support.waiting import eventually


@pytest.fixture
def worked(fleet: Fleet) -> Fleet:
    """One worker and the scheduler."""
    fleet.pair()
    return fleet


def test_a_result_comes_back_as_it_was_for_both_kinds_of_functions(worked: Fleet) -> None:
    value = {"a": [1, 2.5, None, True, "ü\n😀"], "big": 2**70}
    assert the("echo").enqueue(value).result(timeout=60) == value
    assert the("echo-sync").enqueue(value).result(timeout=60) == value
    assert the("typed").enqueue(count=3).result(timeout=60) == {"x": 3}


def test_a_task_is_retried_from_its_snapshots_until_it_completes(worked: Fleet) -> None:
    handle = the("second-time-lucky").enqueue()
    assert handle.result(timeout=60) == 42
    assert [a.status for a in attempts(handle.id)] == ["failed", "completed"]
    error = attempts(handle.id)[0].error
    assert error["type"] == "ConnectionError"
    assert "on purpose" in error["traceback"]
    assert "runs/engine" not in error["traceback"], "the engine's own frames say nothing to the user"
    assert worked.ledger.count("begin", str(handle.id)) == 1, "the finished step was not called again"
    assert [s.kind for s in snapshots(handle.id)][:2] == ["step", "checkpoint"]
    assert [s.sequence for s in snapshots(handle.id)] == list(range(1, len(snapshots(handle.id)) + 1))


def test_a_task_that_never_succeeds_fails_after_its_attempts(worked: Fleet) -> None:
    handle = the("never-lucky").enqueue()
    with pytest.raises(RunFailed, match="ConnectionError never"):
        handle.result(timeout=60)
    assert worked.ledger.count("attempt") == 3
    assert run(handle.id).failures == 3
    assert not Entry.objects.exists()
    assert not Timer.objects.exists()


def test_max_attempts_of_one_enqueue_override_the_policy(worked: Fleet) -> None:
    handle = the("never-lucky").using(max_attempts=1).enqueue()
    all_final([handle.id])
    assert worked.ledger.count("attempt") == 1


def test_abort_ends_at_once(worked: Fleet) -> None:
    handle = the("aborts").enqueue()
    all_final([handle.id])
    assert handle.refresh().status == "failed"
    assert worked.ledger.count("attempt") == 1


def test_a_step_has_a_retry_budget_of_its_own(worked: Fleet) -> None:
    handle = the("wobbles").enqueue(fail=2)
    assert handle.result(timeout=60) == 2
    assert worked.ledger.count("wobbles") == 1, "the task was called once; only its step was retried"
    kinds = [(s.kind, (s.error or {}).get("type")) for s in snapshots(handle.id)]
    assert kinds == [("failure", "TimeoutError"), ("failure", "TimeoutError"), ("step", None)]
    assert any("try 2 of 3" in line.message for line in lines(handle.id))


def test_a_step_that_is_due_much_later_leaves_the_worker_and_comes_back_in_the_same_attempt(worked: Fleet) -> None:
    handle = the("waits-for-its-step").enqueue()
    eventually(lambda: run(handle.id).status == "waiting", "the run is put down")
    assert not Lease.objects.exists(), "it holds no slot"
    assert run(handle.id).waiting_for["kind"] == "step_retry"
    assert run(handle.id).next_at is not None
    assert handle.result(timeout=60) == 1
    assert [a.number for a in attempts(handle.id)] == [1]


def test_a_step_in_a_plain_functions_own_event_loop_leaves_the_worker_as_well(worked: Fleet) -> None:
    handle = the("has-a-loop-of-its-own").enqueue()
    eventually(lambda: run(handle.id).status == "waiting", "the run is put down")
    assert not Lease.objects.exists(), "it holds no slot"
    assert run(handle.id).waiting_for["kind"] == "step_retry"
    assert handle.result(timeout=60) == 7
    assert worked.ledger.count("tried") == 2


def test_parallel_steps_are_each_done_once(worked: Fleet) -> None:
    handle = the("gathers").enqueue(width=20)
    assert handle.result(timeout=60) == list(range(20))
    assert worked.ledger.repeated("begin") == []
    assert {s.key for s in snapshots(handle.id)} == {f"brick#1@{n}" for n in range(1, 21)}


def test_a_checkpoint_is_handed_back_on_the_next_attempt(worked: Fleet) -> None:
    assert the("remembers").enqueue().result(timeout=60) == [{"attempt": 1}, {"attempt": 2}]


def test_log_print_and_logging_become_lines_of_the_run_attempt_and_step(worked: Fleet) -> None:
    handle = the("talks").enqueue()
    handle.result(timeout=60)
    said = eventually(lambda: lines(handle.id) if len(lines(handle.id)) == 4 else None, "four lines")
    assert [(x.level, x.message, x.step) for x in said] == [
        (20, "by log", ""),
        (20, "by print", ""),
        (30, "by logging 3", ""),
        (40, "inside a step", "speaking_step#1"),
    ]
    assert said[0].fields == {"number": 1}
    assert {x.attempt for x in said} == {1}
    assert [x.sequence for x in said] == sorted({x.sequence for x in said})


def test_what_was_printed_without_a_newline_is_not_lost(worked: Fleet) -> None:
    handle = the("talks-sync").enqueue()
    handle.result(timeout=60)
    assert [x.message for x in lines(handle.id)] == ["one", "two", "no newline"]


def test_fault_32_a_result_that_cannot_be_stored_fails_the_attempt_and_names_the_path(worked: Fleet) -> None:
    handle = the("unstorable").enqueue()
    all_final([handle.id])
    assert handle.refresh().status == "failed"
    assert handle.error is not None
    assert "result.deep[1].here" in handle.error["message"]


def test_fault_32_a_state_that_cannot_be_stored_fails_the_attempt_and_names_the_path(worked: Fleet) -> None:
    handle = the("unstorable-state").enqueue()
    all_final([handle.id])
    assert handle.refresh().status == "failed"
    assert handle.error is not None
    assert handle.error["type"] == "runs.errors.NotSerializable"
    assert "state.rows[0].at" in handle.error["message"]


@pytest.mark.parametrize(
    ("name", "payload", "field"),
    [
        ("says-otherwise", {}, "result"),
        ("step-says-otherwise", {}, "step 'counted': result[1].n"),
        ("step-says-otherwise", {"transaction": True}, "step 'counted_in_a_transaction': result"),
    ],
)
def test_a_result_that_is_not_what_its_annotation_says_fails_at_once_and_not_when_the_run_is_entered_again(
    worked: Fleet, name: str, payload: dict[str, Any], field: str
) -> None:
    handle = the(name).enqueue(**payload)
    all_final([handle.id])
    assert handle.error is not None
    assert handle.error["type"] == "runs.errors.InvalidResult"
    assert handle.error["message"].startswith(f"{field} is not what the annotation says: Input should be a valid")
    assert "step" not in {snapshot.kind for snapshot in snapshots(handle.id)}, "nothing is stored that none can read"


def test_an_attempt_that_takes_longer_than_max_duration_times_out(worked: Fleet) -> None:
    handle = the("too-long").enqueue()
    all_final([handle.id])
    assert handle.refresh().status == "timed_out"
    assert [a.status for a in attempts(handle.id)] == ["timed_out"]


def test_a_task_that_exits_fails_and_its_worker_goes_on(worked: Fleet) -> None:
    handle = the("exits").enqueue()
    all_final([handle.id])
    assert handle.refresh().status == "failed"
    assert the("echo").enqueue("alive").result(timeout=60) == "alive"


def test_a_run_of_a_task_that_no_worker_knows_is_left_for_another_not_failed(worked: Fleet) -> None:
    handle = the("echo").enqueue(1)
    handle.result(timeout=60)
    from runs.models import Task

    Task.objects.create(id="of-another-version", module="x", queue=run(handle.id).queue, version="")
    from holdfast import db
    from runs import store

    with db.callers() as conn:
        ids, _ = store.enqueue(conn, store.NewRuns("of-another-version", "default", 0, ["{}"], 1))
    eventually(lambda: run(ids[0]).status == "waiting", "it is deferred")
    assert run(ids[0]).waiting_for["kind"] == "unknown_task"
    assert the("echo").enqueue(2).result(timeout=60) == 2


def test_a_delayed_run_is_scheduled_and_starts_when_it_is_due(worked: Fleet) -> None:
    handle = the("echo").using(delay=0.8).enqueue("later")
    assert handle.status == "scheduled"
    assert handle.result(timeout=60) == "later"
    row = run(handle.id)
    assert row.started_at - row.created_at >= timedelta(seconds=0.8)


def test_rollups_count_every_run_attempt_and_step(worked: Fleet) -> None:
    ids = [h.id for h in the("wall").enqueue_many([{"bricks": 2, "seconds": 0.01}] * 10)]
    all_final(ids)

    def count(kind: str, **more: str) -> int:
        return sum(Rollup.objects.filter(kind=kind, task_id="wall", **more).values_list("count", flat=True))

    eventually(lambda: count("run", status="completed") == 10, "ten runs are counted")
    assert count("attempt", status="completed") == 10
    assert count("step", status="completed", name="brick") == 20
    assert count("delay") == 10


# ── enqueue alone: no worker ─────────────────────────────────────────────────────────────────────────────────────


def test_higher_priority_and_older_runs_are_leased_first(registered: None, ledger: object) -> None:
    ids = {p: the("echo").using(priority=p).enqueue(p).id for p in (0, 5, -5)}
    order = list(Entry.objects.order_by("-priority", "ready_at").values_list("entry_id", flat=True))
    assert order == [ids[5], ids[0], ids[-5]]


def test_enqueue_many_keeps_the_order_and_stores_all_or_none(registered: None) -> None:
    handles = the("typed").enqueue_many([{"count": n} for n in range(3_000)])
    assert [run(h.id).payload["count"] for h in handles[::500]] == list(range(0, 3_000, 500))
    with pytest.raises(InvalidPayload, match=r"payloads\[1\]\.count"):
        the("typed").enqueue_many([{"count": 1}, {"count": "many"}])
    assert Run.objects.count() == 3_000
    assert Entry.objects.count() == 3_000


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({}, "payload.count"),
        ({"count": "x"}, "payload.count"),
        ({"count": 1, "extra": 2}, "payload.extra"),
        ({"count": 1, "name": "nul\x00"}, "payload.name"),
        ({"count": 1, "name": "half \ud800"}, "payload.name"),
    ],
)
def test_a_payload_that_does_not_fit_is_refused_with_its_field_and_nothing_is_stored(
    registered: None, payload: dict[str, object], field: str
) -> None:
    with pytest.raises(Exception) as refused:  # noqa: PT011 - two classes, told apart by status
        the("typed").enqueue(**payload)
    assert refused.value.status == 422  # type: ignore[attr-defined]
    assert refused.value.data["errors"][0]["field"] == field  # type: ignore[attr-defined]
    assert not Run.objects.exists()
    assert not Entry.objects.exists()


def test_a_payload_over_the_limit_is_refused(registered: None, settings: object) -> None:
    settings.HOLDFAST_PAYLOAD_LIMIT = 1_000  # type: ignore[attr-defined]
    with pytest.raises(PayloadTooLarge, match="1,000"):
        the("echo").enqueue("x" * 1_000)
    assert not Run.objects.exists()


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"priority": 1_000}, "options.priority"),
        ({"delay": -1}, "options.delay"),
        ({"max_attempts": 0}, "options.max_attempts"),
        ({"tags": [""]}, "options.tags"),
        ({"run_after": timezone.now().replace(tzinfo=None)}, "options.run_after"),
        ({"idempotency_key": ""}, "options.idempotency_key"),
    ],
)
def test_an_option_that_does_not_fit_is_refused_with_its_name(
    registered: None, options: dict[str, object], field: str
) -> None:
    with pytest.raises(InvalidOption) as refused:
        the("echo").using(**options)
    assert refused.value.data["errors"][0]["field"] == field


def test_an_unknown_queue_is_refused_naming_near_ones(registered: None) -> None:
    with pytest.raises(UnknownQueue, match="narrow"):
        the("echo").using(queue_name="narow").enqueue(1)
    assert not Run.objects.exists()


def test_errors_survive_pickling(registered: None) -> None:
    import pickle

    with pytest.raises(InvalidPayload) as refused:
        the("typed").enqueue()
    again = pickle.loads(pickle.dumps(refused.value))
    assert str(again) == str(refused.value)
    assert again.data == refused.value.data
    assert json.dumps(again.data)
