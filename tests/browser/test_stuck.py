"""A run that does not get on: its page asks where it is, says so by itself when it is stuck, and when it is no more."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_pages_for_everyone import THEMES, still_violates
from tests.support import stored
from tests.support.browsing import Visitor
from tests.support.processes import Fleet
from tests.support.runs import the
from tests.support.waiting import eventually

PATIENCE = 40_000  # milliseconds


@pytest.fixture
def quick(sticking: Fleet) -> Fleet:
    """Before web and scheduler start: what is usual, and little patience."""
    stored.usual("sticks-async", "waits_for")
    sticking.environment["HOLDFAST_STUCK_FLOOR"] = "3"
    return sticking


def seen(page: Page, path: str) -> dict[str, list[str]]:
    """What axe finds in both themes, on a wide and a narrow screen."""
    found = {}
    page.goto(path)
    for theme, width in THEMES:
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        page.set_viewport_size({"width": width, "height": 900})
        found[f"{path} {theme} {width}"] = still_violates(page)
    return {name: said for name, said in found.items() if said}


def test_a_run_that_does_not_get_on_is_seen_where_it_stands(quick: Fleet, visitor: Visitor) -> None:
    quick.worker("kelp")
    run_id = the("sticks-async").enqueue().id
    eventually(lambda: quick.ledger.count("waits", str(run_id)), "it waits")
    page = visitor.page
    page.goto(f"/runs/{run_id}/")
    page.locator("#run-stack").get_by_role("button", name="Look").press("Enter")
    here = page.locator("#run-stack li[aria-current=true]")
    expect(here).to_contain_text("open_gate", timeout=PATIENCE)
    expect(here).to_contain_text("await opened.wait()")
    expect(page.locator("#run-stack form button").first).to_be_focused()
    expect(page.locator("#run-why")).to_contain_text("Nothing new for", timeout=PATIENCE)
    expect(page.locator("#run-why")).to_contain_text("step waits_for usually takes")

    page.goto("/")
    expect(page.locator("#stuck")).to_contain_text("stuck_tasks.py")
    page.locator("#tile-stuck").click()
    expect(page.locator("#list")).to_contain_text("nothing new for")
    page.goto("/queues/")
    page.get_by_role("link", name="kelp").click()
    expect(page.get_by_role("heading", name="In its hands")).to_be_visible()
    worker = page.url.removeprefix(visitor.site.url)
    page.get_by_role("button", name="Where is sticks-async").press("Enter")
    expect(page.locator(".frames li[aria-current=true]")).to_contain_text("open_gate", timeout=PATIENCE)
    expect(page.get_by_role("button", name="Where is sticks-async")).to_be_focused()
    found = {}
    for path in (f"/runs/{run_id}/", worker, "/", "/runs/?q=is:stuck"):
        found |= seen(page, path)
    assert found == {}

    page.goto(f"/runs/{run_id}/")
    quick.ledger.open_gate("go")
    expect(page.locator("#run-status")).to_contain_text("completed", timeout=PATIENCE)
    expect(page.locator("#run-why")).to_have_count(0)
    expect(page.locator("#run-stack")).to_be_hidden()
