"""What once made a page stand still, or forget where its reader was, while its light said "live"."""

from __future__ import annotations

import uuid
from datetime import timedelta

from django.db import transaction
from django.utils import timezone
from playwright.sync_api import expect

from queues.models import Lease
from runs.models import Run, Update, Wait
from tests.browser.test_runs_live import opened
from tests.support import stored
from tests.support.browsing import Visitor

LATER = "const now = performance.now.bind(performance); performance.now = () => now() + {milliseconds};"
#: Counts the looks whether a list may be redrawn: they are half a second apart.
LOOKS = """
    window.looks = [];
    const set = window.setTimeout;
    window.setTimeout = (act, wait, ...rest) => {
        if (wait === 500) window.looks.push(performance.now());
        return set(act, wait, ...rest);
    };
"""


def told(visitor: Visitor, word: str) -> None:
    """Leaves out what the browser says of an answer that the test spoilt."""
    visitor.complaints = [said for said in visitor.complaints if word not in said and "htmx:" not in said]


def end(run: Run, **fields: object) -> None:
    Run.objects.filter(pk=run.pk).update(
        **{"status": "completed", "finished_at": timezone.now(), "waiting_for": None, **fields}
    )


def test_a_command_that_was_unfolded_in_a_closed_question_does_not_hold_the_page(visitor: Visitor) -> None:
    run = stored.run("queued")
    page, _ = opened(visitor, f"/runs/{run.pk}/")
    cancel = page.locator("#run-actions details.confirm").filter(has_text="Command line and HTTP").first
    cancel.locator("summary").first.click()
    cancel.locator(".elsewhere summary").click()
    page.keyboard.press("Escape")
    expect(cancel).not_to_have_attribute("open", "")
    end(run, started_at=timezone.now())
    expect(page.locator("#run-status")).to_have_text("completed")


def test_the_end_of_a_run_is_asked_for_again_when_it_could_not_be_fetched(visitor: Visitor) -> None:
    run = stored.run("running")
    page, _ = opened(visitor, f"/runs/{run.pk}/")
    page.route(f"**/runs/{run.pk}/", lambda route: route.fulfill(status=503), times=1)
    end(run)
    expect(page.locator("#run-status")).to_have_text("completed")
    told(visitor, "503")


def test_a_run_that_waits_for_the_next_thing_says_so_everywhere(visitor: Visitor) -> None:
    run = stored.run("running")
    stored.attempt(run)
    page, _ = opened(visitor, f"/runs/{run.pk}/")
    first = stored.wait(run, "signal", "paid")
    Run.objects.filter(pk=run.pk).update(status="waiting", waiting_for={"what": "signal paid"})
    waits, row = page.locator("#run-waits"), page.locator("#waterfall")
    expect(waits).to_contain_text("paid")
    expect(row).to_contain_text("waits for signal paid")
    with transaction.atomic():
        Wait.objects.filter(pk=first.pk).update(resolved_at=timezone.now(), outcome="completed")
        stored.wait(run, "signal", "shipped", age=0)
        Run.objects.filter(pk=run.pk).update(waiting_for={"what": "signal shipped"})
    expect(waits).to_contain_text("shipped")
    expect(waits).not_to_contain_text("paid")
    expect(row).to_contain_text("waits for signal shipped")


def test_children_are_followed_after_the_end_of_their_parent(visitor: Visitor) -> None:
    parent = stored.run("completed")
    child = stored.run("running", parent_id=parent.pk)
    page, _ = opened(visitor, f"/runs/{parent.pk}/")
    children = page.locator("#run-children")
    expect(children).to_contain_text("1 running")
    end(child)
    expect(children).to_contain_text("1 completed")


