"""Schedules: due ticks begin runs, once each, and what people do to them."""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.utils import timezone

from holdfast import db
from holdfast.access.grants import Actor
from holdfast.access.models import AuditEntry
from runs import services as services_of_runs
from runs import store
from runs.errors import InvalidPayload, UnknownTask
from runs.models import Run
from runs.schedules import firing, services
from runs.schedules.backfill import backfill
from runs.schedules.model import Schedule, Tick
from runs.schedules.services import InvalidSchedule, UnknownSchedule
from runs.store import lives
from tests.support.people import signed_in
from tests.support.runs import the
from tests.support.waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)
ACTOR = Actor.local()
Minutes = Callable[[float], datetime]


@pytest.fixture
def minutely(registered: None) -> Schedule:
    """Every minute: `echo`."""
    return services.schedule_create("minutely", ACTOR, task_id="echo", every=60, payload={"value": 7})


def due(found: Schedule, *, since: float = 1.0, **fields: Any) -> None:
    """As if its next tick had been so many seconds ago, and no other one is near."""
    at = timezone.now() - timedelta(seconds=since)
    Schedule.objects.filter(pk=found.pk).update(**{"next_at": at, "every": 300 * 86_400.0, **fields})


def outcomes() -> list[str]:
    return list(Tick.objects.order_by("due_at").values_list("outcome", flat=True))


def test_a_tick_that_is_due_begins_one_run_and_says_which(minutely: Schedule) -> None:
    assert minutely.next_at is not None
    assert minutely.next_at > minutely.created_at
    due(minutely, since=-3_600)
    assert firing.fire_due() == 0
    due(minutely)
    assert firing.fire_due() == 1
    assert firing.fire_due() == 0
    tick, run = Tick.objects.get(), Run.objects.get()
    assert (tick.outcome, tick.run_id, run.payload) == ("started", run.pk, {"value": 7})
    assert run.tags == ["schedule:minutely", f"tick:{tick.due_at.isoformat()}"]
    minutely.refresh_from_db()
    assert minutely.last_run == run.pk
    assert minutely.next_at > timezone.now()


