"""Bulk actions: a frozen scope, worked in the background by a run, each run once, with progress, abort and a canary."""

from __future__ import annotations

import signal
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from holdfast import db
from holdfast.access.errors import GrantMissing
from holdfast.access.grants import Actor
from holdfast.access.models import AuditEntry
from holdfast.access.roles import Role
from queues import services as queues
from runs import services as run_services
from runs.bulk import retention, scope, selectors, services, working
from runs.bulk.choices import Action
from runs.bulk.model import BulkItem, BulkJob
from runs.errors import HoldfastError, InvalidFilter, InvalidOption, WrongState
from runs.models import Run, Wait
from runs.sdk.retry import Abort
from runs.states import FINAL
from tests.support import stored
from tests.support.processes import BULK_TASKS, Fleet
from tests.support.runs import all_final, run, snapshots, statuses, the
from tests.support.waiting import eventually

pytestmark = pytest.mark.usefixtures("registered")
ANN = Actor("user", "7", "ann", Role.DEVELOPER)


@pytest.fixture
def worked(fleet: Fleet) -> Fleet:
    """Workers, and a scheduler for what waits."""
    from django.conf import settings

    from runs import registration

    settings.HOLDFAST_TASKS = [*settings.HOLDFAST_TASKS, str(BULK_TASKS)]
    fleet.environment["HOLDFAST_TASKS"] += f",{BULK_TASKS}"
    registration.discover()
    registration.register_all()
    fleet.scheduler()
    return fleet


def failed(count: int, name: str = "echo", **fields: Any) -> list[uuid.UUID]:
    return [stored.run("failed", name, age=600 - n / 100, error=stored.error(), **fields).id for n in range(count)]


def completed(count: int) -> list[uuid.UUID]:
    """Runs of one statement: more than a few."""
    of, at = stored.task("echo"), timezone.now() - timedelta(minutes=15)
    made = [
        Run(
            id=stored.uuid7(at + timedelta(seconds=number / 10)),
            task=of,
            queue=of.queue,
            status="completed",
            payload={},
            trace_id="0" * 32,
            created_at=at,
            started_at=at,
            finished_at=at,
        )
        for number in range(count)
    ]
    return [found.id for found in Run.objects.bulk_create(made)]


@contextmanager
def held_up(job: BulkJob, position: int) -> Iterator[None]:
    """The job comes no further than the run there: another session has its row."""
    with db.connect("test") as conn, conn.transaction():
        conn.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        conn.execute("SELECT 1 FROM runs_bulkitem WHERE job_id = %s AND position = %s FOR UPDATE", [job.pk, position])
        yield


def ended(job: BulkJob, timeout: float = 60.0) -> BulkJob:
    """The job once its run has ended."""
    all_final([job.id], timeout)
    return BulkJob.objects.get(pk=job.pk)


def outcomes(job: BulkJob) -> list[tuple[str, str, int]]:
    return [(found.outcome, found.why, found.runs) for found in selectors.reasons(job.id)]


def scope_of(job: BulkJob) -> list[uuid.UUID]:
    return list(BulkItem.objects.filter(job=job).order_by("position").values_list("run_id", flat=True))


# ── the scope ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_runs_that_come_to_fit_later_are_not_touched(worked: Fleet) -> None:
    before = failed(5)
    job = services.bulk_create(action="retry", search="task:echo", actor=ANN, reason="the supplier is back")
    later = failed(3)
    worked.worker("worker-1")
    assert ended(job).done == 5
    all_final(before)
    assert statuses(before) == {"completed"}
    assert statuses(later) == {"failed"}
    assert job.search == "task:echo status:failed,cancelled,expired,timed_out,crashed,unknown"
    assert scope_of(job) == before, "the oldest first"
    assert run(job.id).output == {"done": 5, "skipped": 0, "failed": 0, "left": 0}
    entry = AuditEntry.objects.get(action="runs.retry", object_id=str(before[0]))
    assert (entry.actor_label, entry.reason) == ("ann", f"the supplier is back (bulk job {job.id})")
    asked = AuditEntry.objects.get(action="bulk.retry")
    assert (asked.object_id, asked.actor_label, asked.reason) == (str(job.id), "ann", "the supplier is back")
    assert asked.after["runs"] == 5


