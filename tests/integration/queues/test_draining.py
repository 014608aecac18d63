"""A worker is asked to finish what it has and leave: by a page, over HTTP, on the command line."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from holdfast.access.grants import Actor
from holdfast.access.models import AuditEntry
from queues.draining import WorkerNotFound, worker_drain
from queues.models import Worker
from tests.support.api import Caller
from tests.support.people import signed_in
from tests.support.processes import Fleet
from tests.support.runs import the
from tests.support.waiting import eventually

pytestmark = pytest.mark.usefixtures("registered")


def alive(name: str) -> Worker:
    found: Worker = eventually(lambda: Worker.objects.filter(name=name, stopped_at=None).first(), f"{name} is there")
    return found


def test_a_worker_that_is_asked_finishes_its_run_takes_no_more_and_leaves(fleet: Fleet) -> None:
    process = fleet.worker("worker-1")
    handle = the("gated").enqueue("last")
    eventually(lambda: fleet.ledger.count("waiting"), "it works")
    worker_drain(alive("worker-1").id, Actor.local(), "the host is wanted")
    eventually(lambda: Worker.objects.get(name="worker-1").draining_at, "it has heard of it")
    later = the("echo").enqueue("for others")
    fleet.ledger.open_gate("last")
    assert handle.result(timeout=60)
    assert process.wait(60) == 0
    assert Worker.objects.get(name="worker-1").stopped_at is not None
    assert later.refresh().status == "queued"
    fleet.worker("worker-2")
    assert later.result(timeout=60) == "for others"
    assert AuditEntry.objects.get(action="queues.drain_worker").reason == "the host is wanted"


@pytest.fixture
def kelp(registered: None) -> Worker:
    from django.utils import timezone

    now = timezone.now()
    return Worker.objects.create(
        name="kelp", hostname="h", pid=1, pools=["default"], coroutines=1, threads=1, server_started_at=now
    )


def test_the_page_asks_it_and_says_that_it_drains(kelp: Worker) -> None:
    client = signed_in("operator")
    assert "Drain" in client.get("/queues/").content.decode()
    assert client.post(f"/queues/workers/{kelp.pk}/drain/", {"reason": "deploy"}).status_code == 302
    kelp.refresh_from_db()
    assert kelp.drain_asked_at is not None
    page = client.get("/queues/").content.decode()
    assert "draining" in page
    assert ">Drain<" not in page
    assert client.post("/queues/workers/999/drain/").status_code == 404
    assert client.get(f"/queues/workers/{kelp.pk}/drain/").status_code == 405


def test_asked_again_nothing_changes_and_nothing_is_audited(kelp: Worker) -> None:
    assert worker_drain(kelp.pk, Actor.local(), "deploy") == "kelp"
    asked_at = Worker.objects.get(pk=kelp.pk).drain_asked_at
    assert worker_drain(kelp.pk, Actor.local(), "again") == "kelp"
    assert Worker.objects.get(pk=kelp.pk).drain_asked_at == asked_at
    assert AuditEntry.objects.get(action="queues.drain_worker").reason == "deploy"


def test_a_viewer_asks_nobody_to_leave(kelp: Worker) -> None:
    client = signed_in("viewer")
    assert ">Drain<" not in client.get("/queues/").content.decode()
    assert client.post(f"/queues/workers/{kelp.pk}/drain/").status_code == 403


def test_over_http_workers_are_listed_and_asked(kelp: Worker) -> None:
    from holdfast.access import services

    api = Caller({"Authorization": f"Bearer {services.token_create(name='a', role='admin', actor=Actor.local())[1]}"})
    shown: dict[str, Any] = api.get("/workers").json()["items"][0]
    assert (shown["name"], shown["capacity"], shown["draining_at"]) == ("kelp", 2, None)
    assert api.post(f"/workers/{kelp.pk}/drain", {"reason": "x"}).status_code == 202
    assert api.get("/workers").json()["items"][0]["draining_at"] is not None
    assert api.post("/workers/99999999999/drain", {}).status_code == 422
    assert api.post("/workers/9999999999/drain", {}).status_code == 404
    assert api.post("/workers/kelp/drain", {}).status_code == 422


def test_on_the_command_line_they_are_listed_and_asked_by_name(kelp: Worker) -> None:
    def said(*words: str) -> str:
        out = io.StringIO()
        call_command("workers", *words, stdout=out)
        return out.getvalue()

    assert "kelp" in said("list")
    assert json.loads(said("list", "--json"))[0]["hostname"] == "h"
    assert "kelp" in said("drain", "kelp")
    assert "draining" in said("list")
    with pytest.raises(CommandError, match="No worker 'wrack' is alive"):
        said("drain", "wrack")


def test_one_that_has_gone_is_not_asked(kelp: Worker) -> None:
    Worker.objects.update(lost_at=kelp.started_at)
    with pytest.raises(WorkerNotFound):
        worker_drain(kelp.pk, Actor.local())
    assert not AuditEntry.objects.filter(action="queues.drain_worker").exists()