def test_who_reads_the_children_stays_where_they_are(visitor: Visitor) -> None:
    parent = stored.run("running")
    for number in range(60):
        stored.run("running", parent_id=parent.pk, age=50 - number / 10)
    page, _ = opened(visitor, f"/runs/{parent.pk}/")
    children = page.locator("#run-children")
    children.locator(".children-scroll").evaluate("e => { e.scrollTop = 300; }")
    last = Run.objects.filter(parent_id=parent.pk).order_by("id")[45]
    end(last)
    expect(children).to_contain_text("1 completed")
    assert children.locator(".children-scroll").evaluate("e => e.scrollTop") == 300
    children.get_by_role("button", name="Next").click()
    expect(children.locator("tbody tr")).to_have_count(10)
    with page.expect_response(f"**/runs/{parent.pk}/"):
        Run.objects.filter(pk=parent.pk).update(attempt=2)
    expect(page.locator("#run-summary[data-attempt-now='2']")).to_be_visible()
    expect(children.locator("tbody tr")).to_have_count(10)


def test_the_answer_of_an_update_appears_though_nothing_else_of_the_run_changes(visitor: Visitor) -> None:
    run = stored.run("running")
    asked = {"id": uuid.uuid4(), "name": "pace", "payload": 7, "sent_at": timezone.now() - timedelta(seconds=9)}
    update = Update.objects.create(run=run, **asked)
    page, _ = opened(visitor, f"/runs/{run.pk}/")
    updates = page.locator("#run-updates")
    expect(updates).to_contain_text("none yet")
    Update.objects.filter(pk=update.pk).update(outcome="refused", reason="too quick", answered_at=timezone.now())
    expect(updates).to_contain_text("refused: too quick")


def test_what_was_unfolded_stays_so_when_the_run_gets_on(visitor: Visitor) -> None:
    run = stored.run("retrying", error=stored.error())
    page, _ = opened(visitor, f"/runs/{run.pk}/")
    page.locator("#error summary", has_text="Traceback").click()
    Run.objects.filter(pk=run.pk).update(status="running")
    expect(page.locator("#run-summary[data-status-now=running]")).to_be_visible()
    expect(page.locator("#error details")).to_have_attribute("open", "")


def test_a_list_that_is_held_for_long_looks_no_oftener_for_it(visitor: Visitor) -> None:
    """Each change began another row of looks, twice a second each: the tab got slower until it hung."""
    stored.run("queued", age=30)
    visitor.page.add_init_script(LOOKS)
    page, socket = opened(visitor, "/runs/")
    page.locator("tr[data-run] input[type=checkbox]").check()
    for _ in range(4):
        with socket.expect_event("framereceived", lambda text: "changed" in text):
            stored.run("queued", age=1)
    page.evaluate("window.looks = []")
    page.wait_for_function("() => window.looks.length >= 8")
    assert page.evaluate("window.looks[7] - window.looks[3]") > 1_500  # four looks, half a second apart


def test_a_worker_whose_run_was_looked_at_is_up_to_date_again_after_a_minute(visitor: Visitor) -> None:
    worker = stored.worker()
    run = stored.held(stored.run("running"), worker)
    stored.attempt(run, worker=worker)
    visitor.page.add_init_script(LOOKS)
    page, _ = opened(visitor, f"/workers/{worker.pk}/")
    held = page.locator("#worker")
    held.evaluate("e => e.insertAdjacentHTML('beforeend', '<div data-looked>here</div>')")
    end(run, worker=None)
    Lease.objects.all().delete()
    stored.run("queued")  # lists are told of it
    page.wait_for_function("() => window.looks.length >= 2")
    expect(held).to_contain_text("sums")
    page.evaluate(LATER.format(milliseconds=70_000))
    expect(held).not_to_contain_text("sums")


def test_a_chart_that_had_nothing_to_draw_draws_what_comes(visitor: Visitor) -> None:
    page, _ = opened(visitor, "/")
    expect(page.locator("[data-chart][data-state=note]").first).to_be_visible()
    stored.ended(20)
    page.evaluate(LATER.format(milliseconds=16_000))
    stored.run("failed", error=stored.error())
    expect(page.locator("[data-chart] .main-svg").first).to_be_visible(timeout=30_000)


def test_an_error_is_said_once_however_often_it_comes(visitor: Visitor) -> None:
    page, _ = opened(visitor, "/")
    page.evaluate("for (let n = 0; n < 5; n += 1) Holdfast.toast('The server cannot be reached.', 'error')")
    expect(page.locator("#toasts .toast")).to_have_count(1)
