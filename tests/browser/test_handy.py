"""What makes the dashboard handy: finding anything, shortcuts, ids that are pasted."""

from __future__ import annotations

import re
import uuid

import pytest
from playwright.sync_api import Page, expect

from holdfast.access.grants import Actor
from runs.models import SavedView
from runs.savedviews import services
from tests.browser.test_pages_for_everyone import still_violates
from tests.support import stored
from tests.support.browsing import Visitor
from tests.support.waiting import eventually


def paste(page: Page, text: str, into: str = "body") -> None:
    page.evaluate(
        """([text, into]) => {
            const clipboardData = new DataTransfer();
            clipboardData.setData("text/plain", text);
            document.querySelector(into).dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true }));
        }""",
        [text, into],
    )


def test_anything_is_found_with_the_keyboard_alone(visitor: Visitor) -> None:
    stored.run("failed", "bilge")
    page = visitor.page
    page.goto("/queues/")
    page.keyboard.press("Control+k")
    field = page.get_by_role("combobox", name="Find anything")
    expect(field).to_be_focused()
    options = page.locator("#find").get_by_role("option")
    expect(options.first).to_have_text(re.compile("Now"))
    field.press_sequentially("bil")
    expect(options).to_have_text([re.compile("^bilge"), re.compile("^Runs: bil")])
    expect(field).to_have_attribute("aria-activedescendant", "find-0")
    field.press("ArrowDown")
    expect(field).to_have_attribute("aria-activedescendant", "find-1")
    field.press("ArrowDown")  # round to the first
    field.press("Enter")
    page.wait_for_url("**/tasks/bilge/")
    page.keyboard.press("Control+k")
    expect(field).to_be_focused()
    page.keyboard.press("Escape")
    expect(field).to_be_hidden()


def test_enter_does_not_wait_for_the_eye(visitor: Visitor) -> None:
    """Who knows what it is called types it and presses Enter, before the list is there."""
    page = visitor.page
    page.goto("/")
    page.get_by_role("link", name="Find").click()
    page.keyboard.type("sched")
    page.keyboard.press("Enter")
    page.wait_for_url("**/schedules/")


def test_an_id_that_is_pasted_leads_to_its_run_and_an_unknown_one_says_so(visitor: Visitor) -> None:
    run, page = stored.run("failed"), visitor.page
    page.goto("/tasks/")
    unknown = str(uuid.uuid4())
    paste(page, unknown)
    expect(page.get_by_text(f"There is no run {unknown}.")).to_be_visible()
    paste(page, "no id at all")
    page.goto("/runs/")
    paste(page, str(run.id), "#f-q")
    expect(page).to_have_url(re.compile(r"/runs/$"))
    paste(page, f" {run.id}\n")
    page.wait_for_url(f"**/runs/{run.id}/")


def test_shortcuts_are_listed_and_lead_where_they_say(visitor: Visitor) -> None:
    older, newer = stored.run("failed", age=90), stored.run("failed", age=30)
    page = visitor.page
    page.goto("/")
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keyboard shortcuts")
    expect(dialog).to_contain_text("Runs")
    page.keyboard.press("g")
    page.keyboard.press("r")
    expect(dialog).to_be_visible()  # behind a dialog nothing happens
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.keyboard.press("g")
    page.keyboard.press("r")
    page.wait_for_url("**/runs/")
    page.keyboard.press("j")
    expect(page.locator(f"#run-{newer.id}")).to_be_focused()
    page.keyboard.press("j")
    expect(page.locator(f"#run-{older.id}")).to_be_focused()
    page.keyboard.press("j")
    page.keyboard.press("k")
    expect(page.locator(f"#run-{newer.id}")).to_be_focused()
    page.keyboard.press("/")
    search = page.get_by_role("combobox", name="Search")
    expect(search).to_be_focused()
    page.keyboard.type("j?gq/")
    expect(search).to_have_value("j?gq/")
    expect(page).to_have_url(re.compile(r"/runs/$"))


