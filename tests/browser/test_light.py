"""The live light tells the truth, and what was missed is caught up with: no gap, nothing twice."""

from __future__ import annotations

import signal

from playwright.sync_api import Locator, expect

from tests.browser.test_runs_live import opened
from tests.support import stored
from tests.support.browsing import Visitor


def shown(log: Locator) -> list[str]:
    return [text.strip() for text in log.locator(".line .text").all_inner_texts()]


def test_a_cut_socket_is_stale_and_what_was_missed_comes_once_when_it_is_back(visitor: Visitor) -> None:
    run = stored.run("running")
    stored.attempt(run)
    stored.lines(run, "one", "two")
    stored.snapshots(run, 1, 3)
    page, _ = opened(visitor, f"/runs/{run.id}/")
    light, log = page.locator(".live"), page.locator("#log")
    expect(log.locator(".line")).to_have_count(2)
    visitor.site.web.popen.kill()
    visitor.site.web.wait()
    expect(light).to_have_text("stale")
    stored.lines(run, "three", "four")
    stored.snapshots(run, 4, 5)
    expect(light).to_have_text("stale")
    visitor.site.restart_web()
    expect(light).to_have_text("live", timeout=40_000)
    expect(log.locator(".line")).to_have_count(4)
    stored.lines(run, "five")
    expect(log.locator(".line")).to_have_count(5)
    assert shown(log) == ["one", "two", "three", "four", "five"]
    expect(page.locator("#steps-count")).to_have_text("1 attempt, 5 steps finished")
    expect(page.locator("#snapshots tr[data-sequence]")).to_have_count(5)
    # The connections that broke are the browser's to report; nothing else was.
    visitor.complaints = [c for c in visitor.complaints if "net::ERR_" not in c and "WebSocket" not in c]


def test_a_server_that_falls_silent_is_stale_though_its_socket_is_open(visitor: Visitor) -> None:
    """Nothing says goodbye where a cable is pulled: only the missing beats tell."""
    run = stored.run("running")
    stored.attempt(run)
    page, _ = opened(visitor, f"/runs/{run.id}/")
    light = page.locator(".live")
    visitor.site.web.signal(signal.SIGSTOP)
    try:
        expect(light).to_have_text("stale", timeout=40_000)
        light.click()
        expect(light).to_have_text("paused")
        light.click()
        expect(light).to_have_text("stale")
    finally:
        visitor.site.web.signal(signal.SIGCONT)
    expect(light).to_have_text("live", timeout=40_000)
    visitor.complaints = [c for c in visitor.complaints if "net::ERR_" not in c and "WebSocket" not in c]


def test_a_run_that_is_deleted_under_its_page_is_told_to_its_reader(visitor: Visitor) -> None:
    run = stored.run("running")
    page, _ = opened(visitor, f"/runs/{run.id}/")
    expect(page.locator(".live")).to_have_text("live")
    run.delete()
    expect(page.locator("#toasts")).to_contain_text("This is not there any more. The page shows what it was told last.")
    expect(page.locator(".live")).to_have_text("stale")
