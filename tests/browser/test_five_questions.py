"""The five questions of an operator, each answered within two clicks of the front page, over seeded incidents."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from holdfast.access.models import AuditEntry
from holdfast.demo.history.incidents import Incidents, before
from runs.stuck.model import Stuck
from tests.browser.test_retries import retrying
from tests.support import stored
from tests.support.browsing import Visitor
from tests.support.processes import Fleet
from tests.support.runs import the
from tests.support.waiting import eventually

PATIENCE = 40_000  # milliseconds: what is live comes by itself


@pytest.fixture
def seeded(sticking: Fleet) -> Incidents:
    """Before web and scheduler start: weeks of history, and what is usual for a step that will not come to its end."""
    sticking.environment |= {"HOLDFAST_DEMO": "1", "HOLDFAST_STUCK_FLOOR": "3"}
    assert sticking.start("seed", "seed", "--small").wait(timeout=300) == 0
    stored.usual("sticks-async", "waits_for")
    about = AuditEntry.objects.get(action="demo.seed").after
    assert about is not None
    return before(about["end"])


class Clicks:
    """Counts them: from the front page, never more than two."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.left = 2
        page.goto("/")

    def on(self, selector: str, **has: str) -> None:
        assert self.left, "a third click"
        self.left -= 1
        self.page.locator(selector, **has).first.click()


def test_each_question_is_answered_within_two_clicks(seeded: Incidents, sticking: Fleet, visitor: Visitor) -> None:
    page = visitor.page
    sticking.worker("kelp")
    held = the("sticks-async").enqueue()
    burning = retrying(*["no route to shop.example"] * 3)
    eventually(lambda: sticking.ledger.count("waits", str(held.id)), "it is in its step")

    # What is running now?
    asked = Clicks(page)
    asked.on("a.tile", has_text="Running")
    expect(page.locator("table.runs tbody tr")).to_have_count(1)
    expect(page.locator(f"#run-{held.id}")).to_have_text("sticks-async")

    # What is stuck, and why?
    eventually(lambda: Stuck.objects.filter(pk=held.id).exists(), "it is found stuck")
    asked = Clicks(page)
    expect(page.locator("#stuck")).to_contain_text("stuck_tasks.py", timeout=PATIENCE)  # the line at which it stands
    asked.on("#tile-stuck")
    expect(page.locator("#list")).to_contain_text("nothing new for")
    asked.on(f"#run-{held.id}")
    expect(page.locator("#run-why")).to_contain_text("step waits_for usually takes")

    # Which step fails?
    asked = Clicks(page)
    asked.on("nav a", has_text="Errors")
    deploy = page.locator("main table tbody tr", has_text=seeded.bad_deploy.tasks[0])
    expect(deploy.first).to_contain_text("in render")

    # Are retries making progress, or burning money?
    asked = Clicks(page)
    asked.on("a.tile", has_text="Retrying")
    row = page.locator(".retries tbody tr", has_text=burning.task_id)
    expect(row).to_contain_text("burning")

    # What changed?
    asked = Clicks(page)
    asked.on("nav a", has_text="Changes")
    asked.on("main a", has_text="last 21d")
    expect(page.locator("main table")).to_contain_text(seeded.bad_deploy.tasks[0])

    sticking.ledger.open_gate("go")
    assert held.result(timeout=60) is not None
