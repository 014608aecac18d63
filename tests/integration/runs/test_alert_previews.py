"""Alerts on history: what a rule would have done, and what the engine's own figures say."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from holdfast.access.grants import Actor
from holdfast.access.models import AuditEntry
from holdfast.demo.history import catalog
from holdfast.demo.history.incidents import before
from runs.alerts import measuring, rules, services
from runs.alerts.evaluating import SETTLE
from runs.alerts.model import Alert
from tests.support import stored
from tests.support.runs import the

ACTOR = Actor.local()
pytestmark = pytest.mark.usefixtures("registered")
RATE: dict[str, Any] = {"kind": "failure_rate", "task": "sums", "threshold": 10, "window": 1_800, "min_runs": 5}


@pytest.fixture(autouse=True)
def sums(registered: None) -> None:
    stored.task("sums")


def make(name: str = "rate", **settings: Any) -> Alert:
    return services.alert_create(name, actor=ACTOR, **{**RATE, **settings})


def bad(of: int = 6, **fields: Any) -> None:
    stored.ended(of, "failed", **fields)


def test_on_the_seeded_history_a_failure_rate_of_invoices_fires_once_in_the_bad_deploy() -> None:
    call_command("seed", "--small", stdout=io.StringIO())
    seeded = AuditEntry.objects.get(action="demo.seed").after
    assert seeded is not None
    incident = before(seeded["end"]).bad_deploy
    rule = services.alert_draft(
        kind="failure_rate", task="seeded-invoice", threshold=10, window=3 * 3_600, min_runs=10, hold=600
    )
    end = datetime.fromtimestamp(seeded["end"], UTC)
    points = measuring.points(rule, end - timedelta(days=7), end)
    found = rules.spans([(p.at, p.value) for p in points], threshold=rule.threshold, hold=rule.held)
    [span] = found
    assert incident.start < span.since.timestamp() < incident.end
    assert span.until is not None
    assert incident.end < span.until.timestamp() < incident.end + 25 * 3_600, "at night nothing says that it is well"
    assert catalog.BY_NAME["invoice"].id == rule.task


def test_a_preview_says_what_each_look_would_have_said() -> None:
    for minutes in range(3, 41, 2):
        stored.ended(3, minutes_ago=minutes)
        bad(minutes % 5, minutes_ago=minutes)
    rule = make(window=300)
    end = (timezone.now() - SETTLE).replace(second=0, microsecond=0)
    points = measuring.points(rule, end - timedelta(minutes=30), end)
    assert len(points) == 30
    for point in points:
        assert measuring.measure(rule, point.at) == point


def test_a_run_that_works_makes_progress_by_the_engines_own_figures(registered: None) -> None:
    the("echo").enqueue("x")
    rule = services.alert_draft(kind="no_progress", task="echo", threshold=60)
    end = timezone.now().replace(second=0, microsecond=0) + timedelta(minutes=1)
    assert measuring.measure(rule, end).value == 60, "it waits, and there is no worker"