def test_shortcuts_of_single_keys_can_be_switched_off_for_good(visitor: Visitor) -> None:
    page = visitor.page
    page.goto("/")
    page.get_by_role("button", name="Shortcuts").click()
    page.get_by_label("Shortcuts of single keys").uncheck()
    page.keyboard.press("Escape")
    page.goto("/tasks/")
    page.keyboard.press("?")
    page.keyboard.press("g")
    page.keyboard.press("r")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.keyboard.press("Control+k")  # it has a modifier, so it stays
    expect(page.get_by_role("combobox", name="Find anything")).to_be_focused()
    assert page.url.endswith("/tasks/")


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 320)])
def test_the_dialogs_fit_and_are_accessible(visitor: Visitor, theme: str, width: int) -> None:
    stored.run("failed", "sync-" * 12)
    page = visitor.page
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light", reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 700})
    page.goto("/tasks/")
    page.keyboard.press("Control+k")
    expect(page.locator("#find").get_by_role("option").first).to_be_visible()
    page.keyboard.type("s")
    expect(page.locator("#find").get_by_role("option").first).to_contain_text("s")
    assert still_violates(page) == []
    page.keyboard.press("Escape")
    expect(page.locator("#find")).to_be_hidden()
    shortcuts = page.get_by_role("dialog", name="Keyboard shortcuts")
    eventually(lambda: shortcuts.is_visible() or page.keyboard.press("?"), "the keys are heard again")
    assert still_violates(page) == []


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 320)])
def test_views_columns_and_export_fit_and_are_accessible(visitor: Visitor, theme: str, width: int) -> None:
    stored.run("failed", tags=["nightly"], error=stored.error())
    services.view_save("Failed payments", "status:failed", shared=True, actor=Actor.local())
    hostile = {"owner_kind": "user", "owner_id": "9", "owner_label": "w" * 200, "search": "", "shared": True}
    SavedView.objects.bulk_create(SavedView(name=f"{'w' * 57}{number:03}", **hostile) for number in range(500))
    page = visitor.page
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light", reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 800})
    page.goto("/runs/")
    views = page.locator(".views nav").bounding_box()
    assert views is not None
    assert views["height"] < 100, "however many there are, the runs are in sight"
    for name in ("Save this view", "Manage", "Columns", "Export"):
        page.locator(".views summary", has_text=name).click()
        assert still_violates(page) == []
    page.locator(".views summary", has_text="Columns").click()
    tags = page.locator("tr[data-run] .tags")
    expect(tags).to_have_count(0)
    page.get_by_label("Tags").check()
    page.get_by_role("button", name="Show these").click()
    expect(tags).to_have_text("nightly")
    asked = "%2C".join(("task", "queue", "why", "tags", "seconds", "created_at"))  # as browsers write a form's comma
    expect(page).to_have_url(re.compile(rf"\?columns={asked}$"))
    page.get_by_role("link", name="Failed payments").click()
    expect(page).to_have_url(re.compile("status:failed"))
    expect(page.get_by_role("link", name="Failed payments")).to_have_attribute("aria-current", "page")


def test_the_browser_only_remembers_which_columns_somebody_always_wants(visitor: Visitor) -> None:
    stored.run("failed", tags=["nightly"], error=stored.error())
    page = visitor.page
    page.goto("/runs/")
    tags, columns = page.locator("tr[data-run] .tags"), page.locator(".views summary", has_text="Columns")
    columns.click()
    page.get_by_label("Tags").check()
    page.get_by_label("Always, in this browser").check()
    page.get_by_role("button", name="Show these").click()
    expect(tags).to_have_text("nightly")
    page.goto("/runs/?q=status:failed")
    expect(page).to_have_url(re.compile(r"\?q=status:failed&columns=task,queue,why,tags,seconds,created_at$"))
    page.goto("/runs/?columns=task,queue")  # what a link asks for comes first
    expect(tags).to_have_count(0)
    columns.click()
    expect(page.get_by_label("Always, in this browser")).to_be_checked()
    page.get_by_role("link", name="As usual").click()
    expect(page).to_have_url(re.compile(r"/runs/\??$"))
    expect(tags).to_have_count(0)
    page.evaluate("localStorage.setItem('holdfast-columns', 'gone,tags,<b>')")  # as another version may have left it
    page.goto("/runs/")
    expect(page).to_have_url(re.compile(r"/runs/\?columns=tags$"))
    expect(tags).to_have_text("nightly")


def test_the_favicon_is_red_on_any_page_while_things_are_down(visitor: Visitor) -> None:
    page = visitor.page
    stored.run("queued")
    page.goto("/tasks/")
    expect(page.locator('link[rel="icon"]')).to_have_attribute("href", re.compile("icon-alert"))