def test_what_comes_after_somebody_has_looked_is_not_meant() -> None:
    seen = failed(2)
    preview = scope.preview_search(Action.RETRY, "task:echo")
    assert (preview.runs, preview.exact, preview.newest) == (2, True, seen[-1])
    stored.run("failed", "echo", age=1, error=stored.error())
    job = services.bulk_create(action="retry", search=preview.text, newest=preview.newest, actor=ANN)
    assert set(seen) <= set(scope_of(job))
    assert all(found <= seen[-1] for found in scope_of(job))


def test_a_search_that_no_index_serves_is_gone_through_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    from runs.search import plan

    monkeypatch.setattr(plan, "WINDOW", 4)
    wanted = []
    for number in range(23):
        wanted.append(stored.run("failed", "echo", age=600 - number, payload={"shop": number % 3}).id)
    filters = scope.filters_of(Action.RETRY, "payload.shop:1 status:failed")
    assert scope.freeze(filters) == wanted[1::3]


def test_more_runs_than_one_job_takes_are_refused_and_nothing_is_begun() -> None:
    failed(4)
    assert services.bulk_create(action="retry", search="", actor=ANN, most=4).total == 4
    with pytest.raises(InvalidFilter, match="fits more than 3 runs; one job takes no more") as refusal:
        services.bulk_create(action="retry", search="", actor=ANN, most=3)
    assert refusal.value.data["errors"][0]["field"] == "q"
    assert BulkJob.objects.count() == 1


def test_a_selection_is_taken_as_it_is_each_run_once() -> None:
    first, second = failed(2)
    job = services.bulk_create(action="cancel", ids=[str(second), first, second], actor=ANN)
    assert scope_of(job) == [first, second]
    assert (job.search, job.total, job.left) == ("", 2, 2)


