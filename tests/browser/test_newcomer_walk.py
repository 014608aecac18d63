"""What somebody does who has just started Holdfast: try research-agent, watch it fail and go on, kill its worker."""

from __future__ import annotations

import re
import signal
import uuid
from collections import Counter

from playwright.sync_api import Page, expect

from runs.models import Attempt, Run, Snapshot
from tests.support import runs
from tests.support.browsing import Visitor
from tests.support.waiting import eventually

RUN_PAGE = re.compile(r"/runs/([0-9a-f-]{36})/$")
LONG = 60_000  # milliseconds: a whole run of research-agent


def try_research_agent(visitor: Visitor, topic: str, depth: int = 3) -> uuid.UUID:
    """From the front page by its links to the page of a new run, as a person goes."""
    page = visitor.page
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Tasks").click()
    page.wait_for_url("**/tasks/")
    if not page.get_by_role("link", name="research-agent").count():  # among the many tasks of other tests
        page.get_by_label("Task", exact=True).fill("research")
        page.get_by_role("button", name="Find").click()
    page.get_by_role("link", name="research-agent").click()
    page.get_by_label("topic").fill(topic)
    page.get_by_label("depth").fill(str(depth))
    page.get_by_role("button", name="Start run").click()
    page.wait_for_url(RUN_PAGE)
    page.evaluate("window.neverReloaded = true")
    found = RUN_PAGE.search(page.url)
    assert found is not None
    return uuid.UUID(found[1])


def watched_live(page: Page) -> None:
    """The page that is looked at is still the one that was opened, and says that it is live."""
    assert page.evaluate("window.neverReloaded"), "the page was loaded again; it should have changed by itself"
    expect(page.locator(".live")).to_have_attribute("data-live", "live")


def finished_steps(run_id: uuid.UUID) -> list[str]:
    return list(Snapshot.objects.filter(run_id=run_id, kind="step").order_by("sequence").values_list("key", flat=True))


def test_a_newcomer_sees_a_run_fail_retry_and_complete(visitor: Visitor) -> None:
    visitor.site.fleet.worker("kelp")
    page = visitor.page
    expect(page.locator(".verdict")).to_contain_text("Idle")

    run_id = try_research_agent(visitor, "tide pools")
    log, steps, status = page.locator("#log"), page.locator("#waterfall"), page.locator("#run-status")
    expect(log).to_contain_text("searching", timeout=LONG)
    expect(log).to_contain_text("found a page of")  # what it printed
    expect(steps).to_contain_text("search#1")
    watched_live(page)

    # Passing states are asserted by what they leave on the page: a loaded machine may show them only for a moment.
    expect(page.locator("#error")).to_contain_text("This demo fails once on purpose", timeout=LONG)
    expect(steps).to_contain_text(re.compile("wait(s|ed) (for|before) the next attempt"), timeout=LONG)
    expect(steps.locator('[data-status="failed"]').first).to_contain_text("attempt 1")
    expect(steps).to_contain_text("attempt 2", timeout=LONG)
    expect(log).to_contain_text("reading https://example.org/tide-pools-history", timeout=LONG)  # from stdlib logging

    expect(status).to_contain_text("completed", timeout=LONG)
    expect(page.locator("#run-result")).to_contain_text("3 sources on tide pools")
    expect(steps).to_contain_text("summarize#1")
    expect(page.locator("#snapshots")).to_contain_text("checkpoint")
    watched_live(page)

    assert [(a.number, a.status) for a in runs.attempts(run_id)] == [(1, "failed"), (2, "completed")]
    assert max(Counter(finished_steps(run_id)).values()) == 1
    assert page.locator("#log .line").filter(has_text="searching").count() == 3


def test_a_killed_worker_does_not_stop_a_run_that_is_watched(visitor: Visitor) -> None:
    fleet = visitor.site.fleet
    workers = {name: fleet.worker(name) for name in ("kelp", "wrack")}
    page = visitor.page
    run_id = try_research_agent(visitor, "storms", depth=6)

    # Attempt 2 reads one source after another: kill its worker after the second.
    eventually(lambda: "read#2" in finished_steps(run_id), "two sources are read")
    holder = Attempt.objects.select_related("worker").get(run_id=run_id, finished_at=None).worker
    assert holder is not None
    workers[holder.name].signal(signal.SIGKILL)
    kept = finished_steps(run_id)

    expect(page.locator('#waterfall [data-status="crashed"]')).to_be_visible(timeout=LONG)
    expect(page.locator("#run-status")).to_contain_text("completed", timeout=LONG)
    expect(page.locator("#run-result")).to_contain_text("6 sources on storms")
    watched_live(page)

    run = Run.objects.get(pk=run_id)
    attempts = runs.attempts(run_id)
    assert [a.status for a in attempts] == ["failed", "crashed", "completed"]
    assert attempts[1].worker_id != attempts[2].worker_id
    assert finished_steps(run_id)[: len(kept)] == kept
    assert max(Counter(finished_steps(run_id)).values()) == 1, "no finished step was called again"
    assert run.crashes == 1


def test_the_log_has_neither_gap_nor_double_after_the_web_process_was_killed(visitor: Visitor) -> None:
    visitor.site.fleet.worker("kelp")
    page = visitor.page
    run_id = try_research_agent(visitor, "currents")
    expect(page.locator("#log")).to_contain_text("searching", timeout=LONG)
    visitor.site.restart_web()
    expect(page.locator("#run-status")).to_contain_text("completed", timeout=LONG)
    expect(page.locator("#log")).to_contain_text("done")
    visitor.complaints.clear()  # the browser complains of the connection that was cut
    watched_live(page)
    shown = page.locator("#log .line .text").all_inner_texts()
    stored = [line.message for line in runs.lines(run_id)]
    assert len(shown) == len(stored)
    assert all(text.startswith(message) for text, message in zip(shown, stored, strict=True))


def test_without_websockets_the_page_polls_and_tells_the_same(visitor: Visitor) -> None:
    visitor.site.fleet.worker("kelp")
    page = visitor.page
    page.route_web_socket(re.compile(".*"), lambda socket: socket.close(code=1006 - 6, reason="blocked"))
    run_id = try_research_agent(visitor, "fog", depth=1)
    expect(page.locator("#run-status")).to_contain_text("completed", timeout=LONG)
    expect(page.locator("#run-result")).to_contain_text("1 sources on fog")
    expect(page.locator("#log .line")).to_have_count(len(runs.lines(run_id)))
