"""The page of a run when an answer fails, comes late or never: what it shows is whole again without being reloaded."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from runs.models import Run
from tests.browser.test_runs_live import opened
from tests.support import stored
from tests.support.browsing import Visitor

MANY = 2_450
AGAIN = 20_000  # milliseconds in which the page has asked again
LINES, OVERVIEW = re.compile("/log/lines/"), re.compile("/steps/overview/")


@pytest.fixture
def forgiving(visitor: Visitor) -> Iterator[Visitor]:
    """Whose console may say that something failed."""
    yield visitor
    expected = ("net::ERR_FAILED", "status of 500", "Status Error Code 500", "htmx:")
    visitor.complaints = [c for c in visitor.complaints if not any(words in c for words in expected)]


class Held:
    """Requests that are not answered until they are let through; from then on none is held."""

    def __init__(self, page: Page, what: str | re.Pattern[str]) -> None:
        self.routes = list[Route]()
        self.is_open = False
        page.route(what, self.hold)

    def hold(self, route: Route) -> None:
        if self.is_open:
            route.continue_()
        else:
            self.routes.append(route)

    def let_through(self) -> None:
        self.is_open = True
        for route in self.routes:
            route.continue_()


def refuse(page: Page, what: str | re.Pattern[str]) -> None:
    """The next request does not get there. It is refused before one that is held."""
    page.route(what, lambda route: route.abort(), times=1)


def long_run(status: str = "completed") -> Run:
    """A run of which a page holds a part."""
    run = stored.run(status, age=60)
    stored.attempt(run, 1, status)
    stored.snapshots(run, 1, MANY)
    return run


def shown(page: Page) -> list[int]:
    """The numbers in the table of snapshots."""
    rows = page.locator("#snapshots tr[data-sequence]")
    return [int(n) for n in rows.evaluate_all("rows => rows.map((row) => row.dataset.sequence)")]


def detail(page: Page, number: int) -> Locator:
    return page.locator(f'#snapshots tr[data-sequence="{number}"] + .detail')


def press(page: Page, number: int) -> None:
    page.locator(f'#snapshots tr[data-sequence="{number}"] button').click()


def test_a_filter_whose_lines_could_not_be_loaded_is_asked_for_again(forgiving: Visitor) -> None:
    run = stored.run("running")
    stored.lines(run, "hello", "careful")
    stored.lines(run, "adding", step="add#2")
    page, _ = opened(forgiving, f"/runs/{run.id}/")
    lines, foot = page.locator("#log .line"), page.locator("#log .foot")
    expect(lines).to_have_count(3)
    again = Held(page, LINES)
    refuse(page, LINES)
    page.get_by_label("Step", exact=True).fill("add")
    expect(foot).to_contain_text("Lines could not be loaded; trying again. 3 lines")  # and not that they fit
    stored.lines(run, "adding more", step="add#3")
    expect(foot).to_contain_text("4 lines")
    assert lines.count() == 3, "one that fits is not put behind some that do not"
    again.let_through()
    expect(lines).to_have_count(2, timeout=AGAIN)
    expect(foot).to_have_text("2 lines fit · 4 lines")


def test_steps_that_are_opened_while_another_one_loads_all_show_what_they_hold(visitor: Visitor) -> None:
    run = stored.run("completed")
    stored.attempt(run, 1, "completed")
    stored.snapshots(run, 1, 3)
    page, _ = opened(visitor, f"/runs/{run.id}/")
    first = Held(page, "**/snapshots/1/")
    for number in (1, 2, 3):
        press(page, number)
    for number in (2, 3):
        expect(detail(page, number)).to_contain_text(f"Step add#{number}")
    first.let_through()
    expect(detail(page, 1)).to_contain_text("Step add#1")


def test_a_step_that_could_not_be_loaded_says_so_and_is_asked_for_when_it_is_opened_again(forgiving: Visitor) -> None:
    run = stored.run("completed")
    stored.attempt(run, 1, "completed")
    stored.snapshots(run, 1, 2)
    page, _ = opened(forgiving, f"/runs/{run.id}/")
    refuse(page, "**/snapshots/1/")
    page.route("**/snapshots/2/", lambda route: route.fulfill(status=500, body="out of order"), times=1)
    for number in (1, 2):
        press(page, number)
        expect(detail(page, number)).to_have_text(
            "What this snapshot holds could not be loaded. Open it again to ask for it again."
        )
    press(page, 1)
    expect(detail(page, 1)).to_contain_text("Step add#1")
    page.locator("#waterfall").get_by_role("button", name="add#2").click()
    expect(detail(page, 2)).to_contain_text("Step add#2")
    press(page, 2)
    expect(detail(page, 2)).to_have_count(0)


def test_the_overview_of_a_run_that_is_over_is_asked_for_again(forgiving: Visitor) -> None:
    run = long_run()
    page = forgiving.page
    again = Held(page, OVERVIEW)
    refuse(page, OVERVIEW)
    opened(forgiving, f"/runs/{run.id}/")
    earlier = page.locator("#snapshots-pager").get_by_role("button", name="Earlier")
    earlier.click()
    expect(earlier).to_be_disabled()  # of what it was told there is no more
    again.let_through()
    expect(page.locator("#steps-count")).to_have_text(f"1 attempt, {MANY:,} steps finished", timeout=AGAIN)
    earlier.click()
    expect(page.locator("#snapshots-pager")).to_contain_text(f"1,851 to 2,050 of {MANY:,}")


def test_steps_that_are_never_answered_are_asked_for_again(visitor: Visitor) -> None:
    run = long_run()
    page = visitor.page
    page.add_init_script(
        "const after = AbortSignal.timeout.bind(AbortSignal); AbortSignal.timeout = () => after(2000);"
    )
    page.route(OVERVIEW, lambda route: None, times=1)
    opened(visitor, f"/runs/{run.id}/")
    expect(page.locator("#steps-count")).to_have_text(f"1 attempt, {MANY:,} steps finished", timeout=AGAIN)


def test_newest_has_no_hole_when_steps_arrive_while_it_loads_or_it_cannot_be_loaded(forgiving: Visitor) -> None:
    run = long_run("running")
    page, _ = opened(forgiving, f"/runs/{run.id}/")
    pager, last = page.locator("#snapshots-pager"), re.compile(r"/steps/\?after=2400")
    pager.get_by_role("button", name="Earlier").click()
    expect(pager).to_contain_text("2,051 to 2,250 of 2,450")
    refuse(page, last)
    pager.get_by_role("button", name="Newest").click()
    expect(page.locator("#toasts")).to_contain_text("These snapshots could not be loaded.")
    stored.snapshots(run, MANY + 1, MANY + 1)
    expect(pager).to_contain_text("2,051 to 2,250 of 2,451")
    assert shown(page) == list(range(2_051, 2_251))

    loading = Held(page, last)
    page.wait_for_function("() => !HoldfastRun.steps.asked.has(12)")  # the one that failed is forgotten
    with page.expect_request(last):
        pager.get_by_role("button", name="Newest").click()
    stored.snapshots(run, MANY + 2, MANY + 4)
    expect(pager).to_contain_text("of 2,454")
    loading.let_through()
    expect(pager).to_contain_text("2,255 to 2,454 of 2,454")
    stored.snapshots(run, MANY + 5, MANY + 5)
    expect(pager).to_contain_text("2,256 to 2,455 of 2,455")
    assert shown(page) == list(range(2_256, 2_456))


def test_a_page_of_steps_is_whole_although_the_waterfall_looks_elsewhere_meanwhile(visitor: Visitor) -> None:
    run = long_run()
    page, _ = opened(visitor, f"/runs/{run.id}/")
    expect(page.locator("#steps-count")).to_contain_text("steps finished")
    found = page.evaluate("""async () => {
      const steps = HoldfastRun.steps;
      steps.look(1, 1000);
      await steps.range(1, 1000);
      const asked = steps.range(1201, 1400);
      steps.look(1, 30);
      return (await asked).map((s) => s.sequence);
    }""")
    assert found == list(range(1_201, 1_401))
    assert page.evaluate("HoldfastRun.steps.ranges.size") == 0


def test_steps_that_were_asked_for_before_they_were_told_are_counted_and_shown(visitor: Visitor) -> None:
    run = long_run("running")
    page, _ = opened(visitor, f"/runs/{run.id}/")
    count = page.locator("#steps-count")
    expect(count).to_have_text(f"1 attempt, {MANY:,} steps finished")
    page.evaluate("Holdfast.live.pause()")
    stored.snapshots(run, MANY + 1, MANY + 3)
    page.evaluate(f"HoldfastRun.steps.range({MANY - 9}, {MANY})")
    page.evaluate("Holdfast.live.pause(false)")
    expect(count).to_have_text(f"1 attempt, {MANY + 3:,} steps finished", timeout=9_000)
    assert shown(page)[-4:] == list(range(MANY, MANY + 4))


def test_steps_that_the_overview_has_counted_are_not_counted_again_when_they_are_told(visitor: Visitor) -> None:
    run = long_run()
    page, _ = opened(visitor, f"/runs/{run.id}/")
    page.wait_for_function(f"() => HoldfastRun.steps.held.has({MANY})")
    finished = page.evaluate("""async () => {
      const { address, held, begun } = HoldfastRun.steps;
      const steps = await new Promise((done) => {
        const made = new HoldfastSteps.Steps(address, () => done(made));
        made.begin(begun);
      });
      steps.add([...held.values()]);
      return steps.finished;
    }""")
    assert finished == MANY


def test_the_page_comes_back_with_the_numbers_that_it_was_passed_over_for(visitor: Visitor) -> None:
    run = stored.run("running")
    stored.attempt(run)
    stored.snapshots(run, 1, 2)
    stored.snapshots(run, 5, 6)
    page, _ = opened(visitor, f"/runs/{run.id}/")
    expect(page.locator("#steps-count")).to_have_text("1 attempt, 4 steps finished")
    assert page.evaluate("['last', 6].map((told) => HoldfastRun.steps.cursor(told))") == ["last", "6,4,3"]
    many = long_run()
    page, _ = opened(visitor, f"/runs/{many.id}/")
    page.wait_for_function(f"() => HoldfastRun.steps.held.has({MANY})")
    assert page.evaluate(f"HoldfastRun.steps.cursor({MANY})") == str(MANY), "what was not told is not missing"
