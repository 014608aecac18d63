"""/explore."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.core.management import call_command
from django.utils import timezone

from holdfast.access.models import AuditEntry
from holdfast.demo.history.incidents import before
from runs.models import Rollup
from tests.support import stored


def test_the_api_tells_the_numbers_of_the_charts(api: Any) -> None:
    stored.ended(9, seconds=2)
    stored.ended(1, "failed", seconds=20)
    stored.ended(4, "cancelled")
    Rollup.objects.update(minute=Rollup.objects.earliest("minute").minute)  # although one may have passed in between
    found = api.get("/explore?span=1h&by=queue").json()
    assert found["bin_minutes"] == 1
    assert (found["total"]["ended"], found["total"]["failed"]) == (10, 1)
    assert 1.6 < found["total"]["p50"] < 2.4
    [full] = [one for one in found["bins"] if one["ended"]]
    assert (full["ended"], full["failed"], full["cancelled"], full["wait_p50"]) == (10, 1, 4, None)
    assert sum(count for _, _, count in found["histogram"]) == 10
    assert [group["name"] for group in found["groups"]] == ["default"]
    assert (found["groups_total"], found["sampled"], found["queues"]) == (1, 0, [])
    assert api.get("/explore?span=1h&task=nobody").json()["total"]["ended"] == 0


def test_queues_are_told_as_they_were_sampled(api: Any) -> None:
    of = stored.queue("llm", concurrency_limit=8)
    minute = timezone.now().replace(second=0, microsecond=0) - timedelta(minutes=3)
    of.samples.create(minute=minute, depth=12, running=8, concurrency_limit=8, paused=False)
    [one] = api.get("/explore?span=1h").json()["queues"]
    assert datetime.fromisoformat(one.pop("start")) == minute
    assert one == {"queue": "llm", "depth": 12, "running": 8, "concurrency_limit": 8, "paused": False}


def test_differences_are_told_with_the_search_for_their_runs(api: Any) -> None:
    call_command("seed", "--small", verbosity=0)
    after = AuditEntry.objects.get(action="demo.seed").after
    assert after is not None
    bad = before(after["end"]).bad_deploy
    start, end = (datetime.fromtimestamp(at, UTC) for at in (bad.start, bad.end))
    day = timedelta(hours=12)
    times = {"from": start - day, "to": end + day, "since": start, "until": end}
    asked = urlencode({name: f"{at:%Y-%m-%dT%H:%M:%SZ}" for name, at in times.items()})
    found = api.get(f"/explore/differences?{asked}&task={bad.tasks[0]}").json()
    first = found["items"][0]
    assert (first["field"], first["value"]) == ("version", bad.version)
    assert first["difference"] == pytest.approx(first["box_share"] - first["others_share"])
    assert first["box_runs"] <= found["box"]["sampled"] <= found["box"]["runs"]
    listed = api.get("/runs?" + urlencode({"q": first["search"], "limit": 200})).json()
    assert len(listed["items"]) == min(first["box_runs"], 200)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("explore?span=1y", "span"),
        ("explore?spam=1h", "spam"),
        ("explore?task=%00", "task"),
        ("explore?from=2026-01-01", "to"),
        ("explore/differences", "since"),
        ("explore/differences?over=99999999999999999999w", "over"),
    ],
)
def test_what_does_not_fit_is_named(api: Any, query: str, field: str) -> None:
    answer = api.get(f"/{query}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field
