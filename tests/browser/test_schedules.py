"""A schedule made, seen, run and paused in the browser."""

from __future__ import annotations

from playwright.sync_api import expect

from runs.models import Run
from runs.schedules.model import Schedule
from tests.browser.test_pages_for_everyone import still_violates
from tests.support.browsing import Visitor


def test_a_schedule_is_made_run_paused_and_edited(visitor: Visitor) -> None:
    page = visitor.page
    page.goto("/")
    page.get_by_role("link", name="Schedules").click()
    expect(page.get_by_text("No schedule yet")).to_be_visible()
    page.get_by_text("New schedule").click()
    page.get_by_label("Name").fill("words")
    page.get_by_label("Task").fill("count-words")
    page.get_by_label("Cron").fill("0 6 1 1")
    page.get_by_label("Payload").fill('{"text": "kelp"}')
    page.get_by_role("button", name="Make it").click()
    expect(page.locator(".field.bad")).to_contain_text("five fields")
    page.get_by_label("Cron").fill("0 6 1 1 *")
    page.get_by_role("button", name="Make it").click()
    page.wait_for_url("**/schedules/words/")
    expect(page.locator(".ticks li")).to_have_count(10)

    page.get_by_role("button", name="Run now").click()
    page.wait_for_url("**/runs/*/")
    assert Run.objects.get().payload == {"text": "kelp"}

    page.goto("/schedules/words/")
    page.locator("summary", has_text="Pause").click()
    page.get_by_label("Reason").first.fill("holidays")
    page.get_by_role("button", name="Pause", exact=True).click()
    expect(page.locator(".page-head")).to_contain_text("holidays")
    page.locator("summary", has_text="Edit").click()
    page.locator("summary", has_text="Begin the runs").click()
    for width, theme in ((1280, "light"), (320, "dark")):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")  # type: ignore[arg-type]
        assert still_violates(page) == []
    page.set_viewport_size({"width": 1280, "height": 900})
    page.get_by_label("Time zone").fill("Europe/Berlin")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Europe/Berlin").first).to_be_visible()
    assert Schedule.objects.get().timezone == "Europe/Berlin"
