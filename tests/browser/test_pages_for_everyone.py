"""Pages that everybody can use: axe's rules of WCAG 2.2 AA in both themes, a narrow screen, the keyboard alone."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from holdfast.access import services as access
from holdfast.access.grants import Actor
from runs import services
from runs.bulk.model import BulkJob
from runs.models import Run
from tests.support import stored
from tests.support.browsing import COPIED_STAYS, Site, Visitor
from tests.support.waiting import eventually

PATHS = (
    "/",
    "/runs/",
    "/retries/",
    "/runs/compare/",
    "/errors/",
    "/approvals/",
    "/queues/",
    "/tasks/",
    "/tasks/research-agent/",
    "/schedules/",
    "/webhooks/",
    "/webhooks/out/",
    "/explore/",
    "/alerts/",
    "/alerts/?new",
    "/alerts/channels/",
    "/alerts/channels/?new",
    "/changes/",
    "/find/?q=a",
    "/bulk/",
    "/bulk/new/?action=retry",
    "/demo/orders/",
    "/design/",
    "/no-such-page/",
)
Theme = Literal["light", "dark"]
#: What lists cannot be asked for: they say so, and show what they can.
REFUSED = ("/runs/?q=stat:failed+(", "/runs/?cursor=nonsense", "/changes/?span=9")
THEMES: list[tuple[Theme, int]] = [(theme, width) for theme in ("light", "dark") for width in (1280, 320)]
RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "resultTypes": ["violations"],
}


def a_finished_run(site: Site) -> str:
    """The path of the page of a run that completed."""
    site.fleet.worker("kelp")
    run, _ = services.task_enqueue("count-words", {"text": "kelp and more kelp"}, {}, actor=Actor.system("test"))
    eventually(lambda: Run.objects.get(pk=run).status == "completed", "the run has completed")
    return f"/runs/{run}/"


def an_error() -> str:
    """The path of the page of an error that a run has met."""
    trace = 'Traceback (most recent call last):\n  File "/srv/shop/tasks.py", line 3, in work\n    fetch()\n'
    error = {**stored.error(), "fingerprint": "f00d", "traceback": trace, "step": "send#1"}
    run = stored.run("retrying", error=error)
    stored.failures(40, step="send", version="4f9c2a77aa01", example=run.pk)
    return "/errors/f00d/"


def violations(page: Page, path: str) -> list[str]:
    """What axe finds on a page, and whether the page is wider than the screen."""
    page.goto(path)
    return still_violates(page)


def still_violates(page: Page) -> list[str]:
    found = Axe().run(page, options=RULES).response["violations"]
    said = [f"{v['id']}: {node['target']} {node['failureSummary']}" for v in found for node in v["nodes"]]
    wider = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    return [*said, *([f"{wider} pixels too wide"] if wider > 0 else [])]


def nothing_yet(site: Site) -> list[str]:
    """An installation in which nothing has happened."""
    return []


def weeks_of_work(site: Site) -> list[str]:
    """With a history, a finished run and one that somebody cancelled."""
    assert site.fleet.start("seed", "seed", "--small").wait(timeout=300) == 0
    found = Run.objects.filter(status="failed").order_by("-id").first()
    assert found is not None
    return [a_finished_run(site), f"/runs/{found.pk}/", "/tasks/seeded-invoice/", "/runs/?q=status:failed"]


def trouble(site: Site) -> list[str]:
    """An error that comes again and again, no worker left though there is work, and addresses that ask for nonsense."""
    worker = site.fleet.worker("kelp")
    run, _ = services.task_enqueue("count-words", {"text": "kelp"}, {}, actor=Actor.system("test"))
    eventually(lambda: Run.objects.get(pk=run).status == "completed", "the worker has its tasks registered")
    worker.signal(signal.SIGKILL)
    worker.wait()
    waiting, _ = services.task_enqueue("count-words", {"text": "more kelp"}, {}, actor=Actor.system("test"))
    services.run_cancel(waiting, actor=Actor.system("test"), reason="nobody is there")
    services.task_enqueue("count-words", {"text": "no kelp"}, {}, actor=Actor.system("test"))
    return [an_error(), f"/runs/{waiting}/", *REFUSED]


@pytest.mark.parametrize("state", [nothing_yet, weeks_of_work, trouble])
def test_axe_finds_nothing_and_nothing_scrolls_sideways(visitor: Visitor, state: Callable[[Site], list[str]]) -> None:
    """Each page is fetched once and looked at in both themes, wide and narrow."""
    page, found = visitor.page, {}
    for path in (*PATHS, *state(visitor.site)):
        page.goto(path)
        for theme, width in THEMES:
            page.emulate_media(color_scheme=theme, reduced_motion="reduce")
            page.set_viewport_size({"width": width, "height": 800})
            found[path, theme, width] = still_violates(page)
    visitor.complaints.clear()  # the 404 that was asked for
    assert {where: said for where, said in found.items() if said} == {}


#: Between a telephone and a large screen: what has many columns is stacked there too.
BETWEEN = (680, 768, 1024, 1208, 1280)


def test_wide_tables_fit_the_widths_between_and_a_filter_applies_at_once(visitor: Visitor) -> None:
    worker = stored.worker()
    stored.held(stored.run("running", "a-task-in-hand"), worker)
    stored.run("retrying", "a-task-with-a-long-name" * 6, error=stored.error("no " * 50), attempt=4, failures=4)
    burning = stored.run(
        "retrying", "import-orders-of-suppliers", error=stored.error("no " * 50), attempt=4, failures=4
    )
    for number in range(1, 5):
        stored.attempt(burning, number, "failed", error=stored.error("no " * 50))
    stored.task("sums", "a-queue-with-a-long-name" * 4)
    stored.queue("limited", concurrency_limit=4, key_concurrency_limit=2, rate_amount=10, rate_period=60)
    BulkJob.objects.create(
        id=stored.run("running", "holdfast.bulk").pk, action="retry", search="status:failed task:" + "x" * 100, total=9,
        actor={"kind": "user", "id": 1, "label": "somebody-with-a-long-name", "role": "admin"},
        reason="the supplier is back, they say",
    )  # fmt: skip
    an_error()
    page, wider = visitor.page, {}
    for path in ("/retries/", "/errors/", "/bulk/", "/queues/", "/tasks/", f"/workers/{worker.pk}/"):
        page.goto(path)
        for width in BETWEEN:
            page.set_viewport_size({"width": width, "height": 800})
            wider[path, width] = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert {where: by for where, by in wider.items() if by > 0} == {}
    page.goto("/errors/")
    page.get_by_label("Task").select_option("sums")
    page.wait_for_url("**/errors/?*task=sums*")


def test_the_keyboard_reaches_the_content_the_menu_and_the_way_out(visitor: Visitor) -> None:
    page = visitor.page
    page.goto("/queues/")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to content")
    expect(skip).to_be_focused()
    assert skip.bounding_box()["y"] >= 0, "the skip link shows itself when it has the focus"
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()

    menu = page.locator(".rail details.menu")
    menu.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Sign out")).to_be_hidden()
    expect(menu.locator("summary")).to_be_focused()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.goto("/runs/")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_copying_works_over_plain_http(visitor: Visitor) -> None:
    page = visitor.page
    page.goto("/design/")
    page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")  # a secure page has it
    viewer = page.locator(".json").first
    page.evaluate(COPIED_STAYS)
    viewer.get_by_role("button", name="Copy").click()
    expect(viewer.get_by_role("button", name="Copied")).to_be_visible()
    page.get_by_label("notes").focus()
    page.keyboard.press("Control+V")
    expect(page.get_by_label("notes")).to_have_value(re.compile("9007199254740993123"))


def test_pages_are_whole_without_scripts(browser: Browser, visitor: Visitor) -> None:
    context = browser.new_context(
        base_url=visitor.site.url, java_script_enabled=False, storage_state=visitor.context.storage_state()
    )
    page = context.new_page()
    searched = "/tasks/?q=Research"
    for path, words in (("/runs/", "Runs"), ("/queues/", "Queues"), (searched, "research-agent"), ("/", "Now")):
        page.goto(path)
        expect(page.locator("main")).to_contain_text(words)
        expect(page.locator(".live[data-live=live]")).to_have_count(0)  # unmeasured is never green
    context.close()


def test_the_sign_in_pages_are_for_everyone_too(browser: Browser, site: Site) -> None:
    for theme, width in THEMES:
        context = browser.new_context(base_url=site.url, color_scheme=theme, viewport={"width": width, "height": 640})
        page = context.new_page()
        for path in ("/sign-in/", access.signin_link_create(), "/sign-in/wrong/"):
            assert violations(page, path) == []
        page.goto("/sign-in/?next=/tasks/")
        page.get_by_label("User name").fill("nobody")
        page.get_by_label("Password").fill("nothing")
        page.keyboard.press("Enter")
        expect(page.get_by_text("do not match")).to_be_visible()
        assert still_violates(page) == []
        context.close()
