"""Alerts: what each kind of rule measures, that each is looked at once, and that who is to know is told once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import close_old_connections, connection, transaction
from django.db.models import F
from django.utils import timezone

from holdfast.access.grants import Actor
from holdfast.access.models import AuditEntry
from queues import services as queue_services
from runs.alerts import channels, evaluating, services
from runs.alerts.choices import State
from runs.alerts.evaluating import SETTLE
from runs.alerts.model import Alert, Channel, Firing
from runs.alerts.services import InvalidAlert, UnknownAlert
from runs.errors import InvalidOption, WrongState
from runs.models import Rollup, Run, UsageRollup
from runs.schedules.model import Schedule, Tick
from runs.store import SQL
from tests.support import stored
from tests.support.alerts import look_at_alerts

ACTOR = Actor.local()
pytestmark = pytest.mark.usefixtures("registered")
RATE: dict[str, Any] = {"kind": "failure_rate", "task": "sums", "threshold": 10, "window": 1_800, "min_runs": 5}


@pytest.fixture(autouse=True)
def sums(registered: None) -> None:
    stored.task("sums")


@pytest.fixture
def pager() -> Channel:
    return channels.channel_create("pager", "json", url="https://example.org/hook?token=secret", actor=ACTOR)


def make(name: str = "rate", **settings: Any) -> Alert:
    return services.alert_create(name, actor=ACTOR, **{**RATE, **settings})


def bad(of: int = 6, **fields: Any) -> None:
    stored.ended(of, "failed", **fields)


def look(name: str = "rate") -> Alert:
    """The next look at an alert, now."""
    Alert.objects.filter(name=name).update(due_at=timezone.now())
    look_at_alerts()
    return Alert.objects.get(name=name)


def better() -> None:
    Rollup.objects.all().delete()
    stored.ended(20)


def told() -> list[tuple[str, str]]:
    runs = Run.objects.filter(task_id="holdfast.alert").order_by("id")
    return [(run.payload["channel"], run.payload["news"]["type"]) for run in runs]


def value_of(**settings: Any) -> tuple[float | None, str]:
    """What a rule measures, and its words."""
    make("x", **{"min_runs": 1, **settings})
    found = look("x")
    return found.value, found.note


def ago(**span: float) -> datetime:
    return timezone.now() - timedelta(**span)


# ── what is measured ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_failure_rate_is_that_of_the_runs_of_its_scope_and_window(registered: None) -> None:
    bad(1, minutes_ago=3)
    stored.ended(3, minutes_ago=20)
    stored.ended(50, "cancelled", minutes_ago=3)
    bad(9, minutes_ago=40)
    bad(7, name="others", minutes_ago=3)
    assert value_of() == (25.0, "4 runs ended in 30m")
    services.alert_update("x", {"task": "", "queue": "default"}, actor=ACTOR)
    assert look("x").value == pytest.approx(100 * 8 / 11)


def test_too_few_runs_are_unmeasured_and_not_green() -> None:
    bad(4)
    make()
    found = look()
    assert (found.state, found.value, found.note) == ("unmeasured", None, "4 runs ended in 30m; 5 are needed")


def test_alerts_about_all_tasks_do_not_count_their_own_deliveries() -> None:
    bad(5, name="holdfast.alert")
    assert value_of(task="") == (None, "0 runs ended in 30m; 1 are needed")


def test_latency_is_a_percentile_of_durations() -> None:
    stored.ended(90, seconds=1.0)
    stored.ended(10, seconds=60.0, minutes_ago=4)
    value, _ = value_of(kind="latency", threshold=30, percentile=99)
    assert value == pytest.approx(60, rel=0.2)
    services.alert_update("x", {"percentile": 50}, actor=ACTOR)
    assert look("x").value == pytest.approx(1, rel=0.2)


def test_the_head_wait_is_that_of_the_first_in_line_and_a_paused_queue_has_none() -> None:
    stored.run("queued", age=600)
    value, words = value_of(kind="head_wait", task="", threshold=60, window=3_600, min_runs=20)
    assert value is not None
    assert 520 <= value <= 600
    assert words == "queue default"
    queue_services.queue_pause("default", ACTOR)
    services.alert_update("x", {"queue": "default"}, actor=ACTOR)
    found = look("x")
    assert (found.state, found.note) == ("unmeasured", "the queue is paused")


def test_missed_ticks_are_those_that_nobody_was_there_for_or_that_came_late() -> None:
    settings = {"kind": "missed_schedule", "task": "", "threshold": 0, "min_runs": 20}
    assert value_of(**settings) == (None, "there is no schedule yet")
    hourly = Schedule.objects.create(name="hourly", task_id="sums", every=3_600, created_at=ago(days=1))
    now = ago(minutes=5)
    for number, (outcome, late) in enumerate([("missed", 0), ("failed", 1), ("started", 90), ("started", 5)]):
        due = now - timedelta(seconds=late + number)
        Tick.objects.create(schedule=hourly, due_at=due, fired_at=due + timedelta(seconds=late), outcome=outcome)
    assert look("x").value == 3
    Schedule.objects.update(next_at=ago(minutes=10))
    assert look("x").value == 4, "one is overdue"
    services.alert_update("x", {"schedule": "hourly"}, actor=ACTOR)
    assert look("x").state == State.FIRING
    Tick.objects.all().delete()
    Schedule.objects.update(paused_at=timezone.now(), next_at=None)
    assert (look("x").value, look("x").note) == (None, "paused")


def test_no_progress_is_counted_while_something_runs_or_waits() -> None:
    settings = {"kind": "no_progress", "threshold": 300, "window": 3_600, "min_runs": 20}
    assert value_of(**settings) == (0, "nothing runs or waits")
    assert look("x").state == State.OK
    stuck = stored.run("running", age=1_200)
    value = look("x").value
    assert value is not None
    assert 1_080 <= value <= 1_260
    stored.ended(1, minutes_ago=8)
    value = look("x").value
    assert value is not None
    assert 300 <= value <= 480, "since the last that was completed"
    services.alert_update("x", {"task": "", "queue": "default"}, actor=ACTOR)
    assert look("x").value in (value, value + 60), "the same, or a minute later"
    queue_services.queue_pause("default", ACTOR)
    assert look("x").note == "queue default is paused"
    Run.objects.filter(pk=stuck.pk).delete()


def test_spend_is_what_runs_said_to_use_and_unknown_units_are_unmeasured() -> None:
    settings = {"kind": "spend", "task": "", "threshold": 5, "window": 3_600, "min_runs": 20, "unit": "cost"}
    assert value_of(**settings) == (None, "nobody has said yet to use cost")
    by = stored.worker()
    for minutes, amount in ((10, "2.25"), (50, "3.5"), (90, "100")):
        at = ago(minutes=minutes).replace(second=0, microsecond=0)
        UsageRollup.objects.create(minute=at, task_id="sums", unit="cost", worker=by, amount=Decimal(amount))
    assert look("x").value == 5.75
    assert look("x").state == State.FIRING
    UsageRollup.objects.filter(amount__lt=50).delete()
    assert look("x").value == 0


def test_what_takes_too_long_is_unmeasured_and_does_not_hold_the_others_up(monkeypatch: pytest.MonkeyPatch) -> None:
    bad()
    make("slow", kind="spend", unit="cost", task="", threshold=1, window=3_600, min_runs=20)
    make()
    with stored.locked("runs_usagerollup"):
        with monkeypatch.context() as hasty:
            hasty.setattr(evaluating, "PATIENCE", 50)
            assert look("slow").note.startswith("It took longer than 0.05 s to measure")
        assert look().state == State.FIRING
    assert look("slow").note == "nobody has said yet to use cost"


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        ("alert_ends", "rollup_unique"),
        ("alert_ends", "minute_sum_unique"),
        ("alert_durations", "rollup_unique"),
        ("alert_activity", "rollup_unique"),
        ("alert_activity", "minute_sum_unique"),
        ("alert_usage", "usage_rollup_unique"),
        ("alert_unit_known", "usage_rollup_unique"),
        ("alert_work_of_task", "run_by_task"),
        ("alert_work_of_queue", "run_by_queue"),
    ],
)
def test_what_is_measured_is_read_from_an_index(statement: str, index: str) -> None:
    asked = {
        "start": ago(hours=1), "end": timezone.now(), "task": "sums", "queue": "", "unit": "cost", "most": 1_000,
        "counted": ["completed", "failed"], "failed": ["failed"], "kinds": ["run"], "summed": 15,
    }  # fmt: skip
    busy = [stored.queue(f"busy-{number}").pk for number in range(20)]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            """INSERT INTO runs_run (id, task_id, queue_id, status, payload, created_at, finished_at, trace_id)
            SELECT uuidv7(), 'task-' || n %% 50, (%s::bigint[])[1 + n %% 20], 'completed', '{}', now(), now(), ''
            FROM generate_series(1, 3000) n""",
            [busy],
        )
        cursor.execute("ANALYZE runs_run")
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"EXPLAIN {getattr(SQL, statement)}", asked)
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert index in plan
    assert "Seq Scan" not in plan


# ── state, and who is told ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_firing_is_told_once_and_its_end_once(pager: Channel) -> None:
    bad()
    make(channels=["pager"])
    assert look().state == State.FIRING
    bad(9, minutes_ago=3)
    assert look().state == State.FIRING
    assert told() == [("pager", "alert.firing")]
    firing = Firing.objects.get()
    assert (firing.until, firing.value, firing.peak) == (None, 100, 100)
    assert firing.summary == ("100.0 % (6 runs ended in 30m): failure rate of sums over 30m above 10 %")
    assert firing.link.startswith("/runs/?q=task:sums+status:failed")
    better()
    assert look().state == State.OK
    look()
    assert told() == [("pager", "alert.firing"), ("pager", "alert.resolved")]
    assert Firing.objects.get().ended == "recovered"
    better()
    Rollup.objects.all().delete()
    bad()
    look()
    assert told()[2:] == [("pager", "alert.firing")]
    assert Firing.objects.count() == 2


def test_many_schedulers_at_once_look_at_each_alert_once(pager: Channel) -> None:
    bad()
    for number in range(6):
        make(f"rate-{number}", channels=["pager"])

    def scheduler(_: int) -> None:
        try:
            look_at_alerts()
        finally:
            close_old_connections()
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(scheduler, range(6)))
    assert Firing.objects.count() == 6
    assert len(told()) == 6
    assert not Alert.objects.filter(due_at__lte=F("evaluated_at")).exists()


def test_an_alert_that_was_looked_at_is_due_again_when_the_next_minute_is_over() -> None:
    make()
    found = look()
    assert found.due_at.replace(second=0, microsecond=0) + SETTLE == found.due_at
    assert found.evaluated_at is not None
    assert found.due_at > found.evaluated_at
    Alert.objects.update(due_at=ago(minutes=-1))
    assert not evaluating.evaluate_due()
    assert Alert.objects.get().evaluated_at == found.evaluated_at


def test_it_waits_until_it_has_held() -> None:
    bad()
    make(hold=600)
    assert look().state == State.PENDING
    Alert.objects.update(since=ago(minutes=12))
    assert look().state == State.FIRING


def test_a_silence_keeps_it_quiet_and_what_still_fires_then_is_told(pager: Channel) -> None:
    bad()
    make(channels=["pager"])
    services.alert_silence("rate", 3_600, actor=ACTOR, reason="we know")
    assert look().state == State.FIRING
    assert told() == []
    Alert.objects.update(silenced_until=ago(seconds=1))
    look()
    look()
    assert told() == [("pager", "alert.firing")]
    services.alert_silence("rate", 3_600, actor=ACTOR)
    better()
    look()
    assert told()[1:] == [("pager", "alert.resolved")], "who was told that it fires is told that it is over"


def test_what_fired_and_was_over_in_silence_is_never_told(pager: Channel) -> None:
    bad()
    make(channels=["pager"])
    services.alert_silence("rate", 3_600, actor=ACTOR)
    look()
    better()
    look()
    services.alert_unsilence("rate", actor=ACTOR)
    look()
    assert told() == []
    assert Firing.objects.get().told_at is None


def test_what_is_acknowledged_is_told_to_nobody_else(pager: Channel) -> None:
    bad()
    make(channels=["pager"])
    with pytest.raises(WrongState, match="only one that fires"):
        services.alert_acknowledge("rate", actor=ACTOR)
    services.alert_silence("rate", 60, actor=ACTOR)
    look()
    services.alert_acknowledge("rate", actor=ACTOR, reason="on it")
    services.alert_unsilence("rate", actor=ACTOR)
    look()
    assert told() == []
    with pytest.raises(WrongState, match="acknowledged already"):
        services.alert_acknowledge("rate", actor=ACTOR)


@pytest.mark.parametrize(
    ("change", "ended"),
    [({"threshold": 50}, "changed"), ({"enabled": False}, "off"), ({"kind": "latency", "threshold": 3}, "changed")],
)
def test_another_rule_begins_anew_and_what_fired_is_over(pager: Channel, change: dict[str, Any], ended: str) -> None:
    bad()
    make(channels=["pager"])
    look()
    found = services.alert_update("rate", change, actor=ACTOR)
    assert (found.state, Firing.objects.get().ended) == ("unmeasured", ended)
    assert told()[1:] == [("pager", "alert.resolved")]
    assert Firing.objects.filter(until=None).count() == 0


def test_another_channel_alone_changes_nothing_of_what_fires(pager: Channel) -> None:
    bad()
    make()
    look()
    assert told() == []
    services.alert_update("rate", {"channels": ["pager"]}, actor=ACTOR)
    assert look().state == State.FIRING
    assert told() == [("pager", "alert.firing")], "who is added while it fires is told"


def test_a_deleted_alert_is_over_for_those_who_were_told(pager: Channel) -> None:
    bad()
    make(channels=["pager"])
    look()
    services.alert_delete("rate", actor=ACTOR, reason="not needed")
    assert told()[1:] == [("pager", "alert.resolved")]
    assert not Firing.objects.exists()
    with pytest.raises(UnknownAlert, match="There is no alert 'rate'"):
        services.alert_get("rate")


def test_one_that_is_switched_off_is_not_looked_at() -> None:
    make(enabled=False)
    Alert.objects.update(due_at=ago(hours=1))
    assert not evaluating.evaluate_due()
    assert Alert.objects.get().evaluated_at is None


# ── what cannot be ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("settings", "field", "words"),
    [
        ({"kind": "weather"}, "kind", "write one of failure_rate"),
        ({"kind": None}, "kind", "write one of"),
        ({"threshold": 100}, "threshold", "percent from 0 to below 100"),
        ({"threshold": "10"}, "threshold", "write percent"),
        ({"threshold": float("nan")}, "threshold", "write percent"),
        ({"threshold": 10**400}, "threshold", "write percent"),
        ({"threshold": True}, "threshold", "write percent"),
        ({"window": 90}, "window", "write whole minutes"),
        ({"window": 10**400}, "window", "write whole minutes"),
        ({"hold": -1}, "hold", "write seconds from 0"),
        ({"min_runs": 0}, "min_runs", "write a number of runs"),
        ({"task": "sum"}, "task", "did you mean sums"),
        ({"task": "su\x00ms"}, "task", "there is no such task"),
        ({"task": None}, "task", "there is no such task"),
        ({"queue": "default"}, "queue", "stands beside task"),
        ({"schedule": "x"}, "schedule", "is nothing that a rule of kind failure_rate asks for"),
        ({"kind": "spend"}, "min_runs", "is nothing that a rule of kind spend asks for"),
        ({"channels": ["nobody"]}, "channels", "which is no channel"),
        ({"channels": "pager"}, "channels", "must be a list"),
        ({"enabled": 1}, "enabled", "must be true or false"),
        ({"color": "red"}, "color", "is no setting"),
        (
            {"kind": "no_progress", "task": "", "min_runs": 20, "window": 3_600, "threshold": 300},
            "task",
            "give one of the two",
        ),
    ],
)
def test_a_rule_that_cannot_be_is_refused_by_its_field(settings: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(InvalidAlert) as caught:
        make(**settings)
    faults = {fault["field"]: fault["message"] for fault in caught.value.data["errors"]}
    assert words in faults[field]
    assert not Alert.objects.exists()


def test_names_are_checked_and_in_use_once() -> None:
    for name in ("A", "-a", "", "a" * 81, "preview", None, 5, "a\x00"):
        with pytest.raises(InvalidAlert):
            make(name)  # type: ignore[arg-type]
    make()
    with pytest.raises(services.AlertExists):
        make()
    with pytest.raises(InvalidAlert, match="nothing to change"):
        services.alert_update("rate", {}, actor=ACTOR)
    for seconds in (0, 59, 10**9, "60", True, None, float("nan")):
        with pytest.raises(InvalidAlert, match="write seconds from 60"):
            services.alert_silence("rate", seconds, actor=ACTOR)
    with pytest.raises(InvalidOption, match="at most 500"):
        services.alert_silence("rate", 60, actor=ACTOR, reason="x" * 501)


@pytest.mark.parametrize(
    ("kind", "settings", "field"),
    [
        ("pigeon", {}, "kind"),
        ("email", {}, "recipients"),
        ("email", {"recipients": ["nobody"]}, "recipients"),
        ("email", {"recipients": "a@example.org"}, "recipients"),
        ("email", {"recipients": ["a@example.org\nBcc: b@example.org"]}, "recipients"),
        ("email", {"recipients": ["a@example.org"], "url": "https://example.org/"}, "url"),
        ("slack", {"url": "nowhere"}, "url"),
        ("json", {"url": "https://example.org/", "recipients": ["a@example.org"]}, "recipients"),
        ("json", {"url": "https://example.org/", "color": "red"}, "color"),
        ("json", {"url": "https://example.org/", "enabled": "yes"}, "enabled"),
    ],
)
def test_a_channel_that_cannot_be_is_refused_by_its_field(kind: str, settings: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidAlert) as caught:
        channels.channel_create("ops", kind, actor=ACTOR, **settings)
    assert field in {fault["field"] for fault in caught.value.data["errors"]}
    assert not Channel.objects.exists()


def test_all_that_people_do_is_in_the_audit_log_and_no_address_of_a_webhook_is(pager: Channel) -> None:
    bad()
    make(channels=["pager"])
    look()
    services.alert_update("rate", {"hold": 60}, actor=ACTOR, reason="it flaps")
    services.alert_silence("rate", 60, actor=ACTOR)
    services.alert_unsilence("rate", actor=ACTOR)
    channels.channel_update("pager", {"url": "https://example.org/other-secret"}, actor=ACTOR)
    channels.channel_test("pager", actor=ACTOR)
    services.alert_delete("rate", actor=ACTOR)
    channels.channel_delete("pager", actor=ACTOR)
    rows = list(AuditEntry.objects.filter(action__startswith="alerts.").order_by("id"))
    assert [row.action.partition(".")[2] for row in rows] == [
        "create_channel", "create", "update", "silence", "unsilence", "update_channel", "test_channel", "delete",
        "delete_channel",
    ]  # fmt: skip
    assert (rows[2].before, rows[2].after, rows[2].reason) == ({"hold": 0}, {"hold": 60}, "it flaps")
    assert "secret" not in str([(row.before, row.after) for row in rows])
    assert "secret" not in Channel.objects.model(url=pager.url).url
