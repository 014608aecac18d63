"""What a page asked for once only, and what it said of an answer that it did not get."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.test_nothing_stands_still import told
from tests.support import stored
from tests.support.browsing import Visitor


def test_how_many_runs_fit_is_asked_again_if_it_could_not_be_told(visitor: Visitor) -> None:
    for n in range(3):
        stored.run("failed", "echo", age=600 - n, error=stored.error())
    page = visitor.page
    page.goto("/runs/?q=status:failed")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/matching/" in request.url else None)
    page.route("**/matching/**", lambda route: route.fulfill(status=503), times=1)
    rows, take = page.locator(".pick input[name=id]"), page.get_by_role("button", name="Take all 3 runs that fit")
    with page.expect_response("**/matching/**"):
        rows.nth(0).click()
    expect(take).to_have_count(0)
    rows.nth(1).click()
    expect(take).to_be_visible()
    rows.nth(2).click()
    expect(page.locator("[data-picked]")).to_have_text("3 selected")
    assert len(asked) == 2, "once it is known it is not asked for"
    told(visitor, "503")


def test_a_filter_of_the_log_that_is_refused_says_nothing_of_what_fits(visitor: Visitor) -> None:
    run = stored.run("completed")
    stored.lines(run, "one", "two")
    page = visitor.page
    page.goto(f"/runs/{run.pk}/?q={'x' * 1000}")
    foot = page.locator("#log .foot")
    expect(foot).to_contain_text("2 lines")
    expect(foot).not_to_contain_text("fit")
    told(visitor, "422")
