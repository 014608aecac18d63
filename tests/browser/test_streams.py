"""Streams in a real browser: on the run's own page, and on a page of somebody else's."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from runs.models import Chunk
from tests.support import runs, stored
from tests.support.browsing import Visitor
from tests.support.processes import Fleet

HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
POLICY = "default-src 'none'; script-src 'self'; connect-src 'self'"
STREAMS = re.compile("/streams/")
#: Notes each EventSource that a page opens, at once: requests are reported later.
NOTING = """
    window.opened = [];
    window.EventSource = class extends EventSource {
        constructor(address) { super(address); window.opened.push(String(address)); }
    };
"""


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


def stranger(visitor: Visitor, run_id: Any) -> Page:
    """A page of somebody else's with the stream `answer` of the run, in a browser that has not signed in."""
    from django.template import Context, Template

    visitor.page.goto("about:blank")  # no page of the dashboard is to miss the web server
    tag = "{% load holdfast_streams %}{% holdfast_stream run 'answer' %}"
    drawn = Template(f"<!doctype html><title>mine</title>{tag}").render(Context({"run": run_id}))
    page = visitor.context.browser.new_page(base_url=visitor.site.url)  # type: ignore[union-attr]
    visitor.listen(page)

    def answer(route: Route) -> None:
        headers = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": POLICY}
        route.fulfill(body=drawn, headers=headers)

    page.route("**/mine", answer)
    page.add_init_script(NOTING)
    page.goto("/mine")
    return page


def test_a_page_of_ones_own_fills_resumes_and_says_that_it_ended(visitor: Visitor, worker: Fleet) -> None:
    handle = runs.the("says-in-turns").enqueue(words=["Hello", HOSTILE, "!"], gate="own")
    page = stranger(visitor, handle.id)
    element = page.locator("[data-holdfast-stream]")
    text = element.locator("[data-text]")
    expect(text).to_have_text("Hello")
    expect(element).to_have_attribute("data-state", "live")

    visitor.site.restart_web()
    worker.ledger.open_gate("own-1")
    expect(text).to_have_text(f"Hello{HOSTILE}", timeout=60_000)
    assert text.locator("*").count() == 0
    worker.ledger.open_gate("own-2")
    expect(element).to_have_attribute("data-state", "ended")
    expect(text).to_have_text(f"Hello{HOSTILE}!")
    expect(element).to_have_attribute("data-status", "completed")
    assert page.title() == "mine"
    # The connection that broke is the browser's to report; nothing else was.
    visitor.complaints = [c for c in visitor.complaints if "net::ERR_" not in c]
    page.close()


def test_a_page_of_ones_own_comes_back_after_answers_that_are_no_stream(visitor: Visitor, worker: Fleet) -> None:
    handle = runs.the("says-in-turns").enqueue(words=["Kelp ", "holds ", "on"], gate="away")
    page = stranger(visitor, handle.id)
    element = page.locator("[data-holdfast-stream]")
    text = element.locator("[data-text]")
    expect(text).to_have_text("Kelp ", use_inner_text=True)
    page.evaluate("""
        window.told = [];
        document.addEventListener("holdfast:chunk", (event) => window.told.push(event.detail.data));
    """)
    # What the EventSource is answered when it comes back, and what is answered to whoever asks why it was refused.
    page.route(STREAMS, lambda route: route.fulfill(status=503, body="a deploy"), times=2)
    visitor.site.restart_web()
    worker.ledger.open_gate("away-1")
    expect(text).to_have_text("Kelp holds ", timeout=60_000, use_inner_text=True)
    expect(element).to_have_attribute("data-state", "live")
    first, again = page.evaluate("window.opened")
    assert again == f"{first}?after={Chunk.objects.filter(run=handle.id).earliest('sequence').sequence}"
    worker.ledger.open_gate("away-2")
    expect(element).to_have_attribute("data-state", "ended")
    expect(text).to_have_text("Kelp holds on")
    assert page.evaluate("window.told") == ["holds ", "on"]
    assert sum("503" in c for c in visitor.complaints) == 2
    visitor.complaints = [c for c in visitor.complaints if "net::ERR_" not in c and "503" not in c]
    page.close()


def open_mine(page: Page, visitor: Visitor, address: str) -> None:
    body = (
        f'<div data-holdfast-stream="{address}"><pre data-text></pre><p data-note></p></div>'
        '<script src="/static/holdfast/stream.js" defer></script>'
    )
    page.route("**/mine", lambda route: route.fulfill(body=body, content_type="text/html"))
    page.clock.install()
    page.add_init_script(NOTING)
    page.goto(f"{visitor.site.url}/mine")


@pytest.mark.parametrize("status", [403, 404])
def test_a_page_that_is_refused_says_so_and_asks_no_more(visitor: Visitor, status: int) -> None:
    from runs.sdk import streamtoken

    page = visitor.page
    token = streamtoken.issue(uuid.uuid4(), "answer") if status == 404 else "wrong"
    open_mine(page, visitor, f"/streams/{token}")
    expect(page.locator("[data-note]")).to_have_text("this stream can no longer be read")
    expect(page.locator("[data-holdfast-stream]")).to_have_attribute("data-state", "refused")
    page.clock.run_for(60_000)
    assert page.evaluate("window.opened.length") == 1
    assert f"status of {status}" in visitor.complaints[0]
    visitor.complaints = [c for c in visitor.complaints if f"status of {status}" not in c]


def test_a_stream_that_is_lost_is_tried_until_it_is_taken_out_of_the_page(visitor: Visitor) -> None:
    page = visitor.page
    page.route(STREAMS, lambda route: route.fulfill(status=502, body="a deploy"))
    open_mine(page, visitor, "/streams/any")
    element = page.locator("[data-holdfast-stream]")
    expect(element.locator("[data-note]")).to_have_text("connection lost; trying again …")
    page.wait_for_function("window.opened.length >= 3")
    expect(element).to_have_attribute("data-state", "lost")
    before = page.evaluate("""async () => {
        document.querySelector("[data-holdfast-stream]").remove();
        await fetch("/streams/any"); // what the script had asked is answered before this
        return window.opened.length;
    }""")
    page.clock.run_for(60_000)
    assert page.evaluate("window.opened.length") == before
    visitor.complaints = [c for c in visitor.complaints if "status of 502" not in c]
