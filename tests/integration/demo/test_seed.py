"""`manage.py seed`: what it writes agrees with itself, is left alone by workers, and goes away again."""

from __future__ import annotations

import io
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.models import Count, F, Min, Sum
from django.utils import timezone

from holdfast import db
from holdfast.access.grants import Actor
from holdfast.access.models import AuditEntry
from holdfast.access.services import audit
from holdfast.demo.history import catalog
from holdfast.demo.history.changes import KIND
from holdfast.demo.history.incidents import before
from holdfast.demo.history.plan import Plan
from queues.models import Entry, Lease, Queue, Sample, Timer, Worker
from runs import histogram, registration, services
from runs.errorgroups.model import ErrorCount, ErrorGroup
from runs.models import (
    Attempt,
    Deadline,
    LogLine,
    Rollup,
    Run,
    Snapshot,
    Task,
    Usage,
    UsageRollup,
    Wait,
)
from runs.outbound.model import Ending
from tests.support import stored
from tests.support.people import signed_in
from tests.support.processes import Fleet
from tests.support.runs import the
from tests.support.waiting import eventually

pytestmark = pytest.mark.django_db


def said(*words: str) -> str:
    out = io.StringIO()
    call_command("seed", *words, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def mistake(*words: str) -> str:
    with pytest.raises(CommandError) as caught:
        said(*words)
    assert caught.value.returncode == 2
    return str(caught.value)


def rows() -> dict[str, int]:
    """How many rows each table has, but for those of the audit log."""
    models = [m for m in apps.get_models() if m._meta.app_label in ("runs", "queues", "demo", "access")]
    return {model._meta.label: model._default_manager.count() for model in models if model is not AuditEntry}


def counts(found: Any) -> dict[Any, int]:
    return {tuple(row[:-1]): row[-1] for row in found}


def test_a_small_history_says_what_is_in_it() -> None:
    text = said("--small")
    assert Run.objects.count() > 1_500
    for name in ("outage", "bad deploy", "noisy tenant", "seed --remove"):
        assert name in text
    assert Run.objects.filter(tags__contains=[catalog.TAG], task__id__startswith=catalog.PREFIX).count() == (
        Run.objects.count()
    )


def test_rollups_are_what_the_runs_say() -> None:
    said("--small")
    runs = Run.objects.values_list("task_id", "queue_id", "version", "status").annotate(n=Count("id")).order_by()
    kept = Rollup.objects.values_list("task_id", "queue_id", "version", "status").order_by()
    assert counts(kept.filter(kind="run").annotate(n=Sum("count"))) == counts(runs)
    attempts = Attempt.objects.values_list("run__task_id", "status", "worker_id").annotate(n=Count("id")).order_by()
    by_worker = Rollup.objects.values_list("task_id", "status", "worker_id").order_by()
    assert counts(by_worker.filter(kind="attempt").annotate(n=Sum("count"))) == counts(attempts)
    steps = Counter(
        (task, name, "completed" if kind == "step" else "failed")
        for task, name, kind in Snapshot.objects.exclude(kind="wait").values_list("run__task_id", "name", "kind")
    )
    names = Rollup.objects.values_list("task_id", "name", "status").order_by()
    assert counts(names.filter(kind="step").annotate(n=Sum("count"))) == dict(steps)
    starts = Attempt.objects.count() + Wait.objects.count()  # back from a wait is another start
    assert Rollup.objects.filter(kind="delay").aggregate(n=Sum("count"))["n"] == starts


def test_rollups_have_the_minutes_and_durations_of_the_runs() -> None:
    said("--small")
    said_by_runs: Counter[Any] = Counter()
    seconds = 0.0
    for task, end, created in Run.objects.values_list("task_id", "finished_at", "created_at"):
        took = (end - created).total_seconds()
        seconds += took
        said_by_runs[task, end.replace(second=0, microsecond=0), histogram.bucket(took)] += 1
    found = Rollup.objects.filter(kind="run").values_list("task_id", "minute", "bucket").order_by()
    different = said_by_runs - Counter(counts(found.annotate(n=Sum("count"))))
    assert different.total() <= 2  # PostgreSQL keeps microseconds: one at a bucket's bound may be at its other side
    total = Rollup.objects.filter(kind="run").aggregate(n=Sum("seconds"))["n"]
    assert total == pytest.approx(seconds, rel=1e-6)


def test_samples_say_what_waited_and_ran_at_each_minute() -> None:
    said("--small")
    assert Sample.objects.values("queue").distinct().count() == len(catalog.QUEUES)
    assert not Sample.objects.filter(running__gt=F("concurrency_limit")).exists()
    assert Sample.objects.filter(paused=True).count() == 12
    fullest = Sample.objects.filter(paused=False).order_by("-depth", "-running")[0]
    assert fullest.running == fullest.concurrency_limit
    begun = Run.objects.filter(queue=fullest.queue, started_at__lte=fullest.minute, finished_at__gt=fullest.minute)
    assert begun.count() >= fullest.running


def test_usage_of_attempts_snapshots_and_minutes_is_the_same() -> None:
    said("--small")
    by_task = counts(Usage.objects.values_list("run__task_id", "unit").annotate(n=Sum("amount")).order_by())
    assert {unit for _, unit in by_task} == {"cost", "tokens_in", "tokens_out"}
    assert counts(UsageRollup.objects.values_list("task_id", "unit").annotate(n=Sum("amount")).order_by()) == by_task
    told = sum(usage["tokens_in"] for usage in Snapshot.objects.exclude(usage=None).values_list("usage", flat=True))
    assert told == sum(amount for (_, unit), amount in by_task.items() if unit == "tokens_in")


def test_attempts_snapshots_and_waits_are_those_of_their_runs() -> None:
    said("--small")
    for run in Run.objects.annotate(tries=Count("attempts"), first=Min("attempts__started_at")):
        assert (run.attempt, run.started_at) == (run.tries, run.first)
    assert not Run.objects.exclude(failures=0).filter(failures__gt=F("attempt")).exists()
    assert not Attempt.objects.filter(run__isnull=True).exists()
    assert Run.objects.filter(parent_id__isnull=False).count() > 20
    for wait in Wait.objects.all():
        children = Run.objects.filter(parent_id=wait.run_id, parent_wait=wait.key)
        assert wait.detail == {"count": children.count()}
        assert wait.resolved_at == max(child.finished_at for child in children if child.finished_at)
        brought = Snapshot.objects.get(run_id=wait.run_id, kind="wait").output["value"]
        assert [child["id"] for child in brought] == [str(child.pk) for child in children.order_by("pk")]
    for run_id in Run.objects.values_list("pk", flat=True)[:200]:
        numbers = list(Snapshot.objects.filter(run_id=run_id).values_list("sequence", flat=True))
        assert numbers == list(range(1, len(numbers) + 1))
    said_by: dict[Any, Any] = {}
    for run_id, at in LogLine.objects.order_by("sequence").values_list("run_id", "at"):
        assert said_by.get(run_id, at) <= at
        said_by[run_id] = at
    assert said_by


def test_old_weeks_have_partitions_and_the_default_one_stays_empty() -> None:
    said("--small", "--days", "30")
    with connection.cursor() as cursor:
        for table in ("runs_snapshot_default", "runs_logline_default"):
            cursor.execute(f"SELECT count(*) FROM {table}")
            assert cursor.fetchone() == (0,)


def test_the_incidents_are_in_the_rows() -> None:
    said("--small")
    about = AuditEntry.objects.get(action="demo.seed").after
    assert about is not None
    found = before(about["end"])
    outage = Attempt.objects.filter(error__fingerprint=found.outage.fingerprint)
    assert outage.count() > 50
    assert set(outage.values_list("run__task_id", flat=True)) == set(found.outage.tasks)
    assert set(
        Run.objects.filter(error__fingerprint=found.bad_deploy.fingerprint).values_list("version", flat=True)
    ) <= {
        found.bad_deploy.version,
        found.bad_deploy.mended,
    }
    assert Task.objects.get(pk=found.bad_deploy.tasks[0]).version == found.bad_deploy.mended


def test_changes_are_in_the_audit_log_and_the_queues_stand_as_they_say() -> None:
    said("--small")
    told = AuditEntry.objects.filter(actor_kind=KIND).order_by("id")
    assert Counter(told.values_list("action", flat=True)) == {
        "queues.update": 2, "tasks.deploy": 2, "queues.pause": 1, "queues.resume": 1,
        "errors.resolve": 1,
    }  # fmt: skip
    assert list(told) == sorted(told, key=lambda entry: entry.at)
    for entry in told.filter(action="queues.update"):
        queue = Queue.objects.get(name=entry.object_id)
        assert entry.after["concurrency_limit"] == queue.concurrency_limit
        assert entry.after["key_concurrency_limit"] == queue.key_concurrency_limit
        assert entry.before != entry.after
        assert queue.edited
    assert not Queue.objects.filter(paused_at__isnull=False).exists()


def test_a_second_history_is_refused() -> None:
    said("--small")
    assert "already" in mistake("--small")
    assert "already" in mistake("--small", "--add")


def test_it_stays_away_from_real_runs_unless_it_is_told_to_add() -> None:
    mine = stored.run()
    assert "--add" in mistake("--small")
    said("--small", "--add")
    said("--remove")
    assert list(Run.objects.all()) == [mine]


def test_a_name_that_is_taken_is_left_to_its_owner() -> None:
    stored.queue(catalog.SYNC)
    assert catalog.SYNC in mistake("--small")
    assert not Run.objects.exists()


@pytest.mark.parametrize("words", [("--days", "3"), ("--days", "900"), ("--runs", "0"), ("--runs", "99999999")])
def test_what_is_out_of_range_is_refused(words: tuple[str, ...]) -> None:
    assert "write a number from" in mistake(*words)


def test_remove_leaves_nothing_but_a_word_in_the_audit_log() -> None:
    registration.discover()
    registration.register_all()
    was = rows()
    said("--small")
    assert "runs are gone" in said("--remove")
    assert rows() == was
    assert [entry.action for entry in AuditEntry.objects.order_by("id")] == ["demo.seed", "demo.unseed"]
    assert "no seeded history" in said("--remove")
    said("--small")


def test_remove_takes_what_people_did_to_the_seeded_runs_along() -> None:
    was = rows()
    said("--small")
    run = Run.objects.filter(status="failed")[0]
    signed_in("operator").post(f"/runs/{run.pk}/retry/")
    assert Entry.objects.filter(pk=run.pk).exists()
    said("--remove")
    assert {name: n for name, n in rows().items() if name.partition(".")[0] != "access"} == {
        name: n for name, n in was.items() if name.partition(".")[0] != "access"
    }


def test_the_audit_log_is_guarded_again_after_a_removal() -> None:
    said("--small")
    said("--remove")
    with pytest.raises(Exception, match="append-only"), transaction.atomic():
        AuditEntry.objects.all().delete()


def test_what_changed_stands_in_order_of_time_also_where_the_audit_log_has_begun() -> None:
    audit(Actor.local(), "queues.update", "queue", "default", "before the seed", before={}, after={"x": 1})
    said("--small")
    client = signed_in("admin")
    listed = [change.entry for change in client.get("/changes/?span=21d").context["page"].items]
    assert len([entry for entry in listed if entry.actor_kind == KIND]) > 3
    assert listed == sorted(listed, key=lambda entry: entry.at, reverse=True)
    for place, entry in enumerate(listed[:-1]):  # whatever a page ends with, the next one begins after it
        older = client.get(f"/changes/?span=21d&before={entry.pk}").context["page"].items
        assert [change.entry for change in older] == listed[place + 1 :]


def test_pages_show_it() -> None:
    said("--small")
    client = signed_in("viewer")
    parent = Run.objects.filter(parent_id__isnull=False)[0].parent_id
    failed = Run.objects.filter(status="failed")[0].pk
    for path in ("/", "/runs/", "/queues/", "/tasks/", "/tasks/seeded-invoice/",
                 f"/runs/{parent}/", f"/runs/{failed}/"):  # fmt: skip
        assert client.get(path).status_code == 200, path


def test_who_wants_another_run_of_a_task_without_code_is_told_so() -> None:
    said("--small")
    client = signed_in("developer")
    run = Run.objects.filter(status="failed")[0]
    tried = client.post("/tasks/seeded-invoice/", {"payload/tenant": "acme", "payload/number": "1"})
    assert tried.status_code in (404, 422)
    again = client.post(f"/runs/{run.pk}/replay/", {"payload": "{}"}, follow=True)
    assert f"no task &#x27;{run.task_id}&#x27;" in again.content.decode()
    assert not Run.objects.filter(status="queued").exists()


@pytest.mark.django_db(transaction=True)
def test_a_worker_and_a_scheduler_beside_it_touch_nothing_of_it(fleet: Fleet) -> None:
    said("--small")
    seeded = list(Worker.objects.values_list("pk", flat=True))
    runs = list(Run.objects.order_by("pk").values())
    attempts = list(Attempt.objects.order_by("pk").values())
    workers = list(Worker.objects.order_by("pk").values())
    dead = Worker.objects.create(
        name="dead",
        hostname="nowhere",
        pid=1,
        coroutines=1,
        threads=1,
        heartbeat_at=timezone.now() - timedelta(hours=1),
        server_started_at=timezone.now(),
    )
    fleet.worker("worker-1")
    fleet.scheduler()
    handle = the("echo").using(delay=0.5).enqueue()
    handle.result(timeout=60)
    lost = Worker.objects.filter(pk=dead.pk, lost_at__isnull=False)
    eventually(lost.exists, "the scheduler has looked for the dead")
    assert list(Run.objects.exclude(pk=handle.id).order_by("pk").values()) == runs
    assert list(Attempt.objects.exclude(run_id=handle.id).order_by("pk").values()) == attempts
    assert list(Worker.objects.filter(pk__in=seeded).order_by("pk").values()) == workers
    for model in (Entry, Timer, Lease, Deadline, Ending):
        assert not model.objects.exists()
    again = Run.objects.filter(status="failed")[0]
    services.run_retry(again.pk, actor=Actor.system("test"))
    eventually(lambda: Run.objects.get(pk=again.pk).status == "waiting", "what a person retries waits for code")
    said("--remove")
    assert list(Run.objects.values_list("pk", flat=True)) == [handle.id]
    assert not Timer.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_removal_does_not_wait_for_ever_behind_the_audit_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.demo.history.services.GUARD_WAIT", 50)
    said("--small")
    count = Run.objects.count()
    with db.connect("test") as conn, conn.transaction():
        conn.execute("LOCK TABLE access_auditentry IN ROW EXCLUSIVE MODE")
        assert "nothing was removed" in mistake("--remove")
    assert Run.objects.count() == count
    said("--remove")
    assert not Run.objects.exists()


def test_the_plan_that_was_written_can_be_made_again() -> None:
    said("--small", "--seed", "5")
    entry = AuditEntry.objects.get(action="demo.seed")
    assert entry.after is not None
    plan = Plan(entry.after["end"], entry.after["days"], entry.after["asked"], entry.after["seed"])
    assert {run.id for runs in plan.by_queue() for run in runs} == set(Run.objects.values_list("pk", flat=True))


def test_error_groups_are_what_the_tries_say() -> None:
    said("--small")
    tries = Counter(Snapshot.objects.filter(kind="failure").values_list("error__fingerprint", "run__task_id", "name"))
    late = Attempt.objects.filter(error__isnull=False).exclude(error__has_key="step")
    tries.update((print_, task, "") for print_, task in late.values_list("error__fingerprint", "run__task_id"))
    kept = ErrorCount.objects.values_list("fingerprint", "task_id", "step").order_by()
    assert counts(kept.annotate(n=Sum("count"))) == dict(tries)
    ended = Run.objects.filter(error__isnull=False).values_list("error__fingerprint").annotate(n=Count("id")).order_by()
    by_group = ErrorCount.objects.filter(ended__gt=0).values_list("fingerprint").order_by()
    assert counts(by_group.annotate(n=Sum("ended"))) == counts(ended)
    groups = set(ErrorGroup.objects.values_list("pk", flat=True))
    assert groups == {key[0] for key in tries}
    entry = AuditEntry.objects.get(action="demo.seed")
    found = before((entry.after or {})["end"])
    outage = ErrorGroup.objects.get(pk=found.outage.fingerprint)
    assert set(outage.tasks) == set(found.outage.tasks)
    assert found.outage.start <= outage.first_seen.timestamp() <= outage.last_seen.timestamp() < found.outage.end + 3600
    bad = ErrorGroup.objects.get(pk=found.bad_deploy.fingerprint)
    assert (bad.resolved_in, bad.resolved_seen) == ([found.bad_deploy.mended], [found.bad_deploy.version])
