"""Streams in a real browser: on the run's own page, and on a page of somebody else's."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.support import runs, stored
from tests.support.browsing import Visitor
from tests.support.processes import Fleet

HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
POLICY = "default-src 'none'; script-src 'self'; connect-src 'self'"


@pytest.fixture
def worker(streaming: Fleet, visitor: Visitor) -> Fleet:
    """A worker that streams, beside the visitor's web server."""
    streaming.worker("alice")
    return streaming


def panel(page: Page, name: str = "answer") -> Any:
    return page.locator(f'#streams [data-stream="{name}"]')


def test_text_appears_on_the_runs_page_while_the_run_sends_it(visitor: Visitor, worker: Fleet) -> None:
    handle = runs.the("says-in-turns").enqueue(words=["Kelp ", HOSTILE, {"tool": 1}], gate="turn")
    page = visitor.page
    page.goto(f"{visitor.site.url}/runs/{handle.id}/")
    text = panel(page).locator("pre")
    expect(text).to_have_text("Kelp ", use_inner_text=True)
    expect(panel(page)).to_contain_text("live")
    page.evaluate("window.neverReloaded = true")
    worker.ledger.open_gate("turn-1")
    expect(text).to_contain_text(HOSTILE)
    assert text.locator("*").count() == 0, "text, never markup"
    worker.ledger.open_gate("turn-2")
    expect(text).to_contain_text('{"tool":1}')
    expect(panel(page)).to_contain_text("ended with the run")
    assert page.evaluate("window.neverReloaded")
    assert "owned" not in page.title()


def test_a_page_that_opens_late_shows_what_holds_and_no_panel_without_streams(visitor: Visitor) -> None:
    page, run = visitor.page, stored.run("completed")
    page.goto(f"{visitor.site.url}/runs/{run.id}/")
    expect(page.locator("#log")).to_be_visible()
    expect(page.locator("#streams")).to_be_hidden()
    stored.chunks(run, "first ", snapshot=0)
    stored.chunks(run, "broken", snapshot=1)
    stored.chunks(run, None, kind="restart", snapshot=1, attempt=2)
    stored.chunks(run, "whole", snapshot=1, attempt=2)
    stored.chunks(run, *(str(n) for n in range(2_100)), name="long")
    stored.chunks(run, None, kind="closed", name="long")
    page.goto(f"{visitor.site.url}/runs/{run.id}/")
    expect(panel(page).locator("pre")).to_have_text("first whole")
    expect(panel(page)).to_contain_text("attempt 2")
    expect(panel(page, "long")).to_contain_text("complete · earlier text is in the API")
    expect(panel(page, "long").locator("pre")).to_contain_text("20982099")


def test_a_page_of_ones_own_fills_resumes_and_says_that_it_ended(visitor: Visitor, worker: Fleet) -> None:
    from django.template import Context, Template

    visitor.page.goto("about:blank")  # no page of the dashboard is to miss the web server
    handle = runs.the("says-in-turns").enqueue(words=["Hello", HOSTILE, "!"], gate="own")
    tag = "{% load holdfast_streams %}{% holdfast_stream run 'answer' %}"
    drawn = Template(f"<!doctype html><title>mine</title>{tag}").render(Context({"run": handle.id}))
    stranger = visitor.context.browser.new_context(base_url=visitor.site.url)  # type: ignore[union-attr]
    page = stranger.new_page()
    visitor.listen(page)

    def answer(route: Route) -> None:
        headers = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": POLICY}
        route.fulfill(body=drawn, headers=headers)

    page.route("**/mine", answer)
    page.goto("/mine")
    element = page.locator("[data-holdfast-stream]")
    text = element.locator("[data-text]")
    expect(text).to_have_text("Hello")
    expect(element).to_have_attribute("data-state", "live")

    visitor.site.restart_web()
    worker.ledger.open_gate("own-1")
    expect(text).to_have_text(f"Hello{HOSTILE}", timeout=30_000)
    assert text.locator("*").count() == 0
    worker.ledger.open_gate("own-2")
    expect(element).to_have_attribute("data-state", "ended")
    expect(text).to_have_text(f"Hello{HOSTILE}!")
    expect(element).to_have_attribute("data-status", "completed")
    assert page.title() == "mine"
    # The connection that broke is the browser's to report; nothing else was.
    visitor.complaints = [c for c in visitor.complaints if "net::ERR_" not in c]
    stranger.close()


def test_a_page_whose_token_is_refused_says_so(visitor: Visitor) -> None:
    page = visitor.page
    address = "/streams/wrong"
    body = (
        f'<div data-holdfast-stream="{address}"><pre data-text></pre><p data-note></p></div>'
        '<script src="/static/holdfast/stream.js" defer></script>'
    )
    page.route("**/mine", lambda route: route.fulfill(body=body, content_type="text/html"))
    page.goto(f"{visitor.site.url}/mine")
    expect(page.locator("[data-note]")).to_have_text("this stream can no longer be read")
    expect(page.locator("[data-holdfast-stream]")).to_have_attribute("data-state", "refused")
    visitor.complaints = [c for c in visitor.complaints if "403" not in c]
