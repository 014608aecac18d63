"""Which runs count as stuck: by what was learned, by what their workers say, and no longer than it is so."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from holdfast import db
from queues.models import Lease, Worker
from runs.models import Heartbeat, Progress, Run
from runs.stuck import usual as rule
from runs.stuck import watch
from runs.stuck.model import Stack, Stuck
from runs.stuck.usual import Usual, patience
from runs.stuck.watch import Lookout
from tests.support import stored

pytestmark = pytest.mark.django_db
FLOOR = 30.0


@pytest.fixture
def kelp() -> Worker:
    return stored.worker()


def learned() -> Usual:
    found = Usual(FLOOR)
    with db.callers() as conn:
        found.learn(conn)
    return found


def looked(lookout: Lookout) -> set[Any]:
    """The runs that are stuck after a look at everything."""
    lookout._all_at = float("-inf")
    with db.callers() as conn:
        lookout.look(conn)
    return set(Stuck.objects.values_list("run_id", flat=True))


def lookout() -> Lookout:
    return Lookout(FLOOR, 15.0)


def silent(by: Worker, seconds: float, task: str = "sums", token: int = 1) -> Run:
    """A run of which nothing came since a worker has it."""
    return stored.held(stored.run("running", task, age=seconds), by, since=seconds, token=token)


# ── what is usual ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_step_s_time_is_the_p99_of_its_tries_and_the_limit_so_many_times_that() -> None:
    stored.task("sums")
    stored.usual("sums", "fetch", seconds=20, count=990)
    stored.usual("sums", "fetch", seconds=200, count=10, minutes_ago=200)
    found = learned().of("sums", "fetch")
    assert found is not None
    assert 17 <= found.usual <= 24, "one of a hundred took longer"
    assert found.limit == pytest.approx(rule.FACTOR * found.usual)
    assert found.step == "fetch"


def test_quick_steps_have_the_floor() -> None:
    stored.task("sums")
    stored.usual("sums", "fetch", seconds=0.01)
    found = learned().of("sums", "fetch")
    assert found is not None
    assert found.limit == FLOOR


def test_of_a_step_that_is_not_known_well_the_task_s_attempts_tell_and_otherwise_nobody_knows() -> None:
    stored.task("sums")
    stored.usual("sums", "fetch", count=rule.SAMPLES - 1)
    assert learned().of("sums", "fetch") is None
    assert learned().least("sums") is None
    stored.usual("sums", seconds=40)
    found = learned().of("sums", "fetch")
    assert found is not None
    assert (found.step, found.limit > 2 * 40) == ("", True)
    assert learned().of("others", "fetch") is None


def test_what_was_long_ago_is_forgotten_and_what_failed_is_not_learned() -> None:
    stored.task("sums")
    stored.usual("sums", "fetch", minutes_ago=(rule.DAYS * 24 + 2) * 60)
    stored.usual("sums", "send")
    from runs.models import Rollup

    Rollup.objects.filter(name="send").update(status="failed")
    found = Usual(FLOOR)
    with db.callers() as conn:
        while not found.complete:
            found.learn(conn)
    assert (found.of("sums", "fetch"), found.of("sums", "send")) == (None, None)


def test_the_hours_are_learned_some_at_a_time_and_none_is_counted_twice() -> None:
    stored.task("sums")
    for hours in (0, 1, 30, 100):
        stored.usual("sums", "fetch", count=6, minutes_ago=hours * 60)
    found = Usual(FLOOR)
    with db.callers() as conn:
        found.learn(conn)
        assert found.of("sums", "fetch") is None, "twelve so far"
        while not found.complete:
            found.learn(conn)
        for _ in range(3):
            found.learn(conn)
    assert found.of("sums", "fetch") is not None
    assert found._totals["sums", "fetch"].total() == 24


def test_the_longest_of_several_steps_counts_and_one_that_nobody_knows_excuses_all() -> None:
    stored.task("sums")
    stored.usual("sums", "fetch", seconds=20)
    stored.usual("sums", "train", seconds=2_000)
    found = learned()
    longest = patience(found, "sums", ["fetch", "train"], waits=False)
    assert longest is not None
    assert longest.step == "train"
    assert patience(found, "sums", ["fetch", "other"], waits=False) is None
    assert patience(found, "sums", [], waits=True) is None, "it waits for something that is to come"
    assert patience(found, "sums", [], waits=False) is None, "nobody knows how long its attempts take"
    assert found.least("sums") == pytest.approx(found.of("sums", "fetch").limit)  # type: ignore[union-attr]


# ── which run is stuck ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_silent_run_is_asked_where_it_is_and_judged_by_the_answer(kelp: Worker) -> None:
    run = silent(kelp, 600)
    stored.usual("sums", "fetch", seconds=20)
    stored.usual("sums", "train", seconds=2_000)
    look = lookout()
    assert looked(look) == set()
    asked = Stack.objects.get(pk=run.pk)
    assert (asked.wanted, asked.worker_id, asked.token) == (True, kelp.pk, 1)
    stored.stack(run, stored.frame("train"), names=["train"], age=0)
    assert looked(look) == set(), "that step takes so long"
    stored.stack(run, stored.frame("fetch"), names=["fetch"], age=0)
    assert looked(look) == {run.pk}
    found = Stuck.objects.get()
    assert (found.why, found.step, found.token) == ("nothing_new", "fetch", 1)
    assert found.usual == pytest.approx(20, rel=0.2)
    assert abs((found.since - Lease.objects.get().leased_at).total_seconds()) < 1


def test_a_stack_that_is_not_fresh_is_taken_anew_when_the_run_turns_stuck(kelp: Worker) -> None:
    run = silent(kelp, 600)
    stored.usual("sums", "fetch", seconds=20)
    stored.stack(run, stored.frame("fetch"), names=["fetch"], age=watch.FRESH + 5)
    assert looked(lookout()) == {run.pk}
    assert Stack.objects.get().wanted


def test_what_is_not_measured_is_never_stuck(kelp: Worker) -> None:
    silent(kelp, 86_400)
    assert looked(lookout()) == set()
    assert not Stack.objects.exists(), "nobody is bothered for it"


@pytest.mark.parametrize("what", ["snapshot", "log", "heartbeat", "progress", "chunk", "chunk of another stream"])
def test_anything_new_ends_it(kelp: Worker, what: str) -> None:
    run = silent(kelp, 600)
    stored.usual("sums", "fetch", seconds=20)
    stored.stack(run, stored.frame("fetch"), names=["fetch"])
    long_ago = timezone.now() - timedelta(seconds=500)
    stored.chunks(run, 1, name="words", at=long_ago)
    stored.chunks(run, 1, 2, name="answer", at=long_ago)
    look = lookout()
    assert looked(look) == {run.pk}
    now = timezone.now()
    if what == "snapshot":
        stored.snapshots(run, 1, 1, finished_at=now)
    elif what == "log":
        stored.lines(run, "still here")
    elif what == "heartbeat":
        Heartbeat.objects.create(run=run, key="fetch#1", attempt=1, at=now)
    elif what == "progress":
        Progress.objects.create(run=run, value=0.5, at=now)
    else:
        stored.chunks(run, 3, name="words" if what == "chunk" else "answer")
    assert looked(look) == set()


def test_what_ends_or_goes_to_another_worker_is_not_stuck_any_more(kelp: Worker) -> None:
    ended, moved = silent(kelp, 600), silent(kelp, 600, token=2)
    stored.usual("sums", "fetch", seconds=20)
    for run in (ended, moved):
        stored.stack(run, stored.frame("fetch"), names=["fetch"])
    look = lookout()
    assert looked(look) == {ended.pk, moved.pk}
    Run.objects.filter(pk=ended.pk).update(lease_token=None, status="completed", finished_at=timezone.now())
    Run.objects.filter(pk=moved.pk).update(lease_token=3)
    assert looked(look) == set()


def test_the_run_of_a_worker_without_heartbeats_has_lost_its_heartbeat_until_there_is_one(kelp: Worker) -> None:
    run = silent(kelp, 5)
    Worker.objects.update(heartbeat_at=timezone.now() - timedelta(seconds=40))
    Lease.objects.update(leased_at=timezone.now() - timedelta(seconds=FLOOR + 1))
    look = lookout()
    assert looked(look) == {run.pk}
    assert Stuck.objects.get().why == "lost_heartbeat"
    Worker.objects.update(heartbeat_at=timezone.now())
    assert looked(look) == set()


def test_all_leases_are_passed_page_by_page(kelp: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "PAGE", 2)
    runs = [silent(kelp, 600, token=token) for token in range(1, 6)]
    stored.usual("sums", "fetch", seconds=20)
    for run in runs:
        stored.stack(run, stored.frame("fetch"), names=["fetch"])
    look = lookout()
    assert [len(looked(look)) for _ in range(4)] == [2, 4, 5, 5]


def test_no_look_reads_further_than_the_latest_row_of_each_place(kelp: Worker) -> None:
    """By EXPLAIN: every place is asked through an index, whatever the table holds."""
    from runs.store import SQL

    with db.callers() as conn:
        for name in ("seqscan", "nestloop", "mergejoin"):
            conn.execute(f"SET LOCAL enable_{name} = off")
        params = {"ids": [silent(kelp, 600).pk], "timeout": 15.0, "streams": 50}
        plan = "\n".join(row[0] for row in conn.execute(f"EXPLAIN {SQL.news}", params))
    assert "Seq Scan" not in plan, plan