def test_two_schedulers_begin_one_run_for_each_tick(minutely: Schedule) -> None:
    for name in ("second", "third", "fourth"):
        due(services.schedule_create(name, ACTOR, task_id="echo", every=60))
    due(minutely)
    ready = threading.Barrier(4)

    def scheduler() -> None:
        ready.wait()
        try:
            firing.fire_due()
        finally:
            connection.close()

    threads = [threading.Thread(target=scheduler) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    firing.fire_due()
    assert Run.objects.count() == Tick.objects.count() == 4
    assert set(outcomes()) == {"started"}


def test_one_scheduler_leads_and_the_next_one_follows_when_its_connection_ends(minutely: Schedule) -> None:
    due(minutely)
    leader = db.connect("leader")
    with leader.transaction():
        assert store.lead_schedules(leader)
        assert firing.fire_due() == firing.begin_queued() == 0
        leader.close()
    # The server ends the transaction, and with it the lead, a moment after its client has gone.
    assert eventually(firing.fire_due, "another scheduler leads") == 1
    assert Run.objects.count() == 1


def test_a_frozen_leader_is_cut_off(minutely: Schedule, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the server, so that whatever holds it up cannot prevent it."""
    monkeypatch.setattr(lives, "LEADER_FROZEN", "50ms")
    due(minutely)
    leader = db.connect("leader")
    leader.execute("BEGIN")
    assert store.lead_schedules(leader)
    assert eventually(firing.fire_due, "another scheduler leads") == 1
    with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
        leader.execute("SELECT 1")
    leader.close()
    assert Run.objects.count() == 1


@pytest.mark.parametrize("catch_up", ["none", "latest", "all"])
def test_after_a_time_without_a_scheduler_catch_up_decides(minutely: Schedule, catch_up: str) -> None:
    due(minutely, since=3_000, every=600, catch_up=catch_up)
    firing.fire_due()
    ticks = list(Tick.objects.order_by("due_at"))
    assert len(ticks) in (5, 6)
    in_time = [tick for tick in ticks if tick.late <= firing.MISSED]  # one, if the last ten minutes have just begun
    begun = [tick for tick in ticks if tick.outcome == "started"]
    assert begun == {"none": in_time, "latest": ticks[-1:], "all": ticks}[catch_up]
    assert {tick.outcome for tick in ticks if tick not in begun} <= {"missed"}
    assert Run.objects.count() == len(begun)
    assert Run.objects.filter(tags__contains=["late"]).count() == sum(tick.late > firing.LATE for tick in begun)


def test_the_tick_that_is_late_says_so(minutely: Schedule) -> None:
    due(minutely, since=20)
    firing.fire_due()
    tick = Tick.objects.get()
    assert tick.late >= 20
    assert tick.why == f"{tick.late:.0f} s late"
    assert "late" in Run.objects.get().tags


@pytest.mark.parametrize(
    ("overlap", "second", "first"),
    [("allow", "started", "queued"), ("skip", "skipped", "queued"), ("cancel_old", "started", "cancelled")],
)
def test_while_the_run_before_goes_on_overlap_decides(
    minutely: Schedule, overlap: str, second: str, first: str
) -> None:
    due(minutely, overlap=overlap)
    firing.fire_due()
    before = Run.objects.get()
    due(minutely, since=0.5)
    firing.fire_due()
    assert outcomes()[-1] == second
    before.refresh_from_db()
    assert before.status == first
    if overlap == "skip":
        assert str(before.pk) in Tick.objects.latest("due_at").why


def end(run_id: uuid.UUID | None) -> None:
    """As if a run had come to its end."""
    services_of_runs.run_cancel(run_id, actor=ACTOR)


def test_a_tick_that_is_queued_begins_when_the_run_before_has_ended_and_in_order(minutely: Schedule) -> None:
    for since in (20.0, 10.0, 3.0):
        due(minutely, since=since, overlap="queue")
        firing.fire_due()
    assert outcomes() == ["started", "queued", "queued"]
    assert firing.begin_queued() == 0, "the first run goes on"
    first, second, third = Tick.objects.order_by("due_at")
    end(first.run_id)
    due(minutely, since=0.5)
    firing.fire_due()
    assert outcomes()[-1] == "queued", "nobody overtakes those that wait"
    assert firing.begin_queued() == 1
    assert firing.begin_queued() == 0, "one at a time"
    second.refresh_from_db()
    assert second.outcome == "started"
    assert re.fullmatch(rf"waited \d+ s for run {first.run_id} to end", second.why)
    services.schedule_pause("minutely", ACTOR)
    end(second.run_id)
    assert firing.begin_queued() == 0, "a paused schedule begins nothing"
    services.schedule_resume("minutely", ACTOR)
    assert firing.begin_queued() == 1
    third.refresh_from_db()
    assert third.run_id == Schedule.objects.get().last_run
    assert Run.objects.get(pk=third.run_id).tags[1] == f"tick:{third.due_at.isoformat()}"


def test_ticks_that_wait_when_overlap_is_edited_to_allow_begin_beside_the_run_before(minutely: Schedule) -> None:
    for since in (20.0, 10.0, 3.0):
        due(minutely, since=since, overlap="queue")
        firing.fire_due()
    assert outcomes() == ["started", "queued", "queued"]
    services.schedule_update("minutely", ACTOR, overlap="allow")
    assert [firing.begin_queued() for _ in range(3)] == [1, 1, 0]
    assert outcomes() == ["started"] * 3
    assert Run.objects.count() == 3


def test_of_many_schedulers_one_begins_a_tick_that_is_queued(minutely: Schedule) -> None:
    for since in (20.0, 10.0, 3.0):
        due(minutely, since=since, overlap="queue")
        firing.fire_due()
    end(Tick.objects.earliest("due_at").run_id)
    begun: list[int] = []

    def schedule() -> None:
        begun.append(firing.begin_queued())
        connection.close()

    threads = [threading.Thread(target=schedule) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(begun) == 1
    assert outcomes() == ["started", "started", "queued"]


def test_a_schedule_whose_time_zone_this_host_does_not_know_holds_up_no_other(minutely: Schedule) -> None:
    lost = services.schedule_create("lost", ACTOR, task_id="echo", cron="0 6 * * *", payload={"value": 1})
    due(minutely)
    Schedule.objects.filter(pk=lost.pk).update(
        timezone="Europe/Atlantis", next_at=timezone.now() - timedelta(seconds=30)
    )
    assert firing.fire_due() == 1
    assert Tick.objects.get().schedule_id == minutely.pk
    assert signed_in("viewer").get("/schedules/lost/").status_code == 200
    with pytest.raises(InvalidSchedule, match="Europe/Atlantis"):
        services.schedule_update("lost", ACTOR, jitter=5)
    services.schedule_update("lost", ACTOR, timezone="Europe/Berlin")
    assert firing.fire_due() == 0


def test_so_many_ticks_are_queued_and_no_more_and_none_of_them_is_backfilled(
    minutely: Schedule, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firing, "MOST_QUEUED", 2)
    due(minutely, since=50, every=10, overlap="queue", catch_up="all")
    firing.fire_due()
    assert outcomes()[:4] == ["started", "queued", "queued", "skipped"]
    assert "2 ticks waited" in Tick.objects.order_by("due_at")[3].why
    waiting = Tick.objects.order_by("due_at")[1]
    assert backfill("minutely", waiting.due_at, waiting.due_at, ACTOR) == (0, 1)


def test_a_queued_tick_that_cannot_begin_says_so_and_the_next_has_its_turn(minutely: Schedule) -> None:
    due(minutely, since=2, overlap="queue")
    firing.fire_due()
    due(minutely, since=1)
    firing.fire_due()
    end(Tick.objects.earliest("due_at").run_id)
    Schedule.objects.update(task_id="gone")
    assert firing.begin_queued() == 1
    tick = Tick.objects.latest("due_at")
    assert (tick.outcome, tick.run_id) == ("failed", None)
    assert "gone" in tick.why
    assert firing.begin_queued() == 0


def test_what_cannot_begin_is_said_and_the_next_tick_comes(minutely: Schedule) -> None:
    due(minutely, payload={"nonsense": 1})
    firing.fire_due()
    tick = Tick.objects.get()
    assert tick.outcome == "failed"
    assert "nonsense" in tick.why
    minutely.refresh_from_db()
    assert minutely.next_at is not None


def test_jitter_delays_the_run_and_not_the_tick(minutely: Schedule) -> None:
    due(minutely, jitter=3_600)
    firing.fire_due()
    run = Run.objects.get()
    assert run.status == "scheduled"
    assert run.next_at is not None


def test_an_edit_loses_no_tick_that_is_due_unless_it_is_of_the_time(minutely: Schedule) -> None:
    due(minutely)
    services.schedule_update("minutely", ACTOR, payload={"value": 8}, overlap="skip")
    services.schedule_update("minutely", ACTOR, every=300 * 86_400.0)  # as it is
    assert firing.fire_due() == 1
    assert Run.objects.get().payload == {"value": 8}
    due(minutely)
    services.schedule_update("minutely", ACTOR, every=200 * 86_400.0)
    assert firing.fire_due() == 0


# ── people ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_pause_stops_ticks_and_those_meanwhile_are_none(minutely: Schedule) -> None:
    paused = services.schedule_pause("minutely", ACTOR, "holidays")
    assert (paused.next_at, paused.pause_reason) == (None, "holidays")
    assert firing.fire_due() == 0
    before = timezone.now()
    resumed = services.schedule_resume("minutely", ACTOR)
    assert resumed.next_at is not None
    assert resumed.next_at > before
    run_id = services.schedule_run("minutely", ACTOR)
    assert Run.objects.get(pk=run_id).tags == ["schedule:minutely", "by-hand"]
    services.schedule_delete("minutely", ACTOR)
    with pytest.raises(UnknownSchedule):
        services.schedule_pause("minutely", ACTOR)
    actions = [entry.action for entry in AuditEntry.objects.filter(object_type="schedule").order_by("id")]
    assert actions == [f"schedules.{verb}" for verb in ("create", "pause", "resume", "run", "delete")]


def test_of_many_who_make_a_schedule_of_one_name_one_does_and_the_others_are_told(registered: None) -> None:
    together = threading.Barrier(6)
    told: list[str] = []

    def make() -> None:
        together.wait()
        try:
            told.append(services.schedule_create("wanted", ACTOR, task_id="echo", every=60, payload={"value": 1}).name)
        except InvalidSchedule as error:
            told.append(error.data["errors"][0]["field"])
        finally:
            connection.close()

    threads = [threading.Thread(target=make) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == ["name"] * 5 + ["wanted"]
    assert AuditEntry.objects.filter(action="schedules.create").count() == 1


def test_every_field_that_does_not_fit_is_named(minutely: Schedule) -> None:
    with pytest.raises(InvalidSchedule) as found:
        services.schedule_update("minutely", ACTOR, every=0, overlap="maybe", jitter="x", colour="red")
    assert {e["field"] for e in found.value.data["errors"]} == {"every", "overlap", "jitter", "colour"}
    with pytest.raises(InvalidSchedule, match="in use"):
        services.schedule_create("minutely", ACTOR, task_id="echo", every=60)
    with pytest.raises(UnknownTask):
        services.schedule_create("other", ACTOR, task_id="ecko", every=60)
    with pytest.raises(InvalidPayload):
        services.schedule_create("other", ACTOR, task_id="echo", every=60, payload={"nonsense": 1})
    with pytest.raises(InvalidSchedule, match="nothing to change"):
        services.schedule_update("minutely", ACTOR)
    assert Schedule.objects.count() == 1
    minutely.refresh_from_db()
    assert minutely.every == 60


# ── backfill ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def minutes_ago() -> Minutes:
    """The beginning of a minute, so many before the one in which the test began."""
    this = timezone.now().replace(second=0, microsecond=0)
    return lambda minutes: this - timedelta(minutes=minutes)


def test_a_backfill_begins_a_run_for_each_tick_that_has_begun_none(minutely: Schedule, minutes_ago: Minutes) -> None:
    done = backfill("minutely", minutes_ago(10), minutes_ago(5), ACTOR, "the week before")
    assert done == (6, 0)
    runs = list(Run.objects.order_by("id"))
    assert len(runs) == 6
    assert runs[0].tags == ["schedule:minutely", f"tick:{minutes_ago(10).astimezone(UTC).isoformat()}", "backfill"]
    assert {tick.why for tick in Tick.objects.all()} == {"backfilled"}
    assert backfill("minutely", minutes_ago(11), minutes_ago(4), ACTOR) == (2, 6)
    Tick.objects.all().delete()
    assert backfill("minutely", minutes_ago(11), minutes_ago(4), ACTOR) == (0, 8), "their runs know"
    Run.objects.all().delete()
    assert backfill("minutely", minutes_ago(11), minutes_ago(4), ACTOR) == (0, 8), "their keys know"
    entry = AuditEntry.objects.filter(action="schedules.backfill").order_by("id")[0]
    assert (entry.reason, (entry.after or {})["runs"]) == ("the week before", 6)


def test_a_tick_that_has_begun_a_run_begins_none_though_all_is_forgotten_and_the_payload_is_edited(
    minutely: Schedule,
    minutes_ago: Minutes,
) -> None:
    assert backfill("minutely", minutes_ago(10), minutes_ago(8), ACTOR) == (3, 0)
    Tick.objects.all().delete()
    Run.objects.all().delete()
    services.schedule_update("minutely", ACTOR, payload={"value": 8})
    assert backfill("minutely", minutes_ago(11), minutes_ago(8), ACTOR) == (1, 3)
    assert Run.objects.get().payload == {"value": 8}


def test_ticks_that_a_scheduler_has_fired_or_will_fire_are_left_out(minutely: Schedule, minutes_ago: Minutes) -> None:
    Tick.objects.create(schedule=minutely, due_at=minutes_ago(3), fired_at=timezone.now(), outcome="missed")
    begun = Tick.objects.create(
        schedule=minutely, due_at=minutes_ago(2), fired_at=timezone.now(), outcome="started", run_id=minutely_run()
    )
    Schedule.objects.update(next_at=minutes_ago(1))
    assert backfill("minutely", minutes_ago(3), minutes_ago(0), ACTOR) == (1, 1)
    assert Tick.objects.get(due_at=minutes_ago(3)).outcome == "started", "the missed one"
    assert Tick.objects.get(pk=begun.pk).run_id == begun.run_id
    assert firing.fire_due() >= 1, "the scheduler goes on undisturbed"


def test_a_tick_whose_record_is_forgotten_begins_no_second_run(
    minutely: Schedule, minutes_ago: Minutes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firing, "REMEMBERED", 2)
    Schedule.objects.update(next_at=minutes_ago(5), catch_up="all")
    assert firing.fire_due() >= 5
    assert Tick.objects.count() == 2
    fired = Run.objects.count()
    done = backfill("minutely", minutes_ago(5), minutes_ago(2), ACTOR)
    assert done == (0, 4)
    assert Run.objects.count() == fired


def test_a_tick_that_was_skipped_is_backfilled_and_its_record_still_says_why(
    minutely: Schedule, minutes_ago: Minutes
) -> None:
    why = "run 7 was going on"
    Tick.objects.create(schedule=minutely, due_at=minutes_ago(3), fired_at=timezone.now(), outcome="skipped", why=why)
    assert backfill("minutely", minutes_ago(3), minutes_ago(3), ACTOR) == (1, 0)
    assert Tick.objects.get().why == f"backfilled; before: {why}"


def minutely_run() -> Any:
    return the("echo").enqueue(7).id


def test_two_backfills_at_once_begin_each_tick_once(minutely: Schedule, minutes_ago: Minutes) -> None:
    def one() -> None:
        try:
            backfill("minutely", minutes_ago(30), minutes_ago(10), ACTOR)
        finally:
            connection.close()

    threads = [threading.Thread(target=one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Run.objects.count() == Tick.objects.count() == 21


@pytest.mark.parametrize(
    ("start", "end", "field"),
    [
        ("yesterday", "2026-01-01T00:00:00Z", "from"),
        ("2026-01-01T00:00:00", "2026-01-01T00:00:00Z", "from"),
        ("2026-01-01T00:00:00Z", None, "to"),
        ("0001-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "from"),
        ("2026-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00", "to"),
        ("2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z", "from"),
        ("2026-01-01T00:00:00Z", "2999-01-01T00:00:00Z", "to"),
        ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "to"),
    ],
)
def test_a_backfill_of_no_time_is_refused_with_its_field(minutely: Schedule, start: Any, end: Any, field: str) -> None:
    with pytest.raises(InvalidSchedule) as refused:
        backfill("minutely", start, end, ACTOR)
    assert refused.value.data["errors"][0]["field"] == field
    assert not Run.objects.exists()
    assert not AuditEntry.objects.filter(action="schedules.backfill").exists()


@pytest.mark.parametrize("start", ["2026-11-29", "2026-11-29T10:00", datetime(2026, 11, 29, 10)])
def test_a_backfill_without_a_zone_is_told_what_was_sent_in_its_words(minutely: Schedule, start: Any) -> None:
    with pytest.raises(InvalidSchedule) as refused:
        backfill("minutely", start, "2026-11-30T00:00:00Z", ACTOR)
    assert refused.value.data["errors"][0]["message"].startswith(("is '2026-11-29", "is 2026-11-29T10:00:00;"))
