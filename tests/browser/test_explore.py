"""Explore in the browser: a point leads to its runs, and a box that is dragged to what they have in common."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core.management import call_command
from playwright.sync_api import Locator, Page, expect

from holdfast.access.models import AuditEntry
from holdfast.demo.history.incidents import Incidents, before
from tests.browser.test_pages_for_everyone import THEMES, still_violates
from tests.support.browsing import Visitor

#: Milliseconds in which a chart is drawn: Plotly is large, and the machine may be busy.
DRAWN = 30_000


def history() -> Incidents:
    call_command("seed", "--small", verbosity=0)
    after = AuditEntry.objects.get(action="demo.seed").after
    assert after is not None
    return before(after["end"])


def around(incidents: Incidents) -> str:
    """The day of the bad deploy, and its task."""
    bad = incidents.bad_deploy
    start, end = (datetime.fromtimestamp(at, UTC) for at in (bad.start - 6 * 3600, bad.end + 6 * 3600))
    return f"/explore/?from={start:%Y-%m-%dT%H:%M}&to={end:%Y-%m-%dT%H:%M}&task={bad.tasks[0]}"


def plot(page: Page, name: str) -> Locator:
    """A chart that is drawn and lies in sight."""
    chart = page.locator(f"[data-chart*='/{name}.json']")
    chart.scroll_into_view_if_needed()
    expect(chart).to_have_attribute("data-wired", "1", timeout=DRAWN)
    expect(chart.locator(".nsewdrag")).to_be_visible()
    return chart


def test_a_point_leads_to_its_runs(visitor: Visitor) -> None:
    incidents, page = history(), visitor.page
    page.goto(around(incidents))
    chart = plot(page, "throughput")
    # The middle of the highest green bar, as Plotly has drawn it.
    bars = chart.locator(".bars .points").first.locator("path")
    boxes = [box for bar in bars.all() if (box := bar.bounding_box()) is not None]
    high = max(boxes, key=lambda box: box["height"])
    page.mouse.move(high["x"] + high["width"] / 2, high["y"] + high["height"] / 2)
    expect(chart.locator(".hoverlayer .hovertext")).to_be_visible()
    page.mouse.click(high["x"] + high["width"] / 2, high["y"] + high["height"] / 2)
    page.wait_for_url("**/runs/?q=*")
    [search] = parse_qs(urlsplit(page.url).query)["q"]
    assert search.startswith(f"task:{incidents.bad_deploy.tasks[0]} status:completed finished:>=")
    expect(page.locator("tr[data-run]").first).to_contain_text(incidents.bad_deploy.tasks[0])


@pytest.mark.parametrize(("theme", "width"), THEMES)
def test_a_box_that_is_dragged_shows_what_its_runs_have_more_often(visitor: Visitor, theme: str, width: int) -> None:
    incidents, page = history(), visitor.page
    page.emulate_media(color_scheme="light" if theme == "light" else "dark", reduced_motion="reduce")
    page.goto(around(incidents))
    area = plot(page, "heatmap").locator(".nsewdrag").bounding_box()
    assert area is not None
    # The deploy is from the second to the fourth sixth of the time.
    left, right = (area["x"] + area["width"] * part for part in (6 / 18 + 0.01, 12 / 18 - 0.01))
    page.mouse.move(left, area["y"] + 2)
    page.mouse.down()
    page.mouse.move((left + right) / 2, area["y"] + area["height"] / 2, steps=4)
    page.mouse.move(right, area["y"] + area["height"] - 2, steps=4)
    page.mouse.up()
    page.wait_for_url("**since=*")
    first = page.locator(".differences tbody tr").first
    expect(first).to_contain_text(incidents.bad_deploy.version)
    asked = {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}
    start = datetime.fromtimestamp(incidents.bad_deploy.start, UTC)
    assert abs(datetime.fromisoformat(asked["since"]).replace(tzinfo=UTC) - start) <= timedelta(minutes=31)
    page.set_viewport_size({"width": width, "height": 900})
    assert still_violates(page) == []
    first.get_by_role("link").click()
    expect(page.locator("tr[data-run]").first).to_contain_text(incidents.bad_deploy.tasks[0])


def test_without_a_pointer_the_same_is_asked_by_a_form(visitor: Visitor) -> None:
    incidents, page = history(), visitor.page
    page.goto(around(incidents))
    start, end = (datetime.fromtimestamp(at, UTC) for at in (incidents.bad_deploy.start, incidents.bad_deploy.end))
    page.get_by_label("Ended since (UTC)").fill(f"{start:%Y-%m-%dT%H:%M}")
    page.get_by_label("Ended before (UTC)").fill(f"{end:%Y-%m-%dT%H:%M}")
    page.get_by_label("Took at least").fill("1ms")
    page.get_by_label("Took at least").press("Enter")
    page.wait_for_url("**since=*")
    expect(page.locator(".differences tbody tr").first).to_contain_text(incidents.bad_deploy.version)
    page.get_by_label("Took less than").fill("soon")
    page.get_by_label("Took less than").press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("what is wrong is said at its sides")
    expect(page.get_by_text("write a duration like")).to_be_visible()
    expect(page.get_by_label("Took less than")).to_have_value("soon")
