"""What is done to many runs at once comes out as if it had been done to one after the other, with a few statements."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from holdfast.access.errors import AuditOutsideTransaction
from holdfast.access.grants import Actor
from holdfast.access.models import AuditEntry
from holdfast.access.services import audit_many
from queues.models import Entry, Timer
from runs import services
from runs.bulk import services as bulk
from runs.bulk import working
from runs.bulk.model import BulkItem, BulkJob
from runs.models import Run, Wait
from runs.retries import services as retries
from tests.support import stored
from tests.support.counting import statements

pytestmark = pytest.mark.usefixtures("registered")
ACTOR = Actor.local()
Act = Callable[[list[uuid.UUID]], Mapping[uuid.UUID, Any]]


def timed(status: str, minutes: float, **fields: Any) -> Run:
    """A run with a timer."""
    at = timezone.now() + timedelta(minutes=minutes)
    found = stored.run(status, "echo", next_at=at, attempt=0 if status == "scheduled" else 1, **fields)
    Timer.objects.create(entry_id=found.id, queue=found.queue, lane=0, due_at=at)
    return found


def zoo() -> list[uuid.UUID]:
    """One run of each kind, and one that is not there; in the order of their ids."""
    for status in ("failed", "cancelled", "expired", "timed_out", "crashed", "unknown", "completed"):
        stored.run(status, "echo", payload={"value": 1})
    stored.run("queued", "echo")
    stored.run("running", "echo", lease_token=7)
    timed("scheduled", 5)
    timed("retrying", 5)
    timed("retrying", 600)
    parked = {"kind": "version", "version": "2"}
    stored.run("waiting", "echo", waiting_for=parked)
    closed = stored.run("failed", "echo")
    at = timezone.now()
    Wait.objects.create(
        id=uuid.uuid4(),
        run_id=closed.id,
        key="approval",
        kind="token",
        sequence=1,
        created_at=at,
        resolved_at=at,
        outcome="cancelled",
    )
    parent = stored.run("waiting", "echo", waiting_for={"kind": "children"})
    awaited = {"parent_id": parent.id, "parent_wait": "children"}
    child = stored.run("queued", "echo", **awaited)
    stored.run("queued", "echo", parent_id=child.id, parent_wait="children")
    hooked = stored.run("cancelling", "echo", stopping="cancelled", **awaited)  # waits for its turn to be told
    Entry.objects.create(entry_id=hooked.id, queue=hooked.queue, lane=0, ready_at=at, counts_from=at)
    over = stored.run("completed", "echo")
    stored.run("queued", "echo", parent_id=over.id, parent_wait="children")
    return [*Run.objects.order_by("id").values_list("id", flat=True), uuid.UUID(int=2**128 - 1)]


def left_behind(ids: list[uuid.UUID], answers: Mapping[uuid.UUID, Any]) -> list[Any]:
    """What came of it, with the places of runs for their ids."""
    place = {str(run_id): str(number) for number, run_id in enumerate(ids)}

    def plain(value: Any) -> str:
        text = f"{type(value).__name__} {value}" if isinstance(value, Exception) else str(value)
        for run_id, number in place.items():
            text = text.replace(run_id, number)
        return text

    told = [plain(answers[run_id]) for run_id in ids if not isinstance(answers[run_id], uuid.UUID)]
    runs = [
        (run.status, run.stopping, run.failures, run.parent_wait, bool(run.finished_at), bool(run.next_at))
        for run in Run.objects.order_by("id")
    ]
    entries = sorted(place.get(str(found), "new") for found in Entry.objects.values_list("entry_id", flat=True))
    timers = sorted(place.get(str(found), "new") for found in Timer.objects.values_list("entry_id", flat=True))
    audited = [
        (entry.action, place[entry.object_id], entry.reason, entry.before and entry.before.get("status"), entry.after)
        for entry in AuditEntry.objects.order_by("id")
        if entry.action != "runs.replay"
    ]
    for _, _, _, _, after in audited:
        (after or {}).pop("next_at", None)  # of the clock
    replays = [run_id for run_id in Run.objects.values_list("replay_of", flat=True) if run_id]
    return [
        told,
        runs,
        entries,
        timers,
        audited,
        sorted(place[str(run_id)] for run_id in replays),
        Wait.objects.count(),
    ]


def alone(act: Callable[[uuid.UUID], Any]) -> Act:
    """One after the other, as a person does it."""

    def each(ids: list[uuid.UUID]) -> dict[uuid.UUID, Any]:
        found: dict[uuid.UUID, Any] = {}
        for run_id in ids:
            try:
                found[run_id] = act(run_id)
            except Exception as error:
                found[run_id] = error
        return found

    return each


WAYS: dict[str, tuple[Act, Act]] = {
    "retry": (
        alone(lambda run_id: services.run_retry(run_id, actor=ACTOR, reason="why") or "queued"),
        partial(services.runs_retry, actor=ACTOR, reason="why"),
    ),
    "cancel": (
        alone(partial(services.run_cancel, actor=ACTOR, reason="why")),
        partial(services.runs_cancel, actor=ACTOR, reason="why"),
    ),
    "replay": (
        alone(partial(services.run_replay, actor=ACTOR, reason="why")),
        partial(services.runs_replay, actor=ACTOR, reason="why"),
    ),
    "postpone": (
        alone(lambda run_id: bool(retries.run_postpone(run_id, delay=3_600, actor=ACTOR, reason="why"))),
        lambda ids: {
            run_id: said if isinstance(said, Exception) else True
            for run_id, said in retries.runs_postpone(ids, delay=3_600, actor=ACTOR, reason="why").items()
        },
    ),
}


@pytest.mark.parametrize("action", WAYS)
def test_many_together_come_out_as_one_after_the_other(action: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "_why_not", _without_times(retries._why_not))
    one, many = WAYS[action]
    results = []
    for act in (one, many):
        with transaction.atomic():
            ids = zoo()
            answers = act(ids)
            assert set(answers) == set(ids)
            results.append(left_behind(ids, answers))
            transaction.set_rollback(True)
    assert results[0] == results[1]
    assert any("Error" not in said and "is" not in said for said in results[0][0]) or results[0][5], "something is done"


def _without_times(why_not: Callable[..., Any]) -> Callable[..., Any]:
    def plain(run_id: uuid.UUID, status: str | None, next_at: Any) -> Any:
        error = why_not(run_id, status, next_at)
        return type(error)("later") if isinstance(error, retries.TriesLater) else error

    return plain


def test_a_child_that_waits_for_its_hook_keeps_its_place_when_its_parent_is_cancelled() -> None:
    parent = stored.run("waiting", "echo", waiting_for={"kind": "children"})
    child = stored.run(
        "cancelling", "echo", stopping="cancelled", parent_id=parent.id, parent_wait="children", attempt=1
    )
    at = timezone.now()
    Entry.objects.create(entry_id=child.id, queue=child.queue, lane=0, ready_at=at, counts_from=at)
    assert services.run_cancel(parent.id, actor=ACTOR) == "cancelled"
    assert Entry.objects.filter(entry_id=child.id, ready_at=at).exists()


def test_runs_that_wait_for_very_many_are_cancelled_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "MOST_STOPPED", 4)
    parents = [stored.run("waiting", "echo", waiting_for={"kind": "children"}) for _ in range(4)]
    for parent in parents:
        for _ in range(2):
            stored.run("queued", "echo", parent_id=parent.id, parent_wait="children")
    ids = [parent.id for parent in parents]
    assert list(services.runs_cancel(ids, actor=ACTOR)) == ids[:1]
    assert list(services.runs_cancel(ids[1:2], actor=ACTOR)) == ids[1:2]
    job = bulk.bulk_create(action="cancel", ids=ids, actor=ACTOR)
    found = working.batch.function(str(job.id), 0, 100)
    assert found == {"upto": 4, "done": 2, "skipped": 2, "failed": 0}
    assert set(Run.objects.filter(task_id="echo").values_list("status", flat=True)) == {"cancelled"}


def failed(count: int) -> list[uuid.UUID]:
    return [stored.run("failed", "echo", age=600 - number, error=stored.error()).id for number in range(count)]


def outcomes(job: BulkJob) -> list[tuple[str, str]]:
    return list(BulkItem.objects.filter(job=job).order_by("position").values_list("outcome", "why"))


def test_a_run_that_breaks_the_statement_is_set_aside_and_stops_no_other() -> None:
    ids = failed(11)
    broken = Run.objects.get(pk=ids[6])
    at = timezone.now()
    Entry.objects.create(entry_id=broken.id, queue=broken.queue, lane=0, ready_at=at, counts_from=at)  # never there
    job = bulk.bulk_create(action="retry", ids=ids, actor=ACTOR)
    found = working.batch.function(str(job.id), 0, 100)
    assert found == {"upto": 11, "done": 10, "skipped": 0, "failed": 1}
    told = outcomes(job)
    assert [place for place, (outcome, _) in enumerate(told) if outcome != "done"] == [6]
    assert "duplicate key" in told[6][1]
    assert Run.objects.get(pk=broken.id).status == "failed"
    assert Run.objects.filter(pk__in=ids, status="queued").count() == 10
    assert AuditEntry.objects.filter(action="runs.retry").count() == 10
    job.refresh_from_db()
    assert (job.done, job.failed) == (10, 1)


@pytest.mark.parametrize(("action", "number"), [("retry", 12), ("cancel", 22), ("replay", 14), ("postpone", 14)])
def test_many_runs_take_as_many_statements_as_few(action: str, number: int) -> None:
    for count in (5, 40):
        if action == "postpone":
            ids = [timed("retrying", 5).id for _ in range(count)]
        else:
            status = {"retry": "failed", "cancel": "waiting", "replay": "completed"}[action]
            ids = [stored.run(status, "echo", payload={"value": 1}).id for _ in range(count)]
        more = {"delay": 3_600} if action == "postpone" else {}
        job = bulk.bulk_create(action=action, ids=ids, actor=ACTOR, **more)
        with statements(exactly=number):
            assert working._part(job, 0, count) == ["done"] * count


def test_nothing_is_done_once_a_job_is_being_aborted_and_it_goes_on_where_it_was() -> None:
    ids = failed(3)
    job = bulk.bulk_create(action="retry", ids=ids, actor=ACTOR)
    Run.objects.filter(pk=job.id).update(status="cancelling", stopping="cancelled")
    assert working.batch.function(str(job.id), 0, 100) == {"upto": 0, "done": 0, "skipped": 0, "failed": 0}
    assert outcomes(job) == [("", "")] * 3
    Run.objects.filter(pk=job.id).update(status="running", stopping=None)
    assert working.batch.function(str(job.id), 0, 2)["upto"] == 2
    assert working.batch.function(str(job.id), 0, 3) == {"upto": 3, "done": 3, "skipped": 0, "failed": 0}
    assert AuditEntry.objects.filter(action="runs.retry").count() == 3, "each once"


def test_next_attempts_are_put_off_and_those_that_are_later_stay() -> None:
    near, far, gone = timed("retrying", 5), timed("retrying", 600), stored.run("failed", "echo")
    job = bulk.bulk_create(action="postpone", ids=[near.id, far.id, gone.id], delay=3_600, actor=ACTOR, reason="down")
    assert working.batch.function(str(job.id), 0, 100)["done"] == 1
    assert outcomes(job) == [
        ("done", ""),
        ("skipped", "tries later than that already"),
        ("skipped", "is failed, cannot be put off"),
    ]
    timers = dict(Timer.objects.values_list("entry_id", "due_at"))
    assert timers[near.id] - timezone.now() > timedelta(minutes=59)
    assert timers[far.id] == far.next_at
    entry = AuditEntry.objects.get(action="runs.postpone")
    assert (entry.object_id, entry.reason) == (str(near.id), f"down (bulk job {job.id})")


def test_an_entry_for_each_of_many_is_written_in_the_transaction_alone() -> None:
    with pytest.raises(AuditOutsideTransaction):
        audit_many(ACTOR, "runs.retry", "run", [])
