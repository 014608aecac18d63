"""The page Now in a browser: a cause is acknowledged, snoozed, and taken back."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.test_pages_for_everyone import THEMES, still_violates
from tests.support import stored
from tests.support.browsing import Visitor
from tests.support.waiting import eventually

RED = re.compile("alert")


def test_a_cause_is_acknowledged_snoozed_and_taken_back(visitor: Visitor) -> None:
    stored.run("queued")
    page = visitor.page
    page.goto("/")
    icon, sentence = page.locator('link[rel="icon"]'), page.locator(".verdict")
    cause = page.locator('[id="cause-no-worker:default"]')
    expect(sentence).to_contain_text("Stalled: 1 run is ready, but no worker is alive for pool default.")
    expect(icon).to_have_attribute("href", RED)
    cause.get_by_text("Acknowledge", exact=True).first.click()
    cause.get_by_text("Command line and HTTP").first.click()
    expect(cause.locator("pre").first).to_have_text("manage.py verdict acknowledge no-worker:default")
    cause.get_by_label("Note").fill("a host is on its way")
    cause.locator("details[open] button", has_text="Acknowledge").click()
    expect(cause).to_contain_text("a host is on its way")
    expect(icon).to_have_attribute("href", RED)
    cause.get_by_text("Snooze", exact=True).first.click()
    cause.locator("details[open] button", has_text="Snooze").click()
    expect(sentence).to_contain_text("1 cause is snoozed")
    expect(icon).not_to_have_attribute("href", RED)
    page.locator("#snoozed > summary").click()
    page.locator("#ruled-out > summary").click()
    expect(page.locator('[data-check="redis"]')).to_contain_text("Redis answers in")
    for theme, width in THEMES:
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        page.set_viewport_size({"width": width, "height": 800})
        assert still_violates(page) == []
    cause.get_by_role("button", name="Take back", exact=True).click()
    expect(sentence).to_contain_text("Stalled")


def test_a_box_stays_in_sight_on_a_narrow_screen(visitor: Visitor) -> None:
    stored.run("queued")
    page = visitor.page
    page.set_viewport_size({"width": 320, "height": 800})
    page.goto("/")
    cause = page.locator('[id="cause-no-worker:default"]')
    box = cause.locator("details[open] > .box")

    def in_sight() -> bool:
        place = box.bounding_box()
        return place is not None and place["x"] >= 0 and place["x"] + place["width"] <= 320

    for name in ("Acknowledge", "Snooze"):
        cause.get_by_text(name, exact=True).first.click()
        eventually(in_sight, f"the box of {name} is in sight")  # moved there by an event after it has opened
