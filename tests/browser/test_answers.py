"""People answer runs in the browser: with a form, with a No, without an account; and see what a run waits for."""

from __future__ import annotations

import re
import uuid

import pytest
from playwright.sync_api import Browser, Page, expect

from runs import waitlinks
from runs.models import Run, Wait
from runs.sdk.handle import RunHandle
from tests.browser.test_pages_for_everyone import THEMES, Theme, still_violates, violations
from tests.support.browsing import Visitor
from tests.support.processes import Fleet
from tests.support.runs import the
from tests.support.waiting import eventually


@pytest.fixture
def waiting(waits: Fleet, visitor: Visitor) -> Visitor:
    """An admin before an installation with a worker that knows the tasks that wait."""
    visitor.site.fleet.worker("kelp")
    return visitor


def down(handle: RunHandle[object], kind: str) -> Wait:
    """The wait of a run that has been put down."""
    eventually(lambda: Run.objects.get(pk=handle.id).status == "waiting", "the run waits")
    return Wait.objects.get(run_id=handle.id, kind=kind)


def output(run_id: uuid.UUID) -> object:
    eventually(lambda: Run.objects.get(pk=run_id).status == "completed", "the run completes")
    return Run.objects.get(pk=run_id).output


def test_an_approval_is_found_filled_in_and_confirmed(waiting: Visitor) -> None:
    page = waiting.page
    handle = the("asks").enqueue()
    down(handle, "approval")
    page.goto("/approvals/")
    expect(page.locator("#badge-approvals")).to_have_text("1 open")
    page.get_by_role("link", name="Publish?").click()

    # Enter in a field and Control-Enter decide nothing.
    page.get_by_label("title").fill("Kelp")
    page.keyboard.press("Enter")
    page.keyboard.press("Control+Enter")
    page.get_by_label("words").fill("many")
    page.get_by_text("Approve", exact=True).first.click()
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("alert")).to_have_text("Nothing was decided.")
    expect(page.get_by_label("words")).to_be_focused()
    expect(page.get_by_label("title")).to_have_value("Kelp")
    page.get_by_label("words").fill("250")
    page.get_by_label("Comment").fill("well done")
    page.get_by_text("Approve", exact=True).first.click()
    page.get_by_role("button", name="Approve").click()
    page.wait_for_url("**/approvals/")
    expect(page.locator(".toast")).to_contain_text("Publish?: approved.")
    expect(page.locator("#badge-approvals")).to_be_empty()
    assert output(handle.id) == [True, "Kelp", "admin", "well done"]


def test_a_no_goes_to_the_run_from_its_own_page(waiting: Visitor) -> None:
    page = waiting.page
    handle = the("asks").enqueue()
    page.goto(f"/runs/{handle.id}/")
    page.get_by_role("link", name="Approve or reject").click()  # appears when the run has been put down
    page.get_by_text("Reject", exact=True).first.click()
    page.get_by_role("button", name="Reject").click()
    page.wait_for_url("**/approvals/")
    assert output(handle.id) == [False, None, "admin", ""]


def test_a_signal_is_sent_and_the_wait_becomes_a_bar(waiting: Visitor) -> None:
    page = waiting.page
    handle = the("listens").enqueue()
    page.goto(f"/runs/{handle.id}/")
    waits = page.locator("#run-waits")
    waits.get_by_text("Send", exact=True).click()
    expect(page.locator(".waterfall [data-status=waiting]", has_text="waits for signal 'news'")).to_be_visible()
    waits.get_by_label("Value").fill("7")
    waits.get_by_role("button", name="Send the signal").click()
    expect(page.locator("#run-status")).to_contain_text("completed")
    row = page.locator(".waterfall li[data-status=waiting]", has_text="signal:news")
    expect(row.locator("rect.wait")).to_have_count(1)
    expect(waits.locator("table")).to_have_count(0)
    assert output(handle.id) == [7]


def test_children_appear_on_the_page_of_their_parent_and_a_cancel_takes_them_along(waiting: Visitor) -> None:
    page = waiting.page
    handle = the("parent-of-waiters").enqueue()
    page.goto(f"/runs/{handle.id}/")
    children = page.locator("#run-children")
    expect(children).to_contain_text("2 waiting")
    expect(page.locator("#run-status")).to_contain_text("waiting")  # what it can be asked for changes no more
    page.get_by_text("Cancel", exact=True).first.click()
    page.get_by_role("button", name="Cancel the run").click()
    expect(page.locator("#run-status")).to_contain_text("cancelled")
    expect(children).to_contain_text("2 cancelled")
    children.get_by_role("link", name="All 2").click()
    expect(page.locator("tr[data-run]")).to_have_count(2)


def test_a_run_is_replayed_with_an_edited_payload(waiting: Visitor) -> None:
    page = waiting.page
    handle = the("adds").enqueue(a=1, b=2)
    assert output(handle.id) == 3
    page.goto(f"/runs/{handle.id}/")
    page.get_by_text("Replay", exact=True).first.click()
    page.get_by_role("link", name="Edit first").click()
    expect(page.get_by_label("a", exact=True)).to_have_value("1")
    page.get_by_label("a", exact=True).fill("40")
    page.get_by_role("button", name="Start the replay").click()
    page.wait_for_url(re.compile(r"/runs/[0-9a-f-]{36}/$"))
    expect(page.locator("#run-summary")).to_contain_text("Replay of")
    assert output(Run.objects.exclude(pk=handle.id).get().id) == 42


def signed_page(browser: Browser, waiting: Visitor, wait: Wait, theme: Theme, width: int) -> Page:
    context = browser.new_context(
        base_url=waiting.site.url, color_scheme=theme, viewport={"width": width, "height": 800}
    )
    page = context.new_page()
    assert violations(page, f"/waits/{waitlinks.sign(wait.pk)}/") == []
    return page


@pytest.mark.parametrize(("theme", "width"), THEMES)
def test_somebody_without_an_account_answers_by_the_signed_page(
    browser: Browser, waiting: Visitor, theme: Theme, width: int
) -> None:
    handle = the("asks").enqueue()
    page = signed_page(browser, waiting, down(handle, "approval"), theme, width)
    page.get_by_text("Approve", exact=True).first.click()
    assert still_violates(page) == []
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_text("is missing")).to_be_visible()
    assert still_violates(page) == []
    page.get_by_label("title").fill("Kelp")
    page.get_by_text("Approve", exact=True).first.click()
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_text("Approved by signed link")).to_be_visible()
    assert still_violates(page) == []
    assert output(handle.id) == [True, "Kelp", "signed link", ""]
    page.context.close()


@pytest.mark.parametrize(("theme", "width"), THEMES)
def test_axe_finds_nothing_on_the_pages_of_answers(waiting: Visitor, theme: Theme, width: int) -> None:
    page = waiting.page
    page.emulate_media(color_scheme=theme, reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 800})
    asked = down(the("asks").enqueue(timeout=3600, default="reject", assignee="ada"), "approval")
    listening = down(the("listens").enqueue(), "signal")
    parent = the("parent-of-waiters").enqueue()
    eventually(lambda: Run.objects.filter(parent_id=parent.id, status="waiting").count() == 2, "children wait")
    found = {
        path: violations(page, path)
        for path in ("/approvals/", f"/waits/{asked.pk}/", f"/runs/{asked.run_id}/", f"/runs/{parent.id}/")
    }
    found["send"] = violations(page, f"/runs/{listening.run_id}/")
    page.locator("#run-waits").get_by_text("Send", exact=True).click()
    found["send open"] = still_violates(page)
    assert {path: said for path, said in found.items() if said} == {}
