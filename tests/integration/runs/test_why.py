"""Why a run does not run: every gate, by the page, the API and the command line, in the same words."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from holdfast import db
from queues import store
from queues.models import Entry, Lease, Queue, Start, Worker
from runs.errors import UnknownRun
from runs.models import Rollup, Run
from runs.why import Why, why
from tests.support import stored
from tests.support.people import signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def worker() -> Worker:
    return stored.worker()


def queued(key: str | None = None, **fields: Any) -> Run:
    """A queued run, in its queue's line."""
    found = stored.run("queued", concurrency_key=key, **fields)
    if key is not None:
        Entry.objects.filter(pk=found.pk).update(concurrency_key=key)
        with db.callers() as conn:
            store.note_all_keys(conn, found.queue_id)
            store.take_notes(conn, [found.queue_id])
    return found


def running(worker: Worker, key: str | None = None) -> Run:
    """A run in a worker's hands."""
    found = stored.run("running", concurrency_key=key)
    now = timezone.now()
    Lease.objects.create(
        entry_id=found.pk,
        queue=found.queue,
        worker=worker,
        token=1,
        lane=0,
        priority=0,
        concurrency_key=key,
        ready_at=now,
        leased_at=now - timedelta(seconds=9),
    )
    return found


def viewer() -> Client:
    """Signed in, once for each."""
    name = f"viewer-{uuid4()}"
    return signed_in("viewer", name)


def said(run: Run) -> Why:
    """What is said of it, everywhere the same."""
    found = why(run.pk)
    assert found is not None
    out = io.StringIO()
    call_command("runs", "why", str(run.pk), "--json", stdout=out)
    told = json.loads(out.getvalue())
    assert (told["reason"], told["gate"], told["ahead"], told["held"]) == (
        found.words,
        found.gate,
        found.ahead,
        found.held,
    )
    page = viewer().get(f"/runs/{run.pk}/").content.decode()
    assert found.words[1:].replace("'", "&#x27;") in page
    return found


def limits(**fields: Any) -> None:
    Queue.objects.filter(pk=stored.queue().pk).update(**fields)


def test_what_waits_for_nothing_has_no_reason(worker: Worker) -> None:
    assert why(running(worker).pk) is None
    assert why(stored.run("completed").pk) is None
    with pytest.raises(UnknownRun):
        why(uuid4())


def test_the_next_in_line_says_how_many_are_before_it_and_when_it_probably_starts(worker: Worker) -> None:
    first, second = queued(age=30), queued(age=20)
    assert (said(first).gate, said(first).ahead) == ("line", 0)
    assert said(second).ahead == 1
    assert said(second).start is None
    assert "has started in the last" in said(second).basis
    minute = (timezone.now() - timedelta(minutes=5)).replace(second=0, microsecond=0)
    Rollup.objects.create(
        minute=minute,
        kind="delay",
        task_id=first.task_id,
        queue=first.queue,
        worker=worker,
        status="started",
        bucket=1,
        count=10,
        seconds=1,
    )
    found = said(second)
    assert found.start is not None
    assert 50 < (found.start - timezone.now()).total_seconds() < 90, "ten starts in five to six minutes, and the second"
    assert found.basis.startswith("10 starts in the last ")
    Rollup.objects.update(count=1)
    assert said(second).basis.startswith("1 start in the last ")


def test_no_slot_names_who_holds_them(worker: Worker) -> None:
    limits(concurrency_limit=2)
    holders = [running(worker), running(worker)]
    found = said(queued())
    assert (found.gate, found.words) == ("concurrency_limit", "no slot: 2 of 2 running")
    assert ({h.id for h in found.holders}, found.held) == ({h.pk for h in holders}, 2)
    assert {h.task for h in found.holders} == {"sums"}
    page = viewer().get(f"/runs/{queued().pk}/why/").content.decode()
    assert f"/runs/{holders[0].pk}/" in page


