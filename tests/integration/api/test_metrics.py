"""`/metrics` as Prometheus reads it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from holdfast.access.grants import Actor
from holdfast.access.models import ApiToken, AuditEntry
from queues import services
from queues.models import Lease, Queue, Timer
from runs.models import Run
from tests.support import stored
from tests.support.api import Caller, problem
from tests.support.counting import statements
from tests.support.flow import fill
from tests.support.people import signed_in
from tests.support.readme import ROOT

pytestmark = pytest.mark.django_db
Samples = dict[tuple[str, ...], float]


@pytest.fixture
def scrape(with_role: Callable[[str], Caller]) -> Callable[[], Samples]:
    """Scrapes as a viewer: values by name and labels, checked to be what Prometheus can parse."""
    headers = with_role("viewer").headers
    client = Client(raise_request_exception=False, headers=headers)

    def read() -> Samples:
        response = client.get("/metrics")
        assert response.status_code == 200, response.content[:500]
        assert response["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert "no-store" in response["Cache-Control"]
        found: Samples = {}
        for family in text_string_to_metric_families(response.content.decode()):
            assert family.documentation
            assert family.type == "gauge"
            for sample in family.samples:
                key = (sample.name, *(value for _, value in sorted(sample.labels.items())))
                assert key not in found
                found[key] = sample.value
        return found

    return read


def of(samples: Samples, queue: str, pool: str = "default") -> dict[str, float]:
    """The figures of one queue."""
    return {key[0].removeprefix("holdfast_queue_"): v for key, v in samples.items() if key[1:] == (pool, queue)}


def test_a_queue_is_told_with_its_limit_and_what_is_in_it(scrape: Callable[[], Samples]) -> None:
    queue = Queue.objects.create(name="llm", pool="gpu", concurrency_limit=2)
    running, *_ = fill(queue, count=5, age=30)
    Lease.objects.create(
        entry_id=running, queue=queue, worker=stored.worker(), token=1, lane=0, priority=0,
        ready_at=timezone.now(), leased_at=timezone.now(),
    )  # fmt: skip
    queue.entries.filter(pk=running).delete()
    Timer.objects.create(entry_id="01900000-0000-7000-8000-000000000000", queue=queue, lane=0)
    found = of(scrape(), "llm", "gpu")
    waits = [found.pop("head_wait_seconds"), found.pop("oldest_wait_seconds")]
    assert all(30 <= seconds < 60 for seconds in waits)
    assert found == {
        "depth": 4, "startable": 1, "running": 1, "waiting": 1, "concurrency_limit": 2, "paused": 0
    }  # fmt: skip


def test_a_paused_queue_has_depth_and_nothing_to_scale_for(scrape: Callable[[], Samples]) -> None:
    fill(Queue.objects.create(name="mail"), count=3, age=30)
    services.queue_pause("mail", Actor.local(), "deploy")
    found = of(scrape(), "mail")
    assert (found["depth"], found["startable"], found["paused"], found["head_wait_seconds"]) == (3, 0, 1, 0)
    assert found["oldest_wait_seconds"] >= 30
    assert "concurrency_limit" not in found, "no limit is no sample"


def test_workers_by_state_and_pool(scrape: Callable[[], Samples]) -> None:
    stored.worker(name="a", pools=["default", "gpu"])
    stored.worker(name="b", pools=["gpu"])
    stored.worker(name="c", draining_at=timezone.now())
    stored.worker(name="d", silent=True)
    stored.worker(name="e", stopped_at=timezone.now())
    found = scrape()
    assert {key[1:]: value for key, value in found.items() if key[0] == "holdfast_workers"} == {
        ("alive",): 2, ("draining",): 1, ("silent",): 1
    }  # fmt: skip
    assert {key[1:]: value for key, value in found.items() if key[0] == "holdfast_pool_workers"} == {
        ("default",): 1, ("gpu",): 2
    }  # fmt: skip


def test_runs_that_ended_in_the_last_five_full_minutes(scrape: Callable[[], Samples]) -> None:
    for minutes_ago, status, count in ((0, "completed", 100), (2, "completed", 3), (4, "failed", 2), (9, "failed", 50)):
        stored.ended(count, status, minutes_ago=minutes_ago)
    found = scrape()
    assert found["holdfast_runs_ended_5m", "failed"] == 2
    assert found["holdfast_runs_ended_5m", "cancelled"] == 0, "a status of which there was none is there, too"
    assert found["holdfast_runs_ended_5m", "completed"] in {3, 103}, "103 where the minute has just ended"


def test_names_are_escaped(scrape: Callable[[], Samples]) -> None:
    Queue.objects.create(name='a"b\\c\nd')
    assert of(scrape(), 'a"b\\c\nd')["depth"] == 0


def test_openmetrics_for_whoever_asks_for_it(with_role: Callable[[str], Caller]) -> None:
    accept = {"Accept": "application/openmetrics-text;version=1.0.0"}
    response = Client(headers={**with_role("viewer").headers, **accept}).get("/metrics")
    assert response["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert response.content.endswith(b"# EOF\n")


def test_the_page_about_workers_lists_what_there_is_and_nothing_else(scrape: Callable[[], Samples]) -> None:
    Queue.objects.create(name="llm", concurrency_limit=2)
    stored.worker()
    page = (ROOT / "platform/docs/workers.md").read_text("utf-8")
    assert set(re.findall(r"\bholdfast_\w+", page)) == {key[0] for key in scrape()}


# ── who may ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("address", ["127.0.0.1", "192.0.2.7"])
def test_strangers_learn_nothing_from_this_machine_neither(address: str) -> None:
    response = Client(REMOTE_ADDR=address).get("/metrics")
    problem(response, 401, "token_missing")
    assert response["WWW-Authenticate"].startswith("Bearer")
    problem(Client(headers={"Authorization": "Bearer hf_wrong"}).get("/metrics"), 401, "token_wrong")


def test_people_who_may_see_runs_may_see_it_and_others_may_not() -> None:
    assert signed_in("viewer").get("/metrics").status_code == 200
    problem(signed_in(None).get("/metrics"), 403, "grant_missing")


def test_it_is_read_and_changes_nothing(with_role: Callable[[str], Caller]) -> None:
    client = Client(headers=with_role("admin").headers)
    assert client.post("/metrics").status_code == 405
    assert client.head("/metrics").status_code == 200
    assert not AuditEntry.objects.exclude(action="access.token_create").exists()
    assert (Run.objects.count(), Queue.objects.count()) == (0, 0)


def test_a_thousand_queues_cost_as_many_statements_as_one(scrape: Callable[[], Samples]) -> None:
    fill(Queue.objects.create(name="first"), count=200)
    scrape()
    assert ApiToken.objects.exclude(last_used_at=None).exists(), "noted once a minute, and not counted below"
    with statements(exactly=5):  # the token, queues, timers, workers, rollups
        scrape()
    Queue.objects.bulk_create(Queue(name=f"q{number:04}") for number in range(999))
    for queue in Queue.objects.filter(name__startswith="q")[:300]:
        fill(queue, count=20)
        fill(queue, key="a", count=5)
    scrape()  # a minute may be over
    began = time.monotonic()
    with statements(exactly=5):
        found = scrape()
    assert time.monotonic() - began < 5, "it takes some 100 ms"
    assert sum(key[0] == "holdfast_queue_depth" for key in found) == 1_000
    assert sum(value for key, value in found.items() if key[0] == "holdfast_queue_depth") == 200 + 300 * 25
