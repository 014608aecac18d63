"""What fails is counted by fingerprint, in the transaction of the failure: by workers, rescuers and deadlines."""

from __future__ import annotations

import signal
import uuid
from datetime import timedelta

import pytest
from django.db.models import Sum
from django.utils import timezone

from holdfast import db
from runs import store
from runs.engine import upkeep
from runs.errorgroups.model import ErrorCount, ErrorGroup
from runs.store import ErrorKey, ErrorRow
from tests.support.processes import Fleet
from tests.support.runs import all_final, run, the
from tests.support.waiting import eventually

RUN = uuid.UUID("01900000-0000-7000-8000-000000000001")


def counts(fingerprint: str) -> dict[tuple[str, str, str], tuple[int, int]]:
    """(task, step, version) → (failed tries, runs that ended so)."""
    found = ErrorCount.objects.filter(fingerprint=fingerprint).values_list("task_id", "step", "version")
    rows = found.annotate(n=Sum("count"), e=Sum("ended")).order_by()
    return {tuple(row[:3]): row[3:] for row in rows}


def fingerprint_of(run_id: uuid.UUID) -> str:
    error = run(run_id).error
    assert error is not None
    return str(error["fingerprint"])


def test_every_failed_attempt_is_counted_and_one_ends_the_run(fleet: Fleet) -> None:
    fleet.pair()
    handles = [the("never-lucky").enqueue() for _ in range(3)]
    all_final([h.id for h in handles])
    [fingerprint] = {fingerprint_of(h.id) for h in handles}
    assert counts(fingerprint) == {("never-lucky", "", the("never-lucky").version): (9, 3)}
    group = ErrorGroup.objects.get(pk=fingerprint)
    assert (group.type, group.message, group.tasks) == ("ConnectionError", "never", ["never-lucky"])
    assert group.example in {h.id for h in handles}
    assert group.first_seen <= group.last_seen <= timezone.now()


@pytest.mark.parametrize(("fail", "ended"), [(2, 0), (3, 1)])
def test_a_steps_failed_tries_are_one_group_with_the_attempt_that_they_end(fleet: Fleet, fail: int, ended: int) -> None:
    fleet.worker("worker-1")
    handle = the("wobbles").enqueue(fail=fail)
    all_final([handle.id])
    [group] = ErrorGroup.objects.all()
    assert counts(group.pk) == {("wobbles", "wobbly", the("wobbles").version): (fail, ended)}
    if ended:
        assert fingerprint_of(handle.id) == group.pk
        assert run(handle.id).error["step"].startswith("wobbly#1")  # type: ignore[index]


def test_attempts_of_workers_that_die_are_a_group(fleet: Fleet) -> None:
    worker = fleet.worker("worker-1")
    fleet.scheduler()
    handle = the("gated").enqueue(str(fleet.ledger.folder / "gate"))
    eventually(lambda: run(handle.id).status == "running", "it runs")
    worker.signal(signal.SIGKILL)
    eventually(lambda: counts("worker-lost"), "the rescuer has counted it")
    assert counts("worker-lost") == {("gated", "", the("gated").version): (1, 0)}
    group = ErrorGroup.objects.get(pk="worker-lost")
    assert "stopped without a word" in group.message
    assert group.example == handle.id


def test_runs_that_start_too_late_are_a_group(fleet: Fleet) -> None:
    handle = the("echo").using(ttl=0.1).enqueue("x")
    fleet.scheduler()
    all_final([handle.id])
    assert run(handle.id).status == "expired"
    eventually(lambda: counts("expired"), "it is counted")
    assert counts("expired") == {("echo", "", ""): (1, 1)}


def test_two_writers_that_meet_over_groups_in_any_order_do_not_lock_each_other_out(registered: None) -> None:
    def groups(*names: str) -> list[ErrorRow]:
        return [ErrorRow(name, "E", "m", {"t"}, RUN) for name in names]

    with db.connect("one") as one, db.connect("two") as two:
        with one.transaction():
            store.add_errors(one, 1, {ErrorKey("a", "t", "", "v"): (1, 0)}, groups("b", "a"))
        two.execute("SET lock_timeout = '5s'")
        with one.transaction(), two.transaction():
            store.add_errors(one, 1, {ErrorKey("a", "t", "", "v"): (1, 0)}, [])
            store.add_errors(two, 2, {ErrorKey("a", "t", "", "v"): (1, 1)}, [])  # of another worker: nobody waits
    assert counts("a") == {("t", "", "v"): (3, 1)}
    assert ErrorGroup.objects.count() == 2


def test_a_group_learns_of_other_tasks_and_keeps_when_it_was_first_seen(registered: None) -> None:
    with db.connect("test") as conn:
        for task in ("a", "b", "a"):
            with conn.transaction():
                store.add_errors(conn, 1, {}, [ErrorRow("f", "E", "m", {task}, RUN)])
                first = ErrorGroup.objects.filter(pk="f").values_list("first_seen", flat=True).first()
    group = ErrorGroup.objects.get(pk="f")
    assert group.tasks == ["a", "b"]
    assert group.first_seen == first
    assert group.last_seen > group.first_seen


def test_old_counts_become_one_row_and_older_ones_are_dropped_with_their_groups(registered: None) -> None:
    now = timezone.now()
    hours = [now - timedelta(hours=age) for age in (0, 5, 5, 40 * 24)]
    for worker, hour in enumerate(hours, 1):
        at = hour.replace(minute=0, second=0, microsecond=0)
        ErrorCount.objects.create(
            fingerprint="f", hour=at, task_id="t", step="", version="v", worker_id=worker, count=2, ended=1
        )
    for name, age in (("f", 0), ("old", 100)):
        seen = now - timedelta(days=age)
        ErrorGroup.objects.create(fingerprint=name, type="E", message="m", tasks=["t"], first_seen=seen, last_seen=seen)
    with db.connect("test") as conn:
        upkeep.tidy_errors(conn)
        upkeep.tidy_errors(conn)
    kept = ErrorCount.objects.order_by("hour").values_list("worker_id", "count", "ended")
    assert list(kept) == [(0, 4, 2), (1, 2, 1)]
    assert list(ErrorGroup.objects.values_list("pk", flat=True)) == ["f"]