def test_no_slot_for_its_key_names_the_holders_of_that_key_alone(worker: Worker) -> None:
    limits(key_concurrency_limit=1)
    holder = running(worker, "acme")
    running(worker, "other")
    found = said(queued("acme"))
    assert (found.gate, found.words) == ("key_concurrency_limit", "no slot for key acme: 1 of 1 running")
    assert [h.id for h in found.holders] == [holder.pk]
    assert (found.start, found.basis) == (None, "when a run of its key ends")
    assert said(queued("else")).gate == "line"


def test_a_rate_says_when_it_opens_and_how_many_windows_are_before_it(worker: Worker) -> None:
    limits(rate_amount=2, rate_period=60.0)
    now = timezone.now()
    queue = stored.queue()
    Start.objects.create(queue=queue, slice=1, count=2, last_at=now - timedelta(seconds=20))
    runs = [queued(age=30 - n) for n in range(3)]
    found = said(runs[0])
    assert (found.gate, found.words) == ("rate", "rate reached: 2 per minute")
    assert found.start is not None
    assert 35 < (found.start - now).total_seconds() < 41
    later = said(runs[2])
    assert later.ahead == 2
    assert later.start == found.start + timedelta(seconds=60), "two before it: the next window"


def test_a_rate_of_units_holds_who_needs_more_than_is_left(worker: Worker) -> None:
    limits(rate_amount=1_000, rate_period=60.0, rate_unit="tokens")
    queue = stored.queue()
    Start.objects.create(queue=queue, slice=1, count=700, last_at=timezone.now())
    assert said(queued(units=300)).gate == "line"
    found = said(queued(units=301))
    assert (found.gate, found.words) == ("rate", "rate reached: 1,000 tokens per minute")


def test_the_rate_of_its_key_is_named_with_its_window(worker: Worker) -> None:
    limits(key_rate_amount=1, key_rate_period=60.0)
    queue = stored.queue()
    Start.objects.create(queue=queue, concurrency_key="acme", slice=1, count=1, last_at=timezone.now())
    first, second = queued("acme", age=9), queued("acme", age=8)
    found = said(first)
    assert (found.gate, found.words) == ("key_rate", "rate of key acme reached: 1 per minute")
    assert found.start is not None
    assert said(second).start == found.start + timedelta(seconds=60)
    assert said(queued("else")).gate == "line"


def test_a_pause_a_drain_and_their_end(worker: Worker) -> None:
    until = timezone.now() + timedelta(seconds=300)
    limits(paused_at=timezone.now() - timedelta(seconds=60), pause_reason="deploy", paused_until=until)
    old, new = queued(age=90), queued(age=1)
    found = said(old)
    assert (found.gate, found.words, found.start) == ("paused", "queue paused: deploy", until)
    limits(drains=True)
    assert said(old).gate == "line"
    assert (said(new).gate, said(new).words) == ("draining", "queue drains: deploy")
    limits(drains=False, paused_until=None)
    assert (said(old).start, said(old).basis) == (None, "when somebody resumes the queue")


def test_without_a_worker_it_is_stuck() -> None:
    found = said(queued())
    assert (found.gate, found.stuck, found.basis) == ("no_worker", True, "when a worker comes")


def test_while_rq_has_suspended_the_workers_it_is_stuck_and_says_how_to_go_on(worker: Worker) -> None:
    run = queued()
    call_command("rqsuspend", verbosity=0)
    try:
        found = said(run)
        page = signed_in().get("/queues/").content.decode()
    finally:
        call_command("rqresume", verbosity=0)
    assert (found.gate, found.stuck, found.basis) == ("suspended", True, "when somebody resumes the workers")
    assert "manage.py rqresume" in found.words
    assert "suspended: <code>manage.py rqresume</code>" in page
    assert said(run).gate == "line"


@pytest.mark.parametrize(
    ("status", "gate", "fields"),
    [
        ("scheduled", "schedule", {}),
        ("retrying", "retry", {}),
        ("waiting", "wait", {"waiting_for": {"what": "signal 'paid'", "count": 1}}),
    ],
)
def test_what_is_not_due_names_its_time(worker: Worker, status: str, gate: str, fields: dict[str, Any]) -> None:
    then = timezone.now() + timedelta(seconds=120)
    found = said(stored.run(status, next_at=then, **fields))
    assert (found.gate, found.at, found.start) == (gate, then, then)
