"""Whoever ends a run or an attempt, it is in the rollups: charts, alerts and metrics know of it."""

from __future__ import annotations

import signal
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F
from django.utils import timezone

from holdfast import db
from holdfast.access.grants import Actor
from runs import services, store
from runs.alerts import services as alerts
from runs.alerts.choices import State
from runs.alerts.model import Alert
from runs.histogram import bucket
from runs.models import Attempt, Rollup, Run
from runs.store.errors import NOBODY
from runs.store.rollups import count_ends
from tests.support.alerts import look_at_alerts
from tests.support.people import signed_in
from tests.support.processes import Fleet
from tests.support.runs import all_final, attempts, run, the
from tests.support.waiting import eventually

ACTOR = Actor.system("test")


def counted(kind: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for status, count in Rollup.objects.filter(kind=kind).values_list("status", "count"):
        found[status] += count
    return found


def told(**which: Any) -> Rollup:
    return Rollup.objects.get(**which)


def crash_for_good(fleet: Fleet) -> Run:
    """A run that has killed four workers takes the fifth."""
    poison = the("killer").enqueue()
    Run.objects.filter(pk=poison.id).update(crashes=4)
    fleet.start("worker-1", "work", "--name", "worker-1")  # it need not live until it has been seen
    all_final([poison.id])
    return run(poison.id)


def test_runs_are_counted_whoever_ends_them(waits: Fleet) -> None:
    waits.scheduler()
    late = the("until-past").using(ttl=0.3).enqueue()
    all_final([late.id])
    poison = crash_for_good(waits)
    waits.worker("worker-2")
    fine, bad = the("until-past").enqueue(), the("aborts").enqueue()
    bounded, asks, works = the("bounded").enqueue(True), the("asks").enqueue(), the("works-on").enqueue()
    delayed = the("until-past").using(delay=600).enqueue()
    services.run_cancel(delayed.id, actor=ACTOR)
    eventually(lambda: run(asks.id).status == "waiting", "it waits")
    services.run_cancel(asks.id, actor=ACTOR)
    eventually(lambda: waits.ledger.count("at", "work"), "it is at work")
    services.run_cancel(works.id, actor=ACTOR)
    all_final([fine.id, bad.id, bounded.id, works.id])

    ended = Counter(Run.objects.values_list("status", flat=True))
    assert ended == {"expired": 1, "crashed": 1, "completed": 1, "failed": 1, "timed_out": 1, "cancelled": 3}
    assert counted("run") == ended
    assert counted("attempt") == Counter(Attempt.objects.values_list("status", flat=True))

    crashed = told(kind="run", status="crashed")
    assert poison.finished_at is not None
    assert (crashed.task_id, crashed.worker.name, crashed.version) == ("killer", "worker-1", poison.version)
    assert crashed.seconds == pytest.approx((poison.finished_at - poison.created_at).total_seconds())
    assert crashed.bucket == bucket(crashed.seconds)
    died, attempt = told(kind="attempt", status="crashed"), attempts(poison.id)[0]
    assert attempt.finished_at is not None
    assert died.worker_id == crashed.worker_id
    assert died.seconds == pytest.approx((attempt.finished_at - attempt.started_at).total_seconds(), abs=0.5)
    expired = told(kind="run", status="expired")
    assert (expired.worker_id, expired.version) == (NOBODY, ""), "it has had none"
    over = told(kind="run", status="timed_out")
    assert over.worker.name == "worker-2"
    assert told(kind="attempt", status="timed_out").seconds < over.seconds, "the wait does not count"


def test_alerts_metrics_and_charts_know_of_a_task_that_kills_its_workers(waits: Fleet) -> None:
    waits.scheduler()
    late = the("until-past").using(ttl=0.3).enqueue()
    all_final([late.id])
    crash_for_good(waits)
    waits.stop()
    Rollup.objects.update(minute=F("minute") - timedelta(minutes=2))  # their minute is over

    for task in ("killer", "until-past"):
        alerts.alert_create(task, actor=ACTOR, kind="failure_rate", task=task, threshold=10, window=1_800, min_runs=1)
    Alert.objects.update(due_at=timezone.now())
    look_at_alerts()
    assert [(a.state, a.value) for a in Alert.objects.all()] == [(State.FIRING, 100.0)] * 2

    viewer = signed_in("viewer")
    said = viewer.get("/metrics").content.decode()
    assert 'holdfast_runs_ended_5m{status="crashed"} 1.0' in said
    assert 'holdfast_runs_ended_5m{status="expired"} 1.0' in said
    page = viewer.get("/explore/", {"span": "1h", "by": "worker"}).content.decode()
    assert "worker-1" in page
    assert "without one" in page, "one has expired before a worker had it"


def test_the_worker_of_a_run_that_is_being_cancelled_dies_and_it_is_counted_once(waits: Fleet) -> None:
    victim = waits.worker("worker-1")
    handle = the("works-on-sync").enqueue()
    eventually(lambda: waits.ledger.count("at", "work"), "it is at work")
    victim.signal(signal.SIGSTOP)
    services.run_cancel(handle.id, actor=ACTOR)
    assert counted("run") == {}, "it is not over"
    victim.signal(signal.SIGKILL)
    waits.scheduler()
    all_final([handle.id])
    assert counted("run") == {"cancelled": 1}
    assert counted("attempt") == {"crashed": 1} == Counter(a.status for a in attempts(handle.id))


def test_nobody_waits_for_another_who_counts_the_same(registered: None) -> None:
    ends = [("echo", 1, "v", 7, "cancelled", 2.0, "cancelled", 1.0)]
    key = store.RollupKey("run", "echo", 1, "", "v", "cancelled", bucket(2.0))
    with db.connect("one") as one, db.connect("two") as two:
        two.execute("SET lock_timeout = '2s'")
        with one.transaction():
            count_ends(one, ends)
            count_ends(one, ends)
            with two.transaction():
                store.add_rollups(two.cursor(), 7, {key: (1, 2.0)})
                count_ends(two, ends)
    assert counted("run") == {"cancelled": 4}
    assert set(Rollup.objects.values_list("worker_id", flat=True)) == {7}
