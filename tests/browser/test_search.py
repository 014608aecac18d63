"""The search of the list of runs in a real browser: what it offers, what it says when it is wrong, and its address."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.test_pages_for_everyone import violations
from tests.support import stored
from tests.support.browsing import Visitor


@pytest.fixture
def runs(visitor: Visitor) -> None:
    stored.task("sync", "slow")
    stored.run("failed", "sync", tags=["nightly"], error=stored.error())
    stored.run("completed", "sync", tags=["nightly"])
    stored.run("failed", error=stored.error())


def box(visitor: Visitor) -> Locator:
    visitor.page.goto("/runs/")
    return visitor.page.get_by_role("combobox", name="Search")


def test_a_search_is_typed_with_the_keyboard_alone_and_its_address_is_a_link(visitor: Visitor, runs: None) -> None:
    page, field = visitor.page, box(visitor)
    field.focus()
    page.keyboard.insert_text(
        "statu"
    )  # a part that no task has in its id; at once: for each pause the list is drawn anew
    options = page.locator("#f-q-choices").get_by_role("option")
    expect(options).to_have_count(1)
    expect(field).to_have_attribute("aria-expanded", "true")
    field.press("ArrowDown")
    expect(field).to_have_attribute("aria-activedescendant", "f-q-choices-0")
    field.press("Enter")
    expect(field).to_have_value("status:")
    expect(options).to_have_count(13)
    page.keyboard.insert_text("fai")
    expect(options).to_have_count(1)
    field.press("ArrowUp")
    field.press("Tab")
    expect(field).to_have_value("status:failed ")
    field.press_sequentially("tag:")
    expect(options).to_have_text([re.compile("nightly")])
    field.press("Escape")
    expect(page.get_by_role("listbox")).to_be_hidden()
    field.press("ArrowDown")
    expect(options).to_have_count(1)
    options.first.click()
    expect(field).to_have_value("status:failed tag:nightly ")
    field.press("Escape")
    field.press("Enter")
    expect(page.locator("tr[data-run]")).to_have_count(1)
    assert parse_qs(urlsplit(page.url).query) == {"q": ["status:failed tag:nightly "]}
    other = visitor.context.new_page()
    other.goto(page.url)
    expect(other.locator("tr[data-run]")).to_have_count(1)
    expect(other.get_by_role("combobox", name="Search")).to_have_value("status:failed tag:nightly")
    other.close()


def test_tabs_and_choices_write_into_the_same_search(visitor: Visitor, runs: None) -> None:
    page, field = visitor.page, box(visitor)
    field.fill("tag:nightly")
    field.press("Enter")
    expect(page.locator("tr[data-run]")).to_have_count(2)
    page.get_by_role("navigation", name="Status").get_by_role("link", name="Completed").click()
    expect(field).to_have_value("tag:nightly status:completed")
    page.locator("#f-queue").select_option("slow")
    expect(field).to_have_value("queue:slow tag:nightly status:completed")
    expect(page.locator("tr[data-run]")).to_have_count(1)
    expect(page.get_by_role("link", name="Completed")).to_have_attribute("aria-current", "page")
    page.get_by_role("link", name="Clear").click()
    expect(page.locator("tr[data-run]")).to_have_count(3)


def test_a_mistake_is_underlined_and_mended_with_one_click(visitor: Visitor, runs: None) -> None:
    page, field = visitor.page, box(visitor)
    field.fill("tag:nightly stauts:failed")
    field.press("Enter")
    expect(page.locator("#q-error mark")).to_have_text("stauts:")
    expect(field).to_have_value("tag:nightly stauts:failed")
    expect(field).to_have_attribute("aria-invalid", "true")
    page.get_by_role("link", name="Search for tag:nightly status:failed").click()
    expect(page.locator("tr[data-run]")).to_have_count(1)


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 320)])
def test_the_open_list_and_the_error_fit_and_are_accessible(
    visitor: Visitor, runs: None, theme: str, width: int, tmp_path: Path
) -> None:
    page = visitor.page
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    assert violations(page, "/runs/?q=tag:nightly+stauts:failed") == []
    page.screenshot(path=tmp_path / f"error-{width}.png")
    field = box(visitor)
    field.press_sequentially("s")
    expect(page.locator("#f-q-choices").get_by_role("option").first).to_be_visible()
    page.screenshot(path=tmp_path / f"open-{width}.png")
    edges = page.get_by_role("listbox").bounding_box()
    assert edges
    assert edges["x"] >= 0
    assert edges["x"] + edges["width"] <= width
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_box_works_without_scripts(visitor: Visitor, runs: None) -> None:
    state = visitor.context.storage_state()
    context = visitor.context.browser.new_context(  # type: ignore[union-attr]
        base_url=visitor.site.url, java_script_enabled=False, storage_state=state
    )
    page = context.new_page()
    page.goto("/runs/")
    page.get_by_label("Search").fill("sync status:failed")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("tr[data-run]")).to_have_count(1)
    context.close()
