"""Runs that retry, put off and stopped in the browser."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone
from playwright.sync_api import Route, expect

from holdfast.access.models import AuditEntry
from queues.models import Timer
from runs.bulk.model import BulkJob
from runs.models import Run
from tests.browser.test_pages_for_everyone import still_violates
from tests.support import stored
from tests.support.browsing import Visitor


def retrying(*messages: str, steps: int = 2) -> Run:
    """A run whose attempts have ended with these messages, and that tries again in an hour."""
    due = timezone.now() + timedelta(hours=1)
    of = stored.run(
        "retrying", "count-words", attempt=len(messages), failures=len(messages), max_attempts=9, next_at=due,
        error=stored.error(messages[-1]),
    )  # fmt: skip
    for number, message in enumerate(messages, 1):
        stored.attempt(of, number, "failed", error=stored.error(message))
    stored.snapshots(of, 1, steps)
    Timer.objects.create(entry_id=of.id, queue=of.queue, lane=0, due_at=due)
    return of


def test_a_run_that_burns_is_found_put_off_and_another_is_stopped(visitor: Visitor) -> None:
    page = visitor.page
    retrying("the gateway of a supplier with a very long name does not answer")
    burning = retrying(*["no route to shop.example"] * 3)
    page.goto("/")
    page.locator("a.tile", has_text="Retrying").click()
    page.wait_for_url("**/retries/?verdict=burning")
    expect(page.locator(".retries tbody tr")).to_have_count(1)
    page.locator("nav.tabs a", has_text="All").click()
    expect(page.locator(".retries tbody tr")).to_have_count(2)
    for width, theme in ((1280, "light"), (320, "dark")):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")  # type: ignore[arg-type]
        assert still_violates(page) == []
    page.set_viewport_size({"width": 1280, "height": 900})

    row = page.locator(".retries tbody tr", has_text="burning")
    row.locator("summary", has_text="Later").click()
    row.get_by_label("Next attempt in").select_option("86400")
    row.get_by_label("Reason").first.fill("they are down")
    row.get_by_role("button", name="Try later").click()
    expect(page.locator(".toast")).to_contain_text("The next attempt begins")
    assert Run.objects.get(pk=burning.id).next_at > timezone.now() + timedelta(hours=20)
    assert AuditEntry.objects.get(action="runs.postpone").reason == "they are down"

    row = page.locator(".retries tbody tr", has_text="too early to say")
    row.locator("summary", has_text="Stop").click()
    row.get_by_role("button", name="Stop the run").click()
    expect(page.locator(".retries tbody tr")).to_have_count(1)
    page.locator(".retries tbody a").first.click()
    page.get_by_role("button", name="Try now").click()
    expect(page.locator(".toast")).to_contain_text("as soon as there is a slot")


def test_all_that_burn_on_one_error_are_put_off_after_a_question_in_place(visitor: Visitor) -> None:
    page = visitor.page
    for _ in range(3):
        retrying(*["no route to shop.example"] * 3)
    page.goto("/retries/")
    later = page.get_by_role("link", name="All with ConnectionError later …")
    later.click()
    question = page.get_by_role("region", name="Postpone 3 runs?")
    expect(question).to_be_focused()
    for width, theme in ((1280, "light"), (320, "dark")):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")  # type: ignore[arg-type]
        assert still_violates(page) == []
    page.set_viewport_size({"width": 1280, "height": 900})
    page.keyboard.press("Escape")
    expect(question).to_have_count(0)
    expect(later).to_be_focused()
    later.click()
    question.get_by_role("button", name="Leave them").click()
    expect(question).to_have_count(0)
    expect(later).to_be_focused()

    # The list is told of a change while the answer is under way: what was asked for is not lost with it.
    asked: list[Route] = []
    page.route("**/bulk/**", lambda route: asked.append(route))
    with page.expect_request("**/bulk/**"):
        later.click()
    with page.expect_response("**/retries/"):
        page.evaluate("document.body.dispatchEvent(new CustomEvent('holdfast:changed'))")
    asked[0].continue_()
    page.unroute("**/bulk/**")
    question.get_by_role("button", name="Leave them").click()

    page.get_by_role("link", name="Redrive what ConnectionError has ended …").click()
    expect(page.get_by_role("heading", name="No run fits")).to_be_visible()
    later.click()
    question.get_by_label("Next attempts in").select_option("86400")
    question.get_by_label("Reason").fill("they are down")
    question.get_by_role("button", name="Postpone 3 runs").click()
    expect(page.get_by_role("heading", name="Delay of 3 runs")).to_be_visible()
    job = BulkJob.objects.get()
    assert (job.total, job.delay, job.reason) == (3, 86_400, "they are down")
