"""Webhooks in the browser: one is made, a signed request comes, its run is looked at and begun again; and one out."""

from __future__ import annotations

import os
import subprocess

from playwright.sync_api import Page, expect

from runs.models import Run
from runs.webhooks.model import Delivery
from tests.browser.test_pages_for_everyone import THEMES, still_violates
from tests.support.browsing import COPIED_STAYS, Visitor
from tests.support.receiver import Receiver
from tests.support.waiting import eventually


def fits(page: Page, name: str) -> None:
    """Whether the page is for everyone, in both themes, wide and narrow."""
    shots = os.environ.get("TESTS_SCREENSHOTS")
    for theme, width in THEMES:
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        assert still_violates(page) == []
        if shots:
            page.screenshot(path=f"{shots}/{name}-{theme}-{width}.png", full_page=True)
    page.set_viewport_size({"width": 1280, "height": 900})


def test_a_webhook_is_made_receives_and_sends_again(visitor: Visitor) -> None:
    page = visitor.page
    visitor.site.fleet.worker("kelp")
    page.goto("/")
    page.get_by_role("link", name="Webhooks").click()
    expect(page.get_by_text("No webhook yet")).to_be_visible()
    page.get_by_text("New webhook").click()
    page.get_by_label("Name").fill("words")
    page.get_by_label("Task").fill("count-words")
    page.get_by_label("Mapping").fill("nope(text)")
    page.get_by_role("button", name="Make it").click()
    expect(page.locator(".field.bad")).to_contain_text("no function of JMESPath")
    fits(page, "in-refused")
    page.get_by_label("Mapping").fill("")
    page.get_by_role("button", name="Make it").click()
    secret = page.locator("#secret pre").inner_text()
    assert secret.startswith("whsec_")
    page.evaluate(COPIED_STAYS)
    page.locator("#secret").get_by_role("button", name="Copy").click()
    expect(page.locator("#secret")).to_contain_text("Copied")
    fits(page, "in-secret")
    page.get_by_role("link", name="I have it").click()
    expect(page.get_by_text("Nothing has come yet")).to_be_visible()
    assert secret not in page.content()

    snippet = page.locator("pre", has_text="webhook-signature").inner_text()
    # What the page shows is pasted into a shell, and asked for the secret there.
    sent = subprocess.run(["/bin/bash", "-c", snippet], input=f"{secret}\n", capture_output=True, text=True, check=True)
    assert '"accepted"' in sent.stdout
    run = Run.objects.get(task_id="count-words")
    eventually(lambda: Run.objects.get(pk=run.pk).status == "completed", "the run has completed")
    page.reload()
    expect(page.locator(".deliveries > li")).to_have_count(1)
    page.locator(".deliveries summary", has_text="try-").click()
    expect(page.locator(".what .tree").first).to_contain_text("text")
    fits(page, "in-delivery")

    page.locator(".deliveries .confirm > summary").click()
    page.locator(".deliveries").get_by_label("Reason").fill("once more")
    page.locator(".deliveries").get_by_role("button", name="Send again").click()
    expect(page.locator(".toast")).to_contain_text("accepted")
    expect(page.locator(".deliveries")).to_contain_text("sent again 1 time")
    assert Delivery.objects.get().run_id != run.pk
    page.locator(".deliveries a").first.click()
    page.wait_for_url("**/runs/*/")

    page.goto("/webhooks/in/words/")
    page.locator("summary", has_text="Edit").click()
    page.locator("summary", has_text="Rotate the secret").click()
    fits(page, "in-open")
    page.get_by_role("button", name="Rotate").click()
    assert page.locator("#secret pre").inner_text() != secret
    page.goto("/webhooks/")
    fits(page, "in-list")
    page.goto("/webhooks/in/words/")
    page.locator("summary", has_text="Delete").click()
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("No webhook yet")).to_be_visible()


def test_an_endpoint_is_made_tried_and_told_again(visitor: Visitor) -> None:
    page = visitor.page
    visitor.site.fleet.worker("kelp")
    with Receiver() as receiver:
        page.goto("/webhooks/")
        page.get_by_role("link", name="Out", exact=True).click()
        expect(page.get_by_text("No endpoint yet")).to_be_visible()
        page.get_by_text("New endpoint").click()
        page.get_by_label("Name").fill("crm")
        page.get_by_label("Address").fill("nowhere")
        page.get_by_label("failed", exact=True).check()
        page.get_by_role("button", name="Make it").click()
        expect(page.locator(".field.bad")).to_contain_text("no address of http")
        fits(page, "out-refused")
        page.get_by_label("Address").fill(receiver.url)
        page.get_by_role("button", name="Make it").click()
        expect(page.locator("#secret pre")).to_contain_text("whsec_")
        page.get_by_role("link", name="I have it").click()
        page.get_by_role("button", name="Send a test").click()
        expect(page.locator(".toast")).to_contain_text("on its way")
        eventually(lambda: Run.objects.filter(status="completed").exists(), "it is taken")
        page.reload()
        expect(page.locator(".deliveries > li")).to_contain_text("answered 204")
        page.locator(".deliveries summary", has_text="What it is told").click()
        fits(page, "out-delivery")
        page.locator(".deliveries .confirm > summary").click()
        page.locator(".deliveries").get_by_role("button", name="Send again").click()
        expect(page.locator(".deliveries > li")).to_have_count(2)
        eventually(lambda: len(receiver.requests) == 2, "it comes again")
    page.goto("/webhooks/out/")
    fits(page, "out-list")
