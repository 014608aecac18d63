"""The list of runs and the page of one run while things happen, in a real browser."""

from __future__ import annotations

import re

from django.utils import timezone
from playwright.sync_api import APIResponse, Page, Route, WebSocket, expect

from runs.models import Run
from tests.support import stored
from tests.support.browsing import PLOTLY, Visitor
from tests.support.waiting import eventually

MANY = 20_000


def opened(visitor: Visitor, path: str) -> tuple[Page, WebSocket]:
    """The page and its own websocket: that of the page before may open as late as now, so that page is left first."""
    visitor.page.goto("about:blank")
    with visitor.page.expect_websocket() as socket:
        visitor.page.goto(visitor.site.url + path)
    expect(visitor.page.locator(".live")).to_have_attribute("data-live", "live")
    return visitor.page, socket.value


def arrive(socket: WebSocket) -> None:
    """A new run, and the page has been told of it."""
    with socket.expect_event("framereceived", lambda text: "changed" in text):
        stored.run("queued", age=1)


def test_arrivals_wait_and_rows_stay_where_they_are(visitor: Visitor) -> None:
    first = stored.run("running", age=30)
    page, _ = opened(visitor, "/runs/")
    row = page.locator("tr[data-run]")
    expect(row).to_have_count(1)
    stored.run("queued", age=1)
    stored.run("queued", age=1)
    expect(page.get_by_role("link", name="2 new runs")).to_be_visible()
    Run.objects.filter(pk=first.pk).update(status="completed", finished_at=timezone.now())
    stored.run("queued", age=1)
    arrivals = page.get_by_role("link", name="3 new runs")
    expect(arrivals).to_be_visible()
    expect(row).to_have_count(1)
    expect(row).to_contain_text("completed")
    arrivals.click()
    expect(row).to_have_count(4)


def test_nothing_changes_under_selected_text_or_while_paused(visitor: Visitor) -> None:
    stored.run("queued", age=30)
    page, socket = opened(visitor, "/runs/")
    arrivals = page.locator(".arrivals")
    page.evaluate("getSelection().selectAllChildren(document.querySelector('tr[data-run] .id'))")
    arrive(socket)
    arrive(socket)  # two seconds later: had the first one changed the page, it would show by now
    expect(arrivals).to_have_count(0)
    page.evaluate("getSelection().removeAllRanges()")
    expect(arrivals).to_have_text("2 new runs: show")

    with socket.expect_event("close"):
        page.locator(".live").click()
    expect(page.locator(".live")).to_have_text("paused")
    stored.run("queued", age=1)
    with page.expect_websocket():
        expect(arrivals).to_have_text("2 new runs: show")
        page.locator(".live").click()
    expect(arrivals).to_have_text("3 new runs: show")


def test_a_filter_is_in_the_address_and_back_brings_the_page_before(visitor: Visitor) -> None:
    stored.run("failed", error=stored.error())
    stored.run("completed", "sync")
    page, _ = opened(visitor, "/runs/")
    page.get_by_role("link", name="Failed").click()
    expect(page.locator("tr[data-run]")).to_have_count(1)
    page.get_by_label("Task").select_option("sync")
    page.wait_for_url(re.compile("task=sync"))
    expect(page.get_by_text("No run fits")).to_be_visible()
    page.go_back()
    expect(page.locator("tr[data-run]")).to_have_count(1)


def test_back_brings_the_whole_page_also_after_it_has_refreshed_itself(visitor: Visitor) -> None:
    stored.run("running", age=30)
    page, _ = opened(visitor, "/")
    with page.expect_response(lambda answer: bool(answer.request.headers.get("hx-request")) and answer.url == page.url):
        stored.run("failed", error=stored.error())
    title, navigation = page.title(), page.get_by_role("navigation").first
    navigation.get_by_role("link", name="Queues").click()
    expect(page).to_have_url(re.compile("/queues/$"))
    page.go_back()
    expect(page).to_have_url(visitor.site.url + "/")
    expect(page).to_have_title(title)
    expect(navigation.get_by_role("link", name="Queues")).to_be_visible()


#: htmx does not listen for a part that it has just put there, before it has settled: until the test says so.
SETTLES_WHEN_TOLD = """() => {
    const set = window.setTimeout, settling = [], mark = 54321;
    htmx.config.defaultSettleDelay = mark;
    window.setTimeout = (act, wait, ...rest) => (wait === mark ? settling.push(act) : set(act, wait, ...rest));
    window.settle = () => settling.forEach((act) => act());
}"""


def test_a_run_that_ends_while_its_page_is_being_put_up_to_date_is_shown_to_have_ended(visitor: Visitor) -> None:
    run = stored.run("queued")
    page, socket = opened(visitor, f"/runs/{run.id}/")
    page.evaluate(SETTLES_WHEN_TOLD)
    Run.objects.filter(pk=run.pk).update(status="running", started_at=timezone.now())
    expect(page.locator("#run-summary[data-status-now=running]")).to_be_visible()
    with socket.expect_event("framereceived", lambda text: '"completed"' in text):
        Run.objects.filter(pk=run.pk).update(status="completed", finished_at=timezone.now())
    expect(page.locator("#run-summary.htmx-settling")).to_be_visible()
    page.evaluate("settle()")
    expect(page.locator("#run-status")).to_have_text("completed")


