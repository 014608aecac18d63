"""Sums of rollups: the scheduler makes them, and nobody who reads can tell them from the minutes."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.models import Sum
from django.utils import timezone

from holdfast import db
from runs import coarse, dashboard, store
from runs.alerts import measuring
from runs.alerts import services as alerts
from runs.charts import Window
from runs.explore import selectors
from runs.explore.asked import Asked
from runs.models import CoarseMark, CoarseRollup, MinuteSum, Rollup, RollupKind
from tests.support import stored

pytestmark = pytest.mark.django_db(transaction=True)


def summed(age: float = 120.0) -> int:
    """As the scheduler does it, on a connection such as it has; how many bins there were."""
    total = 0
    with db.connect("test") as conn:
        while found := store.sum_rollups(conn, age=age):
            total += found
    return total


def a_week() -> tuple[Window, Window]:
    """A history, as Explore looks at a week and at a day of it."""
    call_command("seed", "--small", verbosity=0)
    now = timezone.now()
    return Asked(span="7d").window(now), Asked(span="24h").window(now)


def looks(*windows: Window) -> list[Any]:
    """What Explore and the charts read."""
    found: list[Any] = []
    for window in windows:
        for kind in (RollupKind.RUN, RollupKind.DELAY):
            cells = selectors.cells(Asked(), window, kind)
            found.append(sorted((c.minute, c.status, c.bucket, c.count) for c in cells))
        for by in ("task", "queue", "version", "worker"):
            found.append(selectors.groups(Asked(by=by), window))
        found.append(selectors.cells(Asked(task="seeded-invoice"), window))
        found[-1].sort(key=lambda cell: (cell.minute, cell.status, cell.bucket))
        cells = dashboard.duration_cells(window.start, window.end)
        found.append(sorted((c.status, c.bucket, c.count) for c in cells))
    return found


def test_what_is_read_is_the_same_before_and_after_the_minutes_have_been_summed() -> None:
    windows = a_week()
    before = looks(*windows)
    assert summed() > 24 * 7
    assert CoarseRollup.objects.filter(size=60, kind="run").exists()
    assert looks(*windows) == before
    for size in coarse.SIZES:
        rows = CoarseRollup.objects.filter(size=size).values("kind").annotate(total=Sum("count")).order_by("kind")
        mark = CoarseMark.objects.get(size=size).until
        minutes = Rollup.objects.filter(minute__lt=mark, kind__in=("run", "delay"))
        assert list(rows) == list(minutes.values("kind").annotate(total=Sum("count")).order_by("kind"))


#: Rules of the kinds that look at minutes, over all tasks, one task and one queue.
RULES: list[dict[str, Any]] = [
    {"kind": "failure_rate", "threshold": 5, "window": 300, "min_runs": 1},
    {"kind": "failure_rate", "threshold": 5, "window": 3_600, "min_runs": 1, "task": "seeded-invoice"},
    {"kind": "head_wait", "threshold": 60},
    {"kind": "head_wait", "threshold": 60, "queue": "seeded-sync"},
    {"kind": "no_progress", "threshold": 1_800, "queue": "seeded-llm"},
]


def watched(window: Window) -> list[Any]:
    """What alerts would have measured."""
    start, end = (at.replace(second=0, microsecond=0) for at in (window.start, window.end))
    return [
        [point.value for point in measuring.points(alerts.alert_draft(**rule), start, end)][:-2]  # the rest goes on
        for rule in RULES
    ]


def test_what_alerts_measure_is_the_same_before_and_after_the_minutes_have_been_summed() -> None:
    week, _ = a_week()
    before = watched(week)
    summed()
    assert MinuteSum.objects.filter(kind="attempt").exists()
    assert watched(week) == before
    until = CoarseMark.objects.get(size=coarse.SIZES[0]).until
    minutes = Rollup.objects.filter(minute__lt=until, kind__in=("run", "attempt", "delay"))
    totals = MinuteSum.objects.values("kind").annotate(total=Sum("count")).order_by("kind")
    assert list(totals) == list(minutes.values("kind").annotate(total=Sum("count")).order_by("kind"))
    minutes.delete()
    assert watched(week) == before, "what is summed is not read from the rollups"
    assert [any(values) for values in before] == [True] * len(RULES)


def test_sums_are_what_is_read_where_there_are_some() -> None:
    week, _ = a_week()
    summed()
    Rollup.objects.filter(minute__lt=CoarseMark.objects.get(size=60).until).delete()
    assert sum(cell.count for cell in selectors.cells(Asked(), week)) > 1_500


def test_a_bin_is_summed_once_it_is_over_and_has_been_for_a_while() -> None:
    stored.task()
    stored.ended(3, minutes_ago=40)
    assert summed(age=86_400.0) == 0
    assert not CoarseRollup.objects.exists()
    assert summed(age=0.0) >= 1
    assert summed(age=0.0) == 0
    assert [(one.size, one.count) for one in CoarseRollup.objects.filter(size=15)] == [(15, 3)]


def test_only_one_scheduler_sums_a_size_at_a_time() -> None:
    stored.task()
    stored.ended(3, minutes_ago=400)
    with db.connect("one") as one, db.connect("another") as another:
        store.sum_rollups(one, age=1e9)
        with one.transaction():
            one.execute("SELECT 1 FROM runs_coarsemark FOR UPDATE")
            assert store.sum_rollups(another, age=0.0) == 0
        assert store.sum_rollups(another, age=0.0) >= 2


def test_a_history_that_is_seeded_later_is_in_the_sums_as_well_and_leaves_them_again() -> None:
    stored.task()
    stored.ended(3, minutes_ago=60)
    summed(age=0.0)
    call_command("seed", "--small", "--add", verbosity=0)
    summed(age=0.0)
    assert CoarseRollup.objects.filter(task_id="seeded-invoice", size=60).exists()
    assert CoarseRollup.objects.filter(task_id="sums", size=15).get().count == 3
    assert MinuteSum.objects.filter(task_id="seeded-invoice").exists()
    assert MinuteSum.objects.filter(task_id="sums").aggregate(total=Sum("count"))["total"] == 3
    call_command("seed", "--remove", verbosity=0)
    assert set(CoarseRollup.objects.values_list("task_id", flat=True)) == {"sums"}
    assert set(MinuteSum.objects.values_list("task_id", flat=True)) == {"sums"}


def test_a_look_at_a_week_reads_ranges_of_indexes_alone() -> None:
    a_week()
    summed()
    Rollup.objects.filter(minute__lt=timezone.now() - timedelta(days=30)).delete()
    now: datetime = timezone.now()
    window = Asked(span="7d").window(now)
    wanted = coarse.over(window.start, window.end, minutes=window.minutes)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE runs_rollup, runs_coarserollup")
    with db.callers() as conn:
        asked = {"minutes": window.minutes, "kind": "run", "task": None, "queue": None, "version": None, "worker": None}
        rows = conn.execute(f"EXPLAIN {store.SQL.explore_cells}", {**wanted, **asked}).fetchall()
    plan = "\n".join(row[0] for row in rows)
    assert "coarse_rollup_unique" in plan
    assert "Seq Scan on runs_rollup" not in plan
