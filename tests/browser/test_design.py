"""What the design system promises, in a real browser: themes, live light, logs, JSON, keyboard, narrow screens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from tests.support.browsing import PLOTLY

SHIFTS = """
window.shift = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shift += entry.value;
}).observe({ type: "layout-shift", buffered: true });
"""


@pytest.fixture
def page(browser: Browser, live_server: LiveServer) -> Iterator[Page]:
    """An admin's page; nothing behind it but Django. The test fails if the browser's console complained."""
    client = Client()
    client.force_login(User.objects.create_superuser("ann"))
    context = browser.new_context(base_url=live_server.url, viewport={"width": 1280, "height": 900})
    cookie = settings.SESSION_COOKIE_NAME
    context.add_cookies([{"name": cookie, "value": client.cookies[cookie].value, "url": live_server.url}])
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.add_init_script(SHIFTS)
    yield page
    context.close()
    assert [said for said in complaints if "status of 404" not in said] == []


@pytest.fixture
def design(page: Page) -> Page:
    page.goto("/design/")
    return page


def test_a_chosen_theme_is_kept_and_there_before_the_page_is_painted(design: Page) -> None:
    page = design
    page.emulate_media(color_scheme="light")
    toggle, root = page.get_by_role("button", name="Theme"), page.locator("html")
    light = page.evaluate("Holdfast.token('--page')")
    toggle.click()
    toggle.click()
    expect(root).to_have_attribute("data-theme", "dark")
    assert page.evaluate("Holdfast.token('--page')") != light

    page.add_init_script(
        "new MutationObserver(() => {"
        "  if (document.body) window.themeAtBody ??= document.documentElement.dataset.theme;"
        "}).observe(document, { childList: true, subtree: true })"
    )
    page.reload()
    assert page.evaluate("window.themeAtBody") == "dark"
    toggle.click()
    expect(root).not_to_have_attribute("data-theme", "dark")


def test_the_live_light_is_never_green_before_something_was_measured(design: Page) -> None:
    page = design
    light = page.locator(".live")
    expect(light).to_have_attribute("data-live", "unknown")
    light.click()
    expect(light).to_have_attribute("data-live", "unknown")
    page.evaluate("Holdfast.live.beat()")
    expect(light).to_have_attribute("data-live", "live")
    light.click()
    expect(light).to_have_text("paused")
    light.click()
    page.evaluate("Holdfast.live.lost()")
    expect(light).to_have_text("stale")


def test_a_hundred_thousand_log_lines_leave_few_rows_in_the_document(design: Page) -> None:
    page = design
    log = page.locator("#demo-log")
    page.evaluate(
        """() => {
          const log = HoldfastLog.attach(document.getElementById("demo-log"));
          const at = new Date().toISOString();
          for (let block = 2; block <= 101; block++) {
            log.append(Array.from({ length: 1000 }, (_, i) => {
              const sequence = block * 1000 + i;
              return { sequence, at, level: 20, message: `line ${sequence}`, attempt: 1, step: "" };
            }));
          }
          log.append([{ sequence: 101999, at, level: 20, message: "the same line again", attempt: 1, step: "" }]);
        }"""
    )
    expect(log).to_contain_text("line 101999")
    foot = log.locator(".foot")
    expect(foot).to_have_text("101,000 lines")
    assert log.evaluate("e => HoldfastLog.attach(e).lines.length") <= 5_000, "the browser never holds it all"
    assert log.locator(".line").count() < 120
    log.get_by_role("searchbox").fill("backing off")
    expect(foot).to_have_text("200 lines fit · 101,000 lines")


def test_json_keeps_every_digit_and_shows_markup_as_text(design: Page) -> None:
    tree = design.locator(".json .tree")
    expect(tree).to_contain_text("9007199254740993123")
    expect(tree).to_contain_text("and <tags> & “quotes”")
    expect(tree).not_to_contain_text("https://example.org/paper/3")
    tree.get_by_text("2: { 2 fields }").click()
    expect(tree).to_contain_text("https://example.org/paper/3")


def test_a_destructive_button_asks_in_place_and_escape_takes_it_back(design: Page) -> None:
    page = design
    ask = page.locator("details.confirm summary")
    ask.focus()
    page.keyboard.press("Enter")
    yes = page.get_by_role("button", name="Cancel 1 run")
    expect(yes).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    expect(yes).to_be_hidden()
    expect(ask).to_be_focused()


def test_charts_draw_under_the_policy_and_take_the_theme(design: Page) -> None:
    page = design
    page.emulate_media(color_scheme="light")
    bar = page.locator("#demo-histogram .bars path").first
    expect(bar).to_be_visible(timeout=PLOTLY)
    light = bar.evaluate("e => getComputedStyle(e).fill")
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("([e, light]) => getComputedStyle(document.querySelector(e)).fill !== light",
                           arg=["#demo-histogram .bars path", light])  # fmt: skip


@pytest.mark.parametrize("path", ["/design/", "/sign-in/", "/nothing-here/"])
def test_nothing_is_wider_than_the_narrowest_screen(page: Page, path: str) -> None:
    page.set_viewport_size({"width": 320, "height": 700})
    if path == "/sign-in/":
        page.context.clear_cookies()
    page.goto(path)
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_nothing_moves_while_the_page_arrives(design: Page) -> None:
    page = design
    expect(page.locator("#demo-histogram .main-svg").first).to_be_visible(timeout=PLOTLY)
    assert page.evaluate("window.shift") < 0.01


def test_the_keyboard_reaches_the_content_first(design: Page) -> None:
    page = design
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
