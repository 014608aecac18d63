"""Fault 15: PostgreSQL lives and takes no writes for a while. (The disk that is full stands in test_hardening.)"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from django.db import connection

from queues.models import Lease, Queue, Worker
from runs.models import Run
from tests.support.people import signed_in
from tests.support.processes import Fleet
from tests.support.runs import all_final, attempts, statuses, the
from tests.support.waiting import eventually
from tests.support.web import port_of

#: Seconds without writes: longer than a heartbeat may be late.
READ_ONLY_FOR = 8.0
QUICK = {"HOLDFAST_HEARTBEAT_TIMEOUT": "5"}


@contextmanager
def read_only() -> Iterator[None]:
    """The test's database takes no writes; every session but this one is gone and finds it so when it comes back."""
    name = connection.settings_dict["NAME"]
    with connection.cursor() as cursor:
        cursor.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid, 60000)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()"
        )
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')


@pytest.fixture
def api(fleet: Fleet) -> Iterator[httpx.Client]:
    """The API of a real web server."""
    from holdfast.access import services
    from holdfast.access.grants import Actor

    web = fleet.start("web", "web", "--port", "0")
    _, plaintext = services.token_create(name="live", role="admin", actor=Actor.local())
    headers = {"Authorization": f"Bearer {plaintext}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port_of(web)}/api/v1", headers=headers, timeout=30) as found:
        yield found


def test_fault_15_callers_are_told_that_nothing_can_be_written_and_afterwards_work_resumes(
    fleet: Fleet, api: httpx.Client
) -> None:
    for number in (1, 2):
        fleet.worker(f"worker-{number}", **QUICK)
    scheduler = fleet.scheduler(**QUICK)
    ids = [the(name).enqueue(20, 0.2).id for name in ("wall", "dam") * 2]
    ids += [the("echo").using(delay=3).enqueue("late").id]
    eventually(lambda: fleet.ledger.count("end") >= 8, "all are at work")
    with read_only():
        began = time.monotonic()
        while time.monotonic() - began < READ_ONLY_FOR:
            refused = api.post("/tasks/echo/runs", json={"payload": {"value": 1}})
            assert refused.status_code == 503, refused.text
            assert refused.headers["Content-Type"] == "application/problem+json"
            assert refused.headers["Retry-After"]
            told = api.get(f"/runs/{ids[0]}")
            assert (told.status_code, told.json()["status"]) == (200, "running"), "what is there can be read"
        assert "read-only" in refused.json()["detail"]
        assert refused.json()["code"] == "database_refuses"
        assert Run.objects.count() == len(ids), "nothing that was refused is there"
    accepted = eventually(
        lambda: (r := api.post("/tasks/echo/runs", json={"payload": {"value": 1}})).status_code == 201 and r,
        "it takes runs again",
    )
    ids.append(Run.objects.get(pk=accepted.json()["id"]).id)
    all_final(ids)
    assert statuses(ids) == {"completed"}
    assert {len(attempts(run_id)) for run_id in ids} == {1}
    assert fleet.ledger.repeated("begin") == []
    assert not Lease.objects.exists()
    assert not Worker.objects.exclude(lost_at=None).exists(), "silence of all is nobody's death"
    assert "Traceback" not in scheduler.said()


def test_fault_15_a_page_says_that_the_database_refuses_and_the_next_session_may_write(registered: None) -> None:
    client = signed_in("admin")
    client.raise_request_exception = False
    with connection.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")
    refused = client.post("/queues/default/pause/")
    assert refused.status_code == 503
    assert "read-only" in refused.content.decode()
    assert Queue.objects.get(name="default").paused_at is None
    assert client.post("/queues/default/pause/").status_code in {200, 204, 302}
    assert Queue.objects.get(name="default").paused_at is not None
