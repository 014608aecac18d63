"""The example of `platform/docs/schedules.md` does what the text says, and so do its commands."""

from __future__ import annotations

import io
import json
from collections.abc import Callable

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from runs.models import Run
from runs.schedules import services
from runs.schedules.model import Schedule
from tests.support.processes import Fleet
from tests.support.waiting import eventually


@pytest.fixture
def pages(documented: Callable[[str], Fleet]) -> Fleet:
    """The page's schedules have their rows."""
    fleet = documented("schedules.md")
    services.declare_all()
    return fleet


def said(*words: str) -> str:
    out = io.StringIO()
    call_command("schedules", *words, stdout=out)
    return out.getvalue()


def test_the_schedules_of_the_page_begin_runs(pages: Fleet) -> None:
    pages.worker("worker-1")
    pages.scheduler()
    found = eventually(
        lambda: Run.objects.filter(tags__contains=["schedule:docs-heartbeat"], status="completed").first(),
        "a tick has begun a run",
        timeout=90,
    )
    assert found.output == "report of health"
    assert found.tags[1].startswith("tick:")
    assert set(Schedule.objects.values_list("name", flat=True)) == {"docs-daily-report", "docs-heartbeat"}


def test_the_commands_of_the_page(pages: Fleet) -> None:
    assert "0 6 * * 1-5 Europe/Berlin" in said("list")
    assert said("show", "docs-daily-report").count("next   ") == 10
    assert "is changed" in said("set", "docs-daily-report", "--cron", "0 7 * * 1-5", "--reason", "too early")
    assert "0 7 * * 1-5 Europe/Berlin*" in said("list")
    assert json.loads(said("set", "docs-daily-report", "--as-declared", "--json"))["edited"] == []
    assert "resume docs-daily-report" in said("pause", "docs-daily-report", "--reason", "holidays")
    assert "paused by" in said("list")
    assert "goes on" in said("resume", "docs-daily-report")
    assert "is begun" in said("run", "docs-daily-report")
    assert "next tick" in said("create", "weekly", "docs-report", "--cron", "0 8 * * 1", "--payload", '{"of": "costs"}')
    assert "is deleted" in said("delete", "weekly")
    for wrong in (["show", "docs-dayly-report"], ["set", "docs-heartbeat", "--every", "0"], ["set", "docs-heartbeat"]):
        with pytest.raises(CommandError):
            said(*wrong)