@pytest.mark.parametrize(
    ("asked", "field", "words"),
    [
        ({"action": "erase"}, "action", "write one of retry, cancel, replay"),
        ({"action": ["retry"]}, "action", "write one of"),
        ({"pace": "fast"}, "pace", "write one of all, canary"),
        ({"action": "cancel", "pace": "canary"}, "pace", "canary is for retry"),
        ({"ids": [str(uuid.uuid4())]}, "q", "give one of them"),
        ({"search": None}, "q", "give one of them"),
        ({"search": None, "ids": []}, "ids", "a list of 1 to 10,000"),
        ({"search": None, "ids": "abc"}, "ids", "a list of 1 to 10,000"),
        ({"search": None, "ids": [str(uuid.uuid4()), "kelp\x00"]}, "ids[1]", "write the UUID of a run"),
        ({"search": None, "ids": [7]}, "ids[0]", "write the UUID of a run"),
        ({"search": "task:nothing"}, "q", "fits no run that can be retried now"),
        ({"search": "colour:red"}, "q", "is no term"),
        ({"search": "tag:\x00"}, "q", "control character"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_begun(asked: dict[str, Any], field: str, words: str) -> None:
    failed(1)
    with pytest.raises((InvalidOption, InvalidFilter), match=words) as refusal:
        services.bulk_create(**{"action": "retry", "search": "", "actor": ANN, **asked})
    assert refusal.value.data["errors"][0]["field"] == field
    assert not BulkJob.objects.exists()
    assert not Run.objects.filter(task_id=working.WORKS).exists()


@pytest.mark.parametrize(
    ("action", "role"), [("retry", Role.VIEWER), ("cancel", Role.VIEWER), ("replay", Role.OPERATOR), ("retry", None)]
)
def test_who_may_not_do_it_to_one_run_may_not_do_it_to_many(action: str, role: Role | None) -> None:
    failed(1)
    with pytest.raises(GrantMissing):
        services.bulk_create(action=action, search="", actor=Actor("user", "8", "bob", role))
    assert not BulkJob.objects.exists()


def test_a_job_whose_transaction_is_rolled_back_was_never_there() -> None:
    failed(1)
    with transaction.atomic():
        services.bulk_create(action="retry", search="", actor=ANN)
        transaction.set_rollback(True)
    assert not BulkJob.objects.exists()
    assert not BulkItem.objects.exists()
    assert not AuditEntry.objects.exists()


# ── what is done ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_cannot_be_done_to_a_run_is_passed_with_its_reason(worked: Fleet) -> None:
    done = stored.run("completed", "echo").id
    waiting, queued = the("echo").using(delay=3_600).enqueue().id, the("gated").using(delay=3_600).enqueue("g").id
    ids = [done, waiting, queued, uuid.uuid4()]
    job = services.bulk_create(action="cancel", ids=ids, actor=ANN)
    worked.worker("worker-1")
    assert ended(job).acted == 4
    assert outcomes(job) == [
        ("done", "", 2),
        ("skipped", "does not exist", 1),
        ("skipped", "is completed, cannot be cancelled", 1),
    ]
    assert statuses([waiting, queued]) == {"cancelled"}
    assert statuses([done]) == {"completed"}


def test_a_replay_starts_a_run_for_each_and_says_which_one_failed_and_why(worked: Fleet) -> None:
    stored.task("forgotten")
    good = [stored.run("completed", "echo", age=90 - n, payload={"value": n}).id for n in range(3)]
    bad = stored.run("failed", "typed", payload={"count": "kelp"}).id
    gone = stored.run("failed", "forgotten").id
    earlier = services.bulk_create(action="replay", ids=good, actor=ANN)
    job = services.bulk_create(action="replay", ids=[*good, bad, gone, earlier.id], actor=ANN, reason="once more")
    run_services.run_cancel(earlier.id, actor=ANN)
    worked.worker("worker-1")
    found = ended(job)
    assert (found.done, found.skipped, found.failed) == (3, 1, 2)
    became = dict(BulkItem.objects.filter(job=job, outcome="done").values_list("run_id", "became"))
    all_final(list(became.values()))
    assert {run(new).replay_of: run(new).output for new in became.values()} == dict(zip(good, range(3), strict=True))
    listed = outcomes(job)
    assert ("skipped", "is a bulk job, cannot be replayed", 1) in listed
    assert any(outcome == "failed" and "count" in why for outcome, why, _ in listed)
    assert any(outcome == "failed" and "There is no task 'forgotten'" in why for outcome, why, _ in listed)


def test_a_worker_that_is_killed_in_the_middle_leaves_no_run_out_and_none_is_acted_upon_twice(worked: Fleet) -> None:
    queues.queue_pause("default", ANN)  # what is replayed need not run as well
    ids = completed(250)
    job = services.bulk_create(action="replay", ids=ids, actor=ANN)
    with held_up(job, 170):
        victim = worked.worker("worker-1")
        eventually(lambda: BulkJob.objects.get(pk=job.pk).done > 60, "it is in the middle")
        victim.signal(signal.SIGKILL)
        victim.wait()
    cut = BulkJob.objects.get(pk=job.pk)
    assert 60 < cut.done < 250
    worked.worker("worker-2")
    found = ended(job, 120)
    assert (found.done, found.left) == (250, 0)
    replays = Counter(Run.objects.filter(replay_of__isnull=False).values_list("replay_of", flat=True))
    assert set(replays) == set(ids)
    assert set(replays.values()) == {1}
    assert AuditEntry.objects.filter(action="runs.replay").count() == 250
    assert run(job.id).attempt == 2


def test_an_abort_stops_at_the_next_batch_and_says_what_was_done(worked: Fleet) -> None:
    queues.queue_pause("default", ANN)  # what is replayed need not run as well
    ids = completed(1_000)
    job = services.bulk_create(action="replay", ids=ids, actor=ANN)
    with held_up(job, 170):
        worked.worker("worker-1")
        eventually(lambda: BulkJob.objects.get(pk=job.pk).done > 60, "it is in the middle")
        assert services.bulk_abort(job.id, actor=ANN, reason="wrong ones") == "cancelling"
    found = ended(job)
    assert run(job.id).status == "cancelled"
    assert 60 < found.done < 1_000
    assert snapshots(job.id)[-1].output["upto"] == found.done, "a batch that was begun is finished"
    assert Run.objects.filter(replay_of__isnull=False).count() == found.done
    assert ("", "", found.left) in outcomes(job)
    assert AuditEntry.objects.get(action="bulk.abort").reason == "wrong ones"
    with pytest.raises(WrongState, match="only one that is not over can be aborted"):
        services.bulk_abort(job.id, actor=ANN)


def test_an_abort_is_for_who_may_cancel_and_of_a_job_that_exists() -> None:
    failed(1)
    job = services.bulk_create(action="retry", search="", actor=ANN)
    with pytest.raises(GrantMissing):
        services.bulk_abort(job.id, actor=Actor("user", "9", "eve", Role.VIEWER))
    assert services.bulk_abort(job.id, actor=Actor("user", "5", "joe", Role.OPERATOR)) == "cancelled"
    with pytest.raises(HoldfastError, match="There is no bulk job"):
        services.bulk_abort(uuid.uuid4(), actor=ANN)


def test_a_replay_of_the_run_that_worked_a_job_does_nothing(worked: Fleet) -> None:
    failed(1)
    job = services.bulk_create(action="retry", search="", actor=ANN)
    again = run_services.run_replay(job.id, actor=ANN)
    with pytest.raises(Abort, match="Make another job"):
        working.work(again)


def test_jobs_of_long_ago_are_dropped_part_by_part_but_none_that_is_not_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "CHUNK", 2)
    ids = failed(3)
    old, young = (services.bulk_create(action="retry", ids=ids, actor=ANN) for _ in range(2))
    assert retention.forget() == 0
    assert retention.forget(-60) == 0, "it is not over"
    services.bulk_abort(old.id, actor=ANN)
    assert [retention.forget(-60) for _ in range(3)] == [2, 1, 0]
    assert list(BulkJob.objects.all()) == [young]
    assert BulkItem.objects.filter(job=young).count() == 3


# ── the canary ───────────────────────────────────────────────────────────────────────────────────────────────────────


def broken(count: int) -> list[uuid.UUID]:
    """Runs that have really failed, all with one error."""
    ids = [the("mends").enqueue().id for _ in range(count)]
    all_final(ids)
    assert statuses(ids) == {"failed"}
    return ids


def tried(fleet: Fleet) -> int:
    return fleet.ledger.count("tried")


def test_a_canary_stops_when_its_first_run_fails_again_with_the_same_error(worked: Fleet) -> None:
    worked.worker("worker-1")
    ids = broken(14)
    job = services.bulk_create(action="retry", search="task:mends", pace="canary", actor=ANN)
    found = ended(job)
    assert (found.done, found.left) == (1, 13)
    assert found.stopped == f"Run {ids[0]} failed again with the same error, so the rest was left as it is."
    assert run(job.id).status == "completed"
    assert run(job.id).output["stopped"] == found.stopped
    assert tried(worked) == 15
    assert selectors.look(job.id).note == "stopped early"


def test_a_canary_that_goes_well_takes_ten_and_then_the_rest(worked: Fleet) -> None:
    worked.worker("worker-1")
    ids = broken(14)
    worked.ledger.open_gate("mended")
    job = services.bulk_create(action="retry", ids=ids, pace="canary", actor=ANN)
    found = ended(job)
    all_final(ids)
    assert (found.done, found.left, found.stopped) == (14, 0, "")
    assert statuses(ids) == {"completed"}
    entered = [e.words[1] for e in worked.ledger.entries("tried")][14:]
    assert entered[0] == str(sorted(ids)[0])
    assert set(entered[1:11]) == set(map(str, sorted(ids)[1:11]))
    assert run(job.id).attempt == 1


def test_another_error_than_before_is_no_reason_to_stop(worked: Fleet) -> None:
    worked.worker("worker-1")
    broken(3)
    worked.ledger.open_gate("otherwise")
    job = services.bulk_create(action="retry", search="task:mends", pace="canary", actor=ANN)
    found = ended(job)
    assert (found.done, found.stopped) == (3, "")


def test_a_canary_holds_no_worker_while_it_waits_and_passes_what_cannot_be_retried(worked: Fleet) -> None:
    worked.worker("worker-1")
    done = stored.run("completed", "echo", age=900).id
    held = the("gated").enqueue("g").id
    eventually(lambda: run(held).status == "running", "it runs")
    run_services.run_cancel(held, actor=ANN)
    worked.ledger.open_gate("g")
    all_final([held])
    ids = broken(2)
    held_up = worked.ledger.folder / "held"
    held_up.touch()
    job = services.bulk_create(action="retry", ids=[done, *ids], pace="canary", actor=ANN)
    eventually(lambda: tried(worked) == 3, "the first that can be is retried")
    eventually(lambda: run(job.id).status == "waiting", "it sleeps, durably, until that has ended")
    assert Wait.objects.filter(run_id=job.id, kind="sleep").exists()
    held_up.unlink()
    found = ended(job)
    assert outcomes(found) == [
        ("done", "", 1),
        ("skipped", "is completed, cannot be retried", 1),
        ("", "", 1),
    ]
    assert str(ids[0]) in found.stopped
    assert run(job.id).status in FINAL
