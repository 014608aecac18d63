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
from runs import histogram
from runs.alerts import measuring, rules, services
from runs.alerts.evaluating import SETTLE
from runs.alerts.model import Alert
from runs.models import Rollup
from tests.support import stored
from tests.support.runs import run, the

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
    # Enough runs that a window's rate is the task's and not luck's, whatever day and hour the history ends at.
    call_command("seed", "--days", "8", "--runs", "20000", stdout=io.StringIO())
    seeded = AuditEntry.objects.get(action="demo.seed").after
    assert seeded is not None
    incident = before(seeded["end"]).bad_deploy
    rule = services.alert_draft(
        kind="failure_rate", task="seeded-invoice", threshold=15, window=3 * 3_600, min_runs=10, hold=1_800
    )
    end = datetime.fromtimestamp(seeded["end"], UTC)
    points = measuring.points(rule, end - timedelta(days=7), end)
    found = rules.spans([(p.at, p.value) for p in points], threshold=rule.threshold, hold=rule.held)
    [span] = found
    assert incident.start < span.since.timestamp() < incident.end
    assert span.until is not None
    assert incident.end < span.until.timestamp() < incident.end + 4 * 3_600, "the window and a little"
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
    begun = run(the("echo").enqueue("x").id).created_at
    rule = services.alert_draft(kind="no_progress", task="echo", threshold=60)
    end = begun.replace(second=0, microsecond=0) + timedelta(minutes=1)
    assert measuring.measure(rule, end).value == 60, "it waits, and there is no worker"


# ── a queue that was paused is not at fault ──────────────────────────────────────────────────────────────────────────

PAUSED = {"paused_at": "2026-01-01T00:00:00+00:00", "paused_until": None}
FLOWS = {"paused_at": None, "paused_until": None}


class This:
    """The minute in which the test began."""

    minute: datetime


@pytest.fixture(autouse=True)
def this_minute() -> None:
    This.minute = timezone.now().replace(second=0, microsecond=0)


def minutes(ago: float) -> datetime:
    return This.minute - timedelta(minutes=ago)


def paused(since: float, until: float, queue: str = "default") -> None:
    """The log says that a queue was paused between so many minutes ago."""
    told = {"actor_kind": "user", "object_type": "queue", "object_id": queue}
    AuditEntry.objects.create(at=minutes(since), action="queues.pause", before=FLOWS, after=PAUSED, **told)
    AuditEntry.objects.create(at=minutes(until), action="queues.resume", before=PAUSED, after=FLOWS, **told)


def started(ago: int, *, after: float, queue: str = "default", name: str = "sums") -> None:
    """A run started so many minutes ago that had waited for so many seconds."""
    Rollup.objects.create(
        minute=minutes(ago),
        kind="delay",
        task=stored.task(name),
        queue=stored.queue(queue),
        worker_id=1,
        bucket=histogram.bucket(after),
        count=1,
        seconds=after,
    )


def values(rule: Alert, back: int = 60) -> dict[int, float | None]:
    """Minutes ago → the value at their end. Where there is none, a look would have said the same, as it does now."""
    end = minutes(0)
    points = measuring.points(rule, end - timedelta(minutes=back), end)
    for point in points:
        if point.value is None or point.at == end:
            assert measuring.measure(rule, point.at).value == point.value
    return {(end - point.at) // measuring.MINUTE: point.value for point in points}


@pytest.mark.parametrize("queue", ["default", ""])
def test_a_head_wait_leaves_the_time_out_in_which_its_queue_was_paused(queue: str) -> None:
    started(19, after=1_800)  # it came before the pause, and began as soon as that was over
    paused(40, 20)
    found = values(services.alert_draft(kind="head_wait", queue=queue, threshold=300))
    before = found[42]
    assert before is not None
    assert 200 <= before <= 700, "it waited, and nobody had paused the queue"
    assert {found[ago] for ago in range(40, 20, -1)} == ({None} if queue else {0}), "other queues flowed"
    assert found[20] == 0, "it is resumed just now"
    assert [found[18], found[5]] == [0, 0]
    assert max(value for ago, value in found.items() if value is not None and ago < 40) <= 60


def test_what_waits_in_another_queue_is_seen_while_one_is_paused() -> None:
    stored.task("other", "mail")
    started(19, after=1_800)
    started(25, after=600, queue="mail", name="other")
    paused(40, 20)
    found = values(services.alert_draft(kind="head_wait", threshold=300))
    waited = found[27]
    assert waited is not None
    assert 300 <= waited <= 600
    assert found[22] == 0


def test_no_progress_begins_to_count_when_a_queue_is_resumed() -> None:
    started(1, after=50 * 60)
    paused(40, 10)
    found = values(services.alert_draft(kind="no_progress", task="sums", threshold=300))
    before = found[41]
    assert before is not None
    assert before > 120
    assert {found[ago] for ago in range(40, 10, -1)} == {None}
    assert [found[10], found[9], found[5]] == [0, 60, 300]


def test_a_rule_does_not_fire_for_a_pause_and_does_when_nothing_is_done_after_it() -> None:
    started(1, after=50 * 60)
    rule = services.alert_draft(kind="head_wait", queue="default", threshold=900)
    end = minutes(0)

    def fired() -> list[int]:
        points = measuring.points(rule, end - timedelta(minutes=60), end)
        spans = rules.spans([(p.at, p.value) for p in points], threshold=rule.threshold, hold=rule.held)
        return [(end - span.since) // measuring.MINUTE for span in spans]

    assert fired(), "nobody had paused it"
    paused(45, 10)
    assert fired() == []
