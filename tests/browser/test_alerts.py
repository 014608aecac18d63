"""Alerts in a browser: the form asks for what the kind has, and tries the rule on the last week before it is made."""

from __future__ import annotations

from playwright.sync_api import expect

from holdfast.access.grants import Actor
from runs.alerts import channels
from runs.alerts.model import Alert
from tests.support import stored
from tests.support.browsing import Visitor
from tests.support.waiting import eventually

#: Milliseconds: the drawing script is megabytes, and here it comes twice.
PATIENCE = 30_000


def test_a_rule_is_tried_on_the_last_week_and_made_and_fires(visitor: Visitor) -> None:
    stored.task("invoice")
    for minutes in range(3, 20):
        stored.ended(3, "failed", "invoice", minutes_ago=minutes)
    channels.channel_create("ops", "json", url="https://example.org/hook", actor=Actor.local())
    page = visitor.page
    page.goto("/alerts/?new")
    expect(page.get_by_label("At least runs")).to_be_visible()
    page.get_by_label("Watches").select_option("head_wait")
    expect(page.get_by_label("At least runs")).to_be_hidden()
    expect(page.get_by_label("Task")).to_be_hidden()
    page.get_by_label("Watches").select_option("failure_rate")
    page.get_by_label("Name").fill("invoices-fail")
    page.get_by_label("Task").fill("invoice")
    page.get_by_label("Fires above").fill("much")
    page.get_by_label("At least runs").fill("5")
    page.get_by_role("button", name="What would it have done?").click()
    expect(page.locator("#preview .errorlist")).to_contain_text("write a number", timeout=PATIENCE)
    page.get_by_label("Fires above").fill("10")
    page.get_by_role("button", name="What would it have done?").click()
    expect(page.locator("#preview")).to_contain_text("It would have fired once", timeout=PATIENCE)
    expect(page.locator("#preview .plot svg.main-svg").first).to_be_visible(timeout=PATIENCE)
    assert not Alert.objects.exists()
    page.get_by_label("ops", exact=True).check()
    page.get_by_role("button", name="Make it").click()
    expect(page.get_by_role("heading", name="invoices-fail")).to_be_visible()
    expect(page.locator("#preview .plot svg.main-svg").first).to_be_visible(timeout=PATIENCE)
    eventually(lambda: Alert.objects.get().state == "firing", "the scheduler has looked")
    page.reload()
    page.get_by_text("Acknowledge", exact=True).first.click()
    page.locator("details[open] button", has_text="Acknowledge").click()
    expect(page.get_by_text("known to admin", exact=True)).to_be_visible(timeout=PATIENCE)
