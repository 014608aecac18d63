"""Where no websocket comes through, pages poll: they show the same, the light says so, and a websocket is taken again
as soon as it can be had."""

from __future__ import annotations

import re
from typing import Literal

import pytest
from django.utils import timezone
from playwright.sync_api import Page, WebSocketRoute, expect

from runs.models import Run
from tests.browser.test_light import shown
from tests.support import stored
from tests.support.browsing import Visitor

POLLED = "live, by polling"
LONG = 40_000  # milliseconds


class Way:
    """What is between the browser and the server's websockets: `refused` says so, `swallowed` says nothing at all."""

    def __init__(self, page: Page, mood: Literal["open", "refused", "swallowed"]) -> None:
        self.mood = mood
        self.open: list[WebSocketRoute] = []
        page.route_web_socket(re.compile("/ws/"), self.take)

    def take(self, socket: WebSocketRoute) -> None:
        if self.mood == "open":
            socket.connect_to_server()
            self.open.append(socket)
        elif self.mood == "refused":
            socket.close(code=3000, reason="blocked")

    def cut(self, mood: Literal["refused", "swallowed"]) -> None:
        """From now on, and for those that are open."""
        self.mood = mood
        while self.open:
            self.open.pop().close(code=3000, reason="blocked")


def test_a_run_is_polled_without_gap_or_double_and_its_websocket_comes_back(visitor: Visitor) -> None:
    run = stored.run("running")
    stored.attempt(run)
    stored.lines(run, "one", "two")
    stored.snapshots(run, 1, 2)
    page, way = visitor.page, Way(visitor.page, "refused")
    page.goto(f"/runs/{run.pk}/")
    light, log = page.locator(".live"), page.locator("#log")
    expect(light).to_have_text(POLLED, timeout=LONG)
    expect(light).to_have_attribute("data-live", "live")
    expect(log.locator(".line")).to_have_count(2)
    stored.lines(run, *(f"line {n}" for n in range(1_200)))  # more than one answer tells
    stored.snapshots(run, 3, 4)
    stored.chunks(run, "said by polling")
    expect(log).to_contain_text("line 1199")
    expect(page.locator("#steps-count")).to_have_text("1 attempt, 4 steps finished")
    expect(page.locator("#streams")).to_contain_text("said by polling")
    expect(log.locator(".foot")).to_have_text("1,202 lines")

    way.mood = "open"
    expect(light).to_have_text("live", timeout=LONG)
    stored.lines(run, "by the socket")
    expect(log).to_contain_text("by the socket")
    way.cut("refused")
    expect(light).to_have_text(POLLED, timeout=LONG)
    stored.lines(run, "by polling again")
    expect(log).to_contain_text("by polling again")
    expect(log.locator(".foot")).to_have_text("1,204 lines")
    assert shown(log)[-3:] == ["line 1199", "by the socket", "by polling again"]
    messages = page.evaluate("HoldfastLog.attach(document.getElementById('log')).lines.map((l) => l.message)")
    assert messages == ["one", "two", *(f"line {n}" for n in range(1_200)), "by the socket", "by polling again"]
    Run.objects.filter(pk=run.pk).update(status="completed", finished_at=timezone.now(), output=1)
    expect(page.locator("#run-status")).to_contain_text("completed")


def test_a_way_that_swallows_websockets_is_found_out(visitor: Visitor) -> None:
    """Neither an answer nor a refusal comes: after some seconds the page does not wait for one any more."""
    run = stored.run("running")
    stored.attempt(run)
    stored.lines(run, "one")
    # A constructor that never gets anywhere: what a proxy that drops the request looks like from within.
    visitor.page.add_init_script(
        "window.WebSocket = class extends EventTarget { static OPEN = 1; readyState = 0; close() {} };"
    )
    page = visitor.page
    page.goto(f"/runs/{run.pk}/")
    expect(page.locator(".live")).to_have_text(POLLED, timeout=LONG)
    expect(page.locator("#log .line")).to_have_count(1)


@pytest.mark.parametrize("path", ["/runs/", "/"])
def test_lists_are_polled_and_arrivals_still_wait(visitor: Visitor, path: str) -> None:
    stored.worker()
    first = stored.run("running", age=30)
    page, way = visitor.page, Way(visitor.page, "refused")
    page.goto(path)
    light = page.locator(".live")
    expect(light).to_have_text(POLLED, timeout=LONG)
    stored.run("running", age=1)
    if path == "/":
        expect(page.locator(".tile").filter(has_text="Running").locator(".value")).to_have_text("2")
    else:
        expect(page.get_by_role("link", name=re.compile("1 new run"))).to_be_visible()
        Run.objects.filter(pk=first.pk).update(status="completed", finished_at=timezone.now())
        expect(page.locator("tr[data-run]")).to_have_count(1)
        expect(page.locator("tr[data-run]")).to_contain_text("completed")
    light.click()
    expect(light).to_have_text("paused")
    light.click()
    expect(light).to_have_text(POLLED, timeout=LONG)
    way.mood = "open"
    expect(light).to_have_text("live", timeout=LONG)


def test_polling_that_gets_no_answer_is_stale(visitor: Visitor) -> None:
    stored.run("running", age=30)
    page = visitor.page
    Way(page, "refused")
    page.goto("/runs/")
    light = page.locator(".live")
    expect(light).to_have_text(POLLED, timeout=LONG)
    page.route("**/pulse/", lambda route: route.abort())
    expect(light).to_have_text("stale", timeout=LONG)
    page.unroute("**/pulse/")
    expect(light).to_have_text(POLLED, timeout=LONG)
    visitor.complaints = [c for c in visitor.complaints if "net::ERR_FAILED" not in c]
