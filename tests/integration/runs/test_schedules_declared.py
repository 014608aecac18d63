"""Schedules that code declares: a person's edit and a deploy get on with each other, and one bad row stops no other."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from holdfast import db
from holdfast.access.grants import Actor
from runs.engine.upkeep import Clockwork
from runs.errors import DeclarationError
from runs.models import Run
from runs.schedules import services
from runs.schedules.declare import Schedule as Declared
from runs.schedules.model import Schedule
from tests.support.runs import the

pytestmark = pytest.mark.django_db(transaction=True)
ACTOR = Actor.local()
Deploy = Callable[..., Schedule]


@pytest.fixture
def deploy(registered: None, monkeypatch: pytest.MonkeyPatch) -> Deploy:
    """Code that declares a schedule `report`, and no other, otherwise than before, whose process starts."""
    monkeypatch.setattr(Declared, "declared", {})

    def declare(**when: Any) -> Schedule:
        Declared.declared.pop("report", None)
        Declared("report", the("echo"), {"value": 1}, **when)
        services.declare_all()
        return Schedule.objects.get(name="report")

    return declare


@pytest.fixture
def other(registered: None) -> Schedule:
    """A schedule that a person has made, with a tick that is due."""
    made = services.schedule_create("other", ACTOR, task_id="echo", every=300 * 86_400, payload={"value": 7})
    Schedule.objects.filter(pk=made.pk).update(next_at=timezone.now() - timedelta(seconds=2))
    return made


@pytest.mark.parametrize(
    ("declared", "edit", "then"),
    [
        ({"cron": "0 6 * * *"}, {"cron": "0 7 * * *"}, {"every": 60.0}),
        ({"every": 60.0}, {"every": 120.0}, {"cron": "0 6 * * *"}),
        ({"cron": "0 6 * * *"}, {"every": 120.0}, {"cron": "0 5 * * *"}),
    ],
)
def test_an_edited_time_stays_whatever_kind_of_time_code_declares_next(
    deploy: Deploy, declared: dict[str, Any], edit: dict[str, Any], then: dict[str, Any]
) -> None:
    deploy(**declared)
    services.schedule_update("report", ACTOR, **edit)
    found = deploy(**then, jitter=5.0)
    assert {name: getattr(found, name) for name in ("cron", "every")} == {"cron": None, "every": None, **edit}
    assert (found.edited, found.jitter) == (["cron", "every"], 5.0)
    assert deploy(**then, jitter=6.0).jitter == 6.0
    back = services.schedule_update("report", ACTOR, as_declared=True)
    assert {name: getattr(back, name) for name in then} == then
    assert back.edited == []


def test_a_time_that_nobody_edited_becomes_what_code_declares(deploy: Deploy) -> None:
    first = deploy(cron="0 6 * * *")
    found = deploy(every=60.0)
    assert (found.cron, found.every, found.edited) == (None, 60.0, [])
    assert found.next_at is not None
    assert found.next_at != first.next_at
    assert found.next_at <= timezone.now() + timedelta(seconds=61)


def test_a_declared_schedule_that_cannot_be_told_here_stops_no_other(
    deploy: Deploy, other: Schedule, caplog: pytest.LogCaptureFixture
) -> None:
    deploy(cron="0 6 * * *")
    services.schedule_update("report", ACTOR, timezone="Europe/Berlin")
    Schedule.objects.filter(name="report").update(timezone="Europe/Atlantis")  # as a newer host may know it
    Declared.declared.pop("report")
    Declared("report", the("echo"), {"value": 1}, cron="0 5 * * *")
    conn = db.connect("a scheduler")
    try:
        with caplog.at_level(logging.ERROR, logger="holdfast.schedule"):
            Clockwork().turn(conn)
    finally:
        conn.close()
    assert Run.objects.get().payload == {"value": 7}
    said = [record.getMessage() for record in caplog.records if record.name == "holdfast.schedule"]
    assert len(said) == 1
    assert said[0].startswith("schedule report does not adopt what its code declares: timezone is 'Europe/Atlantis'")
    assert Schedule.objects.get(name="report").cron == "0 6 * * *"


def test_a_row_whose_zone_this_host_lacks_adopts_one_that_it_knows(deploy: Deploy) -> None:
    deploy(cron="0 6 * * *")
    Schedule.objects.filter(name="report").update(timezone="Europe/Atlantis")
    found = deploy(cron="0 6 * * *", timezone="Europe/Berlin")
    assert found.timezone == "Europe/Berlin"


def test_code_declares_defaults_that_a_persons_edit_overrides(registered: None) -> None:
    try:
        Declared("declared-report", the("echo"), {"value": 1}, cron="0 6 * * *", timezone="Europe/Berlin")
        services.declare_all()
        found = Schedule.objects.get(name="declared-report")
        assert (found.cron, found.timezone, found.edited) == ("0 6 * * *", "Europe/Berlin", [])
        edited = services.schedule_update("declared-report", ACTOR, cron="0 7 * * *", reason="later")
        assert edited.edited == ["cron"]
        del Declared.declared["declared-report"]
        Declared("declared-report", the("echo"), {"value": 2}, cron="0 5 * * *", timezone="UTC")
        services.declare_all()
        found.refresh_from_db()
        assert (found.cron, found.payload, found.timezone) == ("0 7 * * *", {"value": 2}, "UTC")
        back = services.schedule_update("declared-report", ACTOR, as_declared=True)
        assert (back.cron, back.edited) == ("0 5 * * *", [])
    finally:
        del Declared.declared["declared-report"]


@pytest.mark.parametrize(
    "values",
    [
        {"cron": "nonsense"},
        {"every": 0},
        {"cron": "* * * * *", "timezone": "Mars/Olympus"},
        {"every": 60, "catch_up": "some"},
        {"every": 60, "overlap": "maybe"},
        {"every": 60, "jitter": -1},
        {"every": 60, "payload": {"nonsense": 1}},
        {},
    ],
)
def test_nonsense_is_refused_at_import(registered: None, values: dict[str, Any]) -> None:
    with pytest.raises(DeclarationError, match="schedule 'unit-nonsense'"):
        Declared("unit-nonsense", the("echo"), **values)
    assert "unit-nonsense" not in Declared.declared
