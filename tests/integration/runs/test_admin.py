"""Runs in Django's admin: everything is shown, nothing is changed, nothing large is counted or read for a list."""

import re
import uuid
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from holdfast import bigtables
from queues.models import Lane, Queue
from runs.models import (
    Attempt,
    Deadline,
    DebounceKey,
    IdempotencyKey,
    LogLine,
    Rollup,
    Run,
    Signal,
    Snapshot,
    Task,
    Update,
    Wait,
)

pytestmark = pytest.mark.django_db
MODELS = (Task, Run, Attempt, Snapshot, Wait, Signal, Update, Deadline, LogLine, IdempotencyKey, DebounceKey, Rollup)


@pytest.fixture
def admin() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.fixture
def run() -> Run:
    now = timezone.now()
    queue = Queue.objects.create(name="q")
    task = Task.objects.create(id="shown", module="m", queue=queue, lane=Lane.THREAD, version="v")
    run = Run.objects.create(
        id=uuid.uuid4(), task=task, queue=queue, status="failed", payload={"secret-looking": "<b>bold</b>"},
        trace_id="t", created_at=now, finished_at=now, error={"type": "E", "message": "<script>"}, attempt=1,
    )  # fmt: skip
    Attempt.objects.create(run=run, number=1, status="failed", started_at=now, finished_at=now, error={"type": "E"})
    Snapshot.objects.create(
        run=run, sequence=1, kind="step", name="s", key="s", attempt=1, started_at=now, finished_at=now
    )
    wait = Wait.objects.create(
        id=uuid.uuid4(), run=run, key="signal:s#1", kind="signal", name="<b>s</b>", sequence=1, created_at=now,
        resolved_at=now, outcome="completed", output={"x": "<i>"},
    )  # fmt: skip
    Signal.objects.create(run=run, name="s", payload={"x": "<i>"}, sent_at=now, wait_id=wait.pk)
    Update.objects.create(id=uuid.uuid4(), run=run, name="s", payload={"x": "<i>"}, sent_at=now)
    Deadline.objects.create(run=run, kind="timeout", at=now)
    LogLine.objects.create(run=run, at=now, level=20, message="said <i>", attempt=1)
    IdempotencyKey.objects.create(task=task, key="k", run_id=run.id, payload_hash=b"x" * 32, expires_at=now)
    DebounceKey.objects.create(task=task, key="d", run_id=run.id, began_at=now, quiet_at=now)
    Rollup.objects.create(
        minute=now, kind="run", task=task, queue=queue, worker_id=1, status="failed", bucket=1, count=1, seconds=1
    )
    return run


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.__name__)
def test_lists_and_pages_show_and_never_change(admin: Client, run: Run, model: type) -> None:
    home = f"/admin/runs/{model._meta.model_name}/"
    assert admin.get(home).status_code == 200
    row = model.objects.get()
    page = admin.get(f"{home}{row.pk}/change/")
    assert page.status_code == 200
    assert not {"<script>", "<i>", "<b>"} & set(re.findall("<[a-z]+>", page.content.decode()))
    assert admin.post(f"{home}{row.pk}/change/", {}).status_code == 403
    assert admin.get(f"{home}add/").status_code == 403
    assert admin.get(f"{home}{row.pk}/delete/").status_code == 403


@pytest.mark.parametrize("model", [m for m in MODELS if m not in (Task, Run, Rollup)], ids=lambda m: m.__name__)
def test_what_belongs_to_a_run_is_found_by_the_runs_id(admin: Client, run: Run, model: type) -> None:
    home = f"/admin/runs/{model._meta.model_name}/"
    assert admin.get(home, {"q": str(run.pk)}).context["cl"].result_count == 1
    assert admin.get(home, {"q": str(uuid.uuid4())}).context["cl"].result_count == 0
    assert admin.get(home, {"q": "nonsense"}).context["cl"].result_count == 0


def test_a_run_is_found_by_its_id_its_parents_and_its_task(admin: Client, run: Run) -> None:
    child = Run.objects.create(
        id=uuid.uuid4(), task_id="other", queue=run.queue, status="queued", payload={}, trace_id="t",
        parent_id=run.pk, created_at=run.created_at,
    )  # fmt: skip

    def found(term: str) -> set[uuid.UUID]:
        return {r.pk for r in admin.get("/admin/runs/run/", {"q": term}).context["cl"].result_list}

    assert found(str(run.pk)) == {run.pk, child.pk}
    assert found("shown") == {run.pk}
    assert found("show") == set()


def test_a_run_links_to_its_page_and_its_parts(admin: Client, run: Run) -> None:
    page = admin.get(f"/admin/runs/run/{run.pk}/change/").content.decode()
    assert f"/admin/runs/logline/?q={run.pk}" in page
    assert f'href="/runs/{run.pk}/"' in page


def test_a_list_counts_no_further_than_its_cap_and_reads_no_payloads(
    admin: Client, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bigtables, "MAX_ROWS", 60)
    Run.objects.bulk_create(
        Run(
            id=uuid.uuid4(), task_id="shown", queue=run.queue, status="queued", payload={"n": n}, trace_id="t",
            created_at=run.created_at + timedelta(seconds=n),
        )
        for n in range(100)
    )  # fmt: skip
    with CaptureQueriesContext(connection) as queries:
        listed = admin.get("/admin/runs/run/").context["cl"]
        about_runs = [q["sql"] for q in queries if "runs_run" in q["sql"]]
    assert (listed.result_count, len(listed.result_list)) == (60, 50)
    assert len(about_runs) == 2
    for sql in about_runs:
        assert "payload" not in sql
        assert "LIMIT" in sql
    assert len(admin.get("/admin/runs/run/?p=2").context["cl"].result_list) == 10
