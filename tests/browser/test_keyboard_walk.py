"""The work of a day without a mouse: sign in, find a failed run and retry it, approve, pause a queue and let it go on.
After every step something that can be seen has the focus."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from holdfast.access import services as access
from queues.models import Queue
from runs.models import Run, Wait
from tests.browser.conftest import PATIENCE
from tests.support import stored
from tests.support.browsing import Site, Visitor
from tests.support.waiting import eventually

#: What has the focus: its name, and whether a person sees where it is.
FOCUS = """() => {
    const one = document.activeElement, box = one.getBoundingClientRect(), style = getComputedStyle(one);
    const frame = one.closest(".find-box, .row") ?? one, around = getComputedStyle(frame);
    const outlined = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
    const shown = outlined || style.boxShadow !== "none" || around.boxShadow !== "none";
    return {
        tag: one.tagName, name: one.getAttribute("aria-label") ?? one.labels?.[0]?.textContent ?? one.textContent,
        seen: box.width > 0 && box.bottom > 0 && box.top < innerHeight && shown && one.matches(":focus-visible"),
    };
}"""


@pytest.fixture
def keyboard(browser: Browser, site: Site) -> Iterator[Page]:
    """A page before anybody has signed in; the mouse is never touched."""
    context = browser.new_context(base_url=site.url, viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE)
    visitor = Visitor(context, context.new_page(), site)
    visitor.listen(visitor.page)
    yield visitor.page
    context.close()
    assert not visitor.complaints


def focused(page: Page) -> str:
    """The name of what has the focus. Fails when nothing has it, or when nobody could see where it is."""
    found = page.evaluate(FOCUS)
    assert found["tag"] != "BODY", "the focus is lost"
    assert found["seen"], f"nobody sees that {found['name']!r} has the focus"
    return " ".join(found["name"].split())


def tab_to(page: Page, name: str, *, most: int = 80) -> None:
    """Presses Tab until something of this name has the focus."""
    passed = []
    for _ in range(most):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            continue  # round the browser's own controls
        passed.append(focused(page))
        if re.fullmatch(name, passed[-1]):
            return
    pytest.fail(f"{name!r} is not reached by Tab; passed were {passed}")


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def sign_in(page: Page, site: Site) -> None:
    page.goto(access.signin_link_create())
    tab_to(page, "Sign in")
    press(page, "Enter")
    page.wait_for_url(site.url + "/")


def find_and_retry(page: Page) -> None:
    run = stored.run("failed", "count-words", error=stored.error(), attempt=1)
    tab_to(page, "Skip to content")
    press(page, "Enter")
    expect(page.locator("#main")).to_be_focused()
    tab_to(page, "Find.*")
    press(page, "Control+k", "Escape")
    expect(page.locator("#find")).to_be_hidden()
    assert focused(page).startswith("Find"), "Escape closes and gives the focus back"
    press(page, "Control+k")
    page.keyboard.type(str(run.id))
    expect(page.locator("#find").get_by_role("option").first).to_contain_text("run of count-words, failed")
    assert focused(page) == "Find anything"
    press(page, "Enter")
    page.wait_for_url(f"**/runs/{run.id}/")
    tab_to(page, "Retry")
    press(page, "Enter")
    tab_to(page, r"Reason \(optional\)")
    press(page, "Escape")
    assert focused(page) == "Retry"
    press(page, "Enter")
    tab_to(page, r"Reason \(optional\)")
    page.keyboard.type("the supplier is back")
    tab_to(page, "Retry")
    press(page, "Enter")
    expect(page.locator(".toast")).to_be_visible()
    assert Run.objects.get(pk=run.id).status == "queued"


def approve(page: Page) -> None:
    run = stored.run("waiting", "count-words", waiting_for={"kind": "approval"})
    form = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}
    wait = stored.wait(run, detail={"schema": form})
    press(page, "g", "a")
    page.wait_for_url("**/approvals/")
    press(page, "j")
    assert focused(page) == "Publish?"
    page.evaluate("document.body.dispatchEvent(new CustomEvent('holdfast:changed'))")  # the list is drawn anew
    expect(page.locator("#approvals.htmx-settling, #approvals.htmx-request")).to_have_count(0)
    eventually(lambda: focused(page) == "Publish?", "the link still has the focus")
    press(page, "Enter")
    page.wait_for_url(f"**/waits/{wait.pk}/")
    tab_to(page, "title.*")
    page.keyboard.type("Kelp")
    tab_to(page, r"Comment \(optional\)")
    page.keyboard.type("well done")
    tab_to(page, "Approve")
    press(page, "Enter")
    tab_to(page, "Approve")
    press(page, "Enter")
    page.wait_for_url("**/approvals/")
    expect(page.locator(".toast")).to_contain_text("approved")
    decided = Wait.objects.get(pk=wait.pk).output
    assert (decided["approved"], decided["form"], decided["comment"]) == (True, {"title": "Kelp"}, "well done")


def pause_and_resume(page: Page) -> None:
    stored.queue("imports")
    press(page, "g", "q")
    page.wait_for_url("**/queues/")
    row = page.locator("#imports")
    press(page, "j")
    while page.evaluate("document.activeElement.closest('tr').id") != "imports":
        press(page, "j")
    assert focused(page) == "imports"
    tab_to(page, "Pause")
    press(page, "Enter")
    tab_to(page, "Reason.*")
    page.keyboard.type("the provider is down")
    tab_to(page, "Minutes.*")
    page.keyboard.type("nonsense")
    press(page, "Enter")
    refused = row.locator("[aria-invalid=true]")
    expect(refused).to_be_focused()
    focused(page)
    press(page, "Escape")
    assert focused(page) == "Pause", "Escape closes and gives the focus back"
    press(page, "Enter")
    expect(refused).to_be_visible()
    tab_to(page, "Minutes.*")
    press(page, "Control+a")
    page.keyboard.type("60")
    press(page, "Enter")
    expect(row).to_contain_text("the provider is down")
    eventually(lambda: page.evaluate("document.activeElement.textContent.trim()") == "Resume", "what undoes it is next")
    focused(page)
    paused = Queue.objects.get(name="imports")
    assert (paused.paused, paused.pause_reason, paused.paused_until is not None) == (True, "the provider is down", True)
    press(page, "Enter")
    expect(row).not_to_contain_text("the provider is down")
    eventually(lambda: page.evaluate("document.activeElement.textContent.trim()") == "Pause", "and the other way round")
    focused(page)
    assert not Queue.objects.get(name="imports").paused


def test_runs_are_retried_and_approved_and_queues_paused_without_a_mouse(keyboard: Page, site: Site) -> None:
    sign_in(keyboard, site)
    find_and_retry(keyboard)
    approve(keyboard)
    pause_and_resume(keyboard)