def test_what_could_not_be_drawn_is_drawn_when_the_page_is_told_again(visitor: Visitor) -> None:
    run = stored.run("queued")
    page, _ = opened(visitor, f"/runs/{run.id}/")
    page.route(f"**/runs/{run.id}/", lambda route: route.abort(), times=1)
    with page.expect_event("requestfailed"):
        Run.objects.filter(pk=run.pk).update(status="running", started_at=timezone.now())
    light = page.locator(".live")
    light.click()
    expect(light).to_have_text("paused")
    light.click()
    expect(page.locator("#run-status")).to_have_text("running")
    visitor.complaints = [c for c in visitor.complaints if "net::ERR_FAILED" not in c and "htmx:" not in c]


def test_what_changes_while_a_list_is_being_asked_for_is_asked_for_next(visitor: Visitor) -> None:
    stored.run("running", age=30)
    page, socket = opened(visitor, "/runs/")
    late: list[tuple[Route, APIResponse]] = []

    def answered() -> bool:
        page.wait_for_timeout(20)  # in which Playwright takes what has come
        return bool(late)

    page.route("**/runs/?*", lambda route: late.append((route, route.fetch())), times=1)
    with page.expect_request("**/runs/?*"):
        arrive(socket)
    arrive(socket)
    page.evaluate("new Promise((done) => setTimeout(done))")  # the page has heard of it
    eventually(answered, "the server has answered")
    [(route, answer)] = late
    route.fulfill(response=answer)
    expect(page.locator(".arrivals")).to_have_text("2 new runs: show", timeout=8_000)


def bounded(page: Page) -> bool:
    """Whether the browser holds a part of the run, and not all of it."""
    rows, snapshots = page.locator("#waterfall li").count(), page.locator("#snapshots tr[data-sequence]").count()
    return rows < 100 and snapshots <= 200 and page.evaluate("document.getElementsByTagName('*').length") < 4_000


def test_a_run_of_twenty_thousand_steps_keeps_the_page_quick(visitor: Visitor) -> None:
    run = stored.run("running", age=3)
    stored.attempt(run, worker=stored.worker())
    stored.snapshots(run, 1, 11_999)
    stored.snapshots(run, 12_000, 12_000, kind="failure")
    stored.snapshots(run, 12_001, MANY)
    page, _ = opened(visitor, f"/runs/{run.id}/")
    expect(page.locator("#steps-count")).to_have_text("1 attempt, 19,999 steps finished", timeout=30_000)
    assert bounded(page)
    waterfall = page.locator("#waterfall")
    waterfall.evaluate("e => { e.scrollTop = e.scrollHeight; }")
    last = waterfall.get_by_role("button", name=f"add#{MANY}", exact=True)
    expect(last).to_be_visible()
    last.click()
    expect(page.locator("#snapshots .detail")).to_contain_text("Step add#20000")

    page.get_by_label("Go to step").fill("5000")
    page.keyboard.press("Enter")
    early = waterfall.get_by_role("button", name="add#5000", exact=True)
    expect(early).to_be_visible()
    early.click()
    expect(page.locator("#snapshots .detail")).to_contain_text("Step add#5000")
    page.get_by_role("button", name="Next of 1 failed try").click()
    expect(waterfall.get_by_role("button", name="add#12000", exact=True)).to_be_visible()
    assert waterfall.locator(".wf-density rect.bad").count() == 1
    pager = page.locator("#snapshots-pager")
    pager.get_by_role("button", name="Newest").click()
    expect(pager).to_contain_text("19,801 to 20,000 of 20,000")
    pager.get_by_role("button", name="Earlier").click()
    expect(pager).to_contain_text("19,601 to 19,800 of 20,000")
    stored.snapshots(run, MANY + 1, MANY + 7)
    expect(page.locator("#steps-count")).to_have_text("1 attempt, 20,006 steps finished")
    expect(pager).to_contain_text("of 20,007")
    for place in range(0, MANY, 2_500):  # what is out of sight is let go
        waterfall.evaluate(f"e => {{ e.scrollTop = {place * 28}; }}")
        there = waterfall.get_by_role("button", name=f"add#{place + 3}", exact=True)
        expect(there).to_be_attached(timeout=20_000)
    assert bounded(page)
    assert page.evaluate("HoldfastRun.steps.held.size") < 2_500


def test_children_are_shown_page_by_page(visitor: Visitor) -> None:
    run = stored.run("running")
    stored.attempt(run)
    for number in range(120):
        stored.run("completed", parent_id=run.id, age=59 - number / 10)
    page, _ = opened(visitor, f"/runs/{run.id}/")
    children = page.locator("#run-children")
    expect(children.locator("tbody tr")).to_have_count(50)
    children.get_by_role("button", name="Next").click()
    expect(children.get_by_role("button", name="First")).to_be_visible()
    children.get_by_role("button", name="Next").click()
    expect(children.locator("tbody tr")).to_have_count(20)
    children.get_by_role("button", name="First").click()
    expect(children.get_by_role("button", name="First")).to_have_count(0)


