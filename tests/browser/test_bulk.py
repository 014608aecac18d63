"""Bulk actions in the browser: rows are selected, the question is answered, and the job is watched to its end."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from runs.bulk.model import BulkItem, BulkJob
from tests.browser.test_webhooks import fits
from tests.support import stored
from tests.support.browsing import Visitor


@pytest.fixture
def failed(visitor: Visitor) -> list[str]:
    """Five runs that failed, the oldest first."""
    return [str(stored.run("failed", "echo", age=600 - n, error=stored.error()).id) for n in range(5)]


def boxes(page: Page) -> list[bool]:
    return [box.is_checked() for box in page.locator(".pick input[name=id]").all()]


def test_rows_are_selected_with_shift_confirmed_and_watched_to_the_end(visitor: Visitor, failed: list[str]) -> None:
    page = visitor.page
    page.goto("/runs/?q=status:failed")
    rows = page.locator(".pick input[name=id]")
    expect(page.locator("#bulk-bar")).to_be_hidden()
    rows.nth(1).click()
    expect(page.locator("[data-picked]")).to_have_text("1 selected")
    rows.nth(3).click(modifiers=["Shift"])
    expect(page.locator("[data-picked]")).to_have_text("3 selected")
    assert boxes(page) == [False, True, True, True, False]
    expect(page.get_by_role("button", name="Take all 5 runs that fit")).to_be_visible()

    # The list stands still: what it asks for meanwhile is not shown before the rows are let go.
    page.evaluate("document.getElementById('list').dataset.mark = 'old'")
    with page.expect_response("**/runs/?q=*shown=*"):
        page.evaluate("document.body.dispatchEvent(new CustomEvent('holdfast:changed'))")
    expect(page.locator("#list[data-mark=old]")).to_be_visible()
    assert boxes(page) == [False, True, True, True, False]

    page.get_by_role("button", name="Retry …").click()
    expect(page.get_by_role("heading", name="Retry 3 runs?")).to_be_visible()
    fits(page, "bulk-question")
    page.get_by_role("button", name="Leave them").click()
    expect(page.get_by_role("heading", name="Retry 3 runs?")).to_be_hidden()
    page.get_by_role("button", name="Retry …").click()
    expect(page.locator("[data-question]")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("heading", name="Retry 3 runs?")).to_be_hidden()
    expect(page.get_by_role("button", name="Retry …")).to_be_focused()
    page.get_by_role("button", name="Retry …").click()
    page.get_by_label("Reason").fill("the supplier is back")
    page.get_by_role("button", name="Retry 3 runs", exact=True).click()
    expect(page.get_by_role("heading", name="Retry of 3 runs")).to_be_visible()
    expect(page.locator("#bulk-status")).to_contain_text("queued")
    fits(page, "bulk-job")
    visitor.site.fleet.worker("kelp")
    expect(page.locator("#bulk-status")).to_contain_text("completed", timeout=30_000)
    expect(page.get_by_text("3 of 3 runs")).to_be_visible()
    expect(page.get_by_role("button", name="Abort")).to_have_count(0)
    job = BulkJob.objects.get()
    found = list(BulkItem.objects.filter(job=job).order_by("position").values_list("run_id", flat=True))
    assert [str(run_id) for run_id in found] == failed[1:4]
    assert job.reason == "the supplier is back"


def test_the_list_goes_on_once_no_row_is_selected(visitor: Visitor, failed: list[str]) -> None:
    page = visitor.page
    page.goto("/runs/?q=status:failed")
    page.get_by_label("Select all runs of this page").check()
    expect(page.locator("[data-picked]")).to_have_text("5 selected")
    page.evaluate("document.getElementById('list').dataset.mark = 'old'")
    with page.expect_response("**/runs/?q=*shown=*"):
        page.evaluate("document.body.dispatchEvent(new CustomEvent('holdfast:changed'))")
    page.get_by_role("button", name="Select none").click()
    expect(page.locator("#bulk-bar")).to_be_hidden()
    expect(page.locator("#list:not([data-mark])")).to_be_visible()
    assert boxes(page) == [False] * 5


def test_all_that_fit_are_taken_with_the_keyboard_and_the_job_is_aborted(visitor: Visitor, failed: list[str]) -> None:
    page = visitor.page
    page.goto("/runs/?q=task:echo")
    first, third = page.locator(".pick input[name=id]").nth(0), page.locator(".pick input[name=id]").nth(2)
    first.focus()
    page.keyboard.press("Space")
    third.focus()
    page.keyboard.press("Shift+Space")
    expect(page.locator("[data-picked]")).to_have_text("3 selected")
    page.get_by_role("button", name="Take all 5 runs that fit").click()
    expect(page.locator("[data-picked]")).to_have_text("All 5 runs that fit")
    page.get_by_role("button", name="Replay …").click()
    expect(page.locator("[data-question]")).to_be_focused()
    expect(page.locator("[data-question]")).to_contain_text("task:echo status:completed,failed")
    page.get_by_role("button", name="Replay 5 runs", exact=True).click()
    expect(page.get_by_role("heading", name="Replay of 5 runs")).to_be_visible()
    page.locator("summary", has_text="Abort").click()
    page.get_by_label("Reason").fill("wrong ones")
    page.get_by_role("button", name="Abort the job").click()
    expect(page.get_by_text("0 of 5 runs were replayed; 5 were left as they were.")).to_be_visible()
    page.get_by_role("link", name="Bulk jobs").first.click()
    expect(page.get_by_role("link", name="Replay of 5 runs")).to_be_visible()
    fits(page, "bulk-jobs")


def test_without_scripts_the_bar_leads_to_the_question(visitor: Visitor, failed: list[str]) -> None:
    context = visitor.context.browser
    assert context is not None
    plain = context.new_context(
        base_url=visitor.site.url, java_script_enabled=False, storage_state=visitor.context.storage_state()
    )
    page = plain.new_page()
    page.goto("/runs/?q=status:failed")
    page.locator(".pick input[name=id]").nth(0).check()
    page.get_by_role("button", name="Cancel …").click()
    expect(page.get_by_role("heading", name="Cancel 1 run?")).to_be_visible()
    expect(page.get_by_text("1 of them cannot be cancelled now")).to_be_visible()
    page.get_by_role("button", name="Cancel 1 run", exact=True).click()
    expect(page.get_by_role("heading", name="Cancellation of 1 run")).to_be_visible()
    plain.close()