def test_steps_open_to_what_they_hold_and_the_log_is_narrowed(visitor: Visitor) -> None:
    run = stored.run("completed", output={"sum": 3})
    stored.attempt(run, 1, "completed")
    stored.snapshots(run, 1, 2, input={"a": 1}, output=12345678901234567890)
    stored.lines(run, "hello")
    stored.lines(run, "adding", step="add#2")
    stored.lines(run, "careful", level=30)
    page, _ = opened(visitor, f"/runs/{run.id}/")
    page.locator("#waterfall").get_by_role("button", name="add#2").click()
    detail = page.locator("#snapshots .detail")
    expect(detail).to_contain_text("12345678901234567890")
    page.locator("#snapshots").get_by_role("button", name="add#2").click()
    expect(detail).to_have_count(0)

    log = page.locator("#log .line")
    expect(log).to_have_count(3)
    page.get_by_label("Step", exact=True).fill("add")
    expect(log).to_have_count(1)
    expect(log).to_contain_text("adding")
    expect(page.locator("#log .foot")).to_have_text("1 line fits · 3 lines")
    page.get_by_label("Step", exact=True).fill("")
    expect(log).to_have_count(3)
    page.get_by_label("Lowest level").select_option("warning and above")
    expect(log).to_have_count(1)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    text = download.value.path().read_text()
    assert [line.split()[-1] for line in text.splitlines()] == ["hello", "adding", "careful"]


def test_hostile_lines_and_payloads_are_shown_inert(visitor: Visitor) -> None:
    script = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    run = stored.run("completed", payload={"\u202eyek": f"\u202e{script}"}, output={"text": f"{script}\x1b[31m"})
    stored.lines(run, f"\x1b[31mred\x1b[0m {script}", "\u202eseil\u202c \x07\x08\x9b bell", "L" * 1_000_000)
    page, _ = opened(visitor, f"/runs/{run.id}/")
    log = page.locator("#log .lines")
    expect(log.locator(".ansi-31")).to_have_text("red")
    expect(log).to_contain_text(script)
    expect(log).to_contain_text("\\u202eseil\\u202c")
    expect(log).to_contain_text("more characters in the download")
    payload = page.locator(".json .tree", has_text="yek")
    expect(payload).to_contain_text(f"\\u202eyek: \\u202e{script}")
    expect(page).not_to_have_title("owned")
    assert page.locator("#log img, .json img, .json script").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_times_of_a_log_and_of_snapshots_are_utc_in_every_zone(visitor: Visitor) -> None:
    run = stored.run("completed")
    at = timezone.now().replace(hour=20, minute=4, second=53, microsecond=807_000)
    stored.lines(run, "said", at=at)
    stored.snapshots(run, 1, 1, finished_at=at)
    visitor.page.context.new_cdp_session(visitor.page).send(
        "Emulation.setTimezoneOverride", {"timezoneId": "Asia/Tokyo"}
    )
    page, _ = opened(visitor, f"/runs/{run.id}/")
    expect(page.locator("#log .line time")).to_have_text("20:04:53.807Z")
    expect(page.locator("#snapshots time").first).to_have_text("20:04:53Z")


def test_long_names_do_not_widen_the_list(visitor: Visitor) -> None:
    name = "a-very-long-name-" * 6
    stored.run("completed", name)
    page, _ = opened(visitor, "/runs/")
    for width in (1280, 320):
        page.set_viewport_size({"width": width, "height": 900})
        expect(page.get_by_role("link", name=name)).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width


def test_cancel_asks_first_and_says_what_it_did(visitor: Visitor) -> None:
    run = stored.run("queued")
    page, _ = opened(visitor, f"/runs/{run.id}/")
    page.locator("#run-actions details.confirm > summary").click()
    page.get_by_role("button", name="Cancel the run").click()
    expect(page.locator("#run-status")).to_contain_text("cancelled")
    expect(page.get_by_text("The run is cancelled.")).to_be_visible()
    expect(page.locator("#run-actions")).to_contain_text("Retry")


def test_now_draws_its_charts_and_changes_by_itself(visitor: Visitor) -> None:
    stored.worker()
    stored.ended(20, seconds=2)
    stored.ended(5, "failed")
    page, _ = opened(visitor, "/")
    expect(page.locator(".verdict")).to_contain_text("Failing: 5 of 25 runs")
    expect(page.locator("[data-chart*=failure-rate] .main-svg").first).to_be_visible(timeout=PLOTLY)
    page.locator("[data-chart*=durations]").scroll_into_view_if_needed()
    expect(page.locator("[data-chart*=durations] .bars").first).to_be_visible(timeout=PLOTLY)
    page.evaluate("window.neverReloaded = true")
    stored.run("running")
    tile = page.locator(".tile").filter(has_text="Running").locator(".value")
    expect(tile).to_have_text("1")
    assert page.evaluate("window.neverReloaded")
