"""The pages on which people change something: a task's form, a queue's limit and pause, the demo shop."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Route, expect

from holdfast.access.grants import Actor
from queues.models import Queue
from queues.services import queue_pause
from runs.models import Run
from tests.support import stored
from tests.support.arrivals import came
from tests.support.browsing import PLOTLY, Visitor
from tests.support.waiting import eventually

WIDE = """
from datetime import date
from pydantic import BaseModel
from runs import task

class Window(BaseModel):
    start: date
    names: list[str] = []

class Mail(BaseModel):
    to: str

@task(id="wide")
async def wide(title: str, windows: list[Window], mail: Mail | None = None, loud: bool = False) -> str:
    return title
"""

RATE = {"amount": 1_000_000, "period": 60, "unit": "u" * 60}


def test_a_form_of_lists_and_groups_becomes_the_payload(visitor: Visitor, data_dir: Path) -> None:
    tasks = data_dir / "wide_tasks.py"
    tasks.write_text(WIDE)
    visitor.site.fleet.worker("kelp", HOLDFAST_TASKS=str(tasks))  # registers the task
    page = visitor.page
    page.goto("about:blank")
    visitor.site.restart_web(HOLDFAST_TASKS=str(tasks))
    page.goto("/tasks/wide/")
    page.get_by_label("title").fill("storm")
    page.get_by_role("button", name="Add windows").click()
    page.get_by_role("button", name="Add windows").click()
    page.get_by_label("start").nth(0).fill("2026-03-01")
    page.get_by_label("start").nth(1).fill("2026-03-02")
    page.get_by_role("button", name="Add names").nth(1).click()
    page.keyboard.type("ada")  # the new item has the focus
    page.get_by_label("mail").check()
    page.get_by_role("button", name="Start run").click()

    # The group was opened but not filled in: refused at its field, with everything else kept.
    expect(page.get_by_role("alert")).to_have_text("Nothing was started.")
    expect(page.get_by_label("to", exact=True)).to_be_focused()
    expect(page.get_by_label("start").nth(1)).to_have_value("2026-03-02")
    page.get_by_label("to", exact=True).fill("grace@example.org")
    page.get_by_role("button", name="Remove").first.click()
    page.keyboard.press("Control+Enter")
    page.wait_for_url("**/runs/*/")
    assert Run.objects.get().payload == {
        "title": "storm",
        "windows": [{"start": "2026-03-02", "names": ["ada"]}],
        "mail": {"to": "grace@example.org"},
        "loud": False,
    }


def test_a_limit_is_edited_where_it_stands_and_a_pause_says_why(visitor: Visitor) -> None:
    page = visitor.page
    page.goto("/queues/")
    row = page.locator("#llm-calls")
    row.locator("summary", has_text="of 4").click()
    row.get_by_label("Limit").fill("lots")
    row.get_by_role("button", name="Save").click()
    expect(row).to_contain_text("Write a whole number from 1 to 1,000,000")
    row.get_by_label("Limit").fill("7")
    row.get_by_role("button", name="Save").click()
    expect(row).to_contain_text("of 7")
    assert Queue.objects.get(name="llm-calls").concurrency_limit == 7

    row.locator("summary", has_text="Pause").click()
    row.get_by_label("Reason").fill("provider is down")
    row.get_by_role("button", name="Pause", exact=True).click()
    expect(row).to_contain_text("provider is down")
    row.get_by_role("button", name="Resume").click()
    expect(row).not_to_contain_text("provider is down")


def test_what_a_limit_would_have_done_is_drawn_before_it_is_saved(visitor: Visitor) -> None:
    queue = Queue.objects.create(name="imports", concurrency_limit=4)
    for n in range(40):
        came(queue, 3_600 - 20 * n, 60)
    page = visitor.page
    page.goto("/queues/")
    row = page.locator("#imports")
    row.locator("summary", has_text="of 4").click()
    row.get_by_label("Limit", exact=False).first.fill("1")
    row.get_by_role("button", name="What if?").click()
    shown = row.locator(".whatif")
    expect(shown).to_contain_text("40 runs since")
    expect(shown.locator("svg.main-svg").first).to_be_visible(timeout=PLOTLY)
    for width in (1280, 320):
        page.set_viewport_size({"width": width, "height": 1000})
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        box = row.locator(".edit > .box").bounding_box()
        figure = shown.locator(".plot").bounding_box()
        assert box
        assert figure
        assert box["x"] <= figure["x"]
        assert figure["x"] + figure["width"] <= box["x"] + box["width"]
    row.get_by_label("Limit", exact=False).first.fill("none at all")
    row.get_by_role("button", name="What if?").click()
    expect(shown).to_contain_text("Write a whole number")
    assert Queue.objects.get(name="imports").concurrency_limit == 4


def test_a_queue_with_every_limit_fits_on_a_phone(visitor: Visitor) -> None:
    Queue.objects.create(
        name="imports-of-a-tenant-with-a-long-name", pool="machines-with-a-graphics-card", concurrency_limit=1_000,
        key_concurrency_limit=1_000, rate_amount=100_000, rate_period=3_600,
    )  # fmt: skip
    visitor.page.set_viewport_size({"width": 320, "height": 800})
    visitor.page.goto("/queues/")
    expect(visitor.page.locator("#imports-of-a-tenant-with-a-long-name")).to_contain_text("100,000 per hour")
    assert visitor.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_who_pauses_a_queue_that_somebody_else_has_paused_meanwhile_reads_it_in_its_row(visitor: Visitor) -> None:
    page = visitor.page
    page.goto("/queues/")
    row = page.locator("#llm-calls")
    row.locator("summary", has_text="Pause").click()
    row.get_by_label("Reason").fill("mine")
    queue_pause("llm-calls", Actor.system("ann"), "provider is down")
    row.get_by_role("button", name="Pause", exact=True).click()
    expect(row.get_by_role("alert")).to_contain_text("ann paused it at")
    expect(row.get_by_role("alert")).to_contain_text("(provider is down), after queue llm-calls was shown to you")
    for width in (1280, 320):
        page.set_viewport_size({"width": width, "height": 1000})
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert Queue.objects.get(name="llm-calls").pause_reason == "provider is down"
    row.get_by_role("button", name="Resume").click()
    expect(row.get_by_role("button", name="Undo the change")).to_be_visible()
    expect(row.get_by_role("alert")).to_have_count(0)


def test_very_long_names_and_many_limits_break_instead_of_widening_the_page(visitor: Visitor) -> None:
    name = "shop." + "x" * 195
    of = stored.task(name, "q" * 100)
    limits = {f"{of_key}rate_{part}": value for of_key in ("", "key_") for part, value in RATE.items()}
    Queue.objects.filter(pk=of.queue_id).update(concurrency_limit=1_000, key_concurrency_limit=200, **limits)
    run = stored.run("failed", name, queue=of.queue, error=stored.error())
    page = visitor.page
    for width in (1280, 320):
        page.set_viewport_size({"width": width, "height": 900})
        for path in ("/queues/", "/tasks/?q=shop.", "/runs/", f"/runs/{run.pk}/", f"/tasks/{name}/"):
            page.goto(path)
            expect(page.get_by_text("q" * 100 if path == "/queues/" else name).first).to_be_attached()
            assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, (path, width)
        page.goto("/queues/")
        page.locator(f"#{of.queue.name}").locator("summary", has_text="Pause").click()
        expect(page.get_by_text(f"Pause {of.queue.name}?")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, ("Pause", width)


def test_what_was_asked_for_before_a_form_was_opened_does_not_close_it(visitor: Visitor) -> None:
    page = visitor.page
    asked: list[Route] = []
    page.goto("/queues/")
    row = page.locator("#llm-calls")
    page.route("**/queues/", lambda route: asked.append(route))  # the next look at the list is answered later
    page.evaluate("document.body.dispatchEvent(new CustomEvent('holdfast:changed'))")
    eventually(lambda: page.wait_for_timeout(20) or asked, "the page asks")
    row.locator("summary", has_text="Pause").click()
    row.get_by_label("Reason").fill("provider is down")
    with page.expect_response("**/queues/"):
        asked[0].continue_()
    expect(row.get_by_label("Reason")).to_have_value("provider is down")
    page.unroute("**/queues/")
    row.get_by_role("button", name="Pause").click()
    expect(row).to_contain_text("provider is down")


def test_the_queues_page_follows_what_happens(visitor: Visitor) -> None:
    page = visitor.page
    page.goto("/queues/")
    expect(page.locator("#workers")).to_contain_text("No worker is alive")
    visitor.site.fleet.worker("kelp")
    expect(page.locator("#workers")).to_contain_text("kelp")
    expect(page.locator(".live")).to_have_attribute("data-live", "live")


def test_an_order_in_the_shop_shows_its_receipt_by_itself(visitor: Visitor) -> None:
    visitor.site.fleet.worker("kelp")
    page = visitor.page
    page.goto("/demo/orders/")
    page.get_by_label("Customer").fill("Ada")
    page.get_by_label("Item").fill("kelp")
    page.get_by_role("button", name="Place order").click()
    expect(page.locator("#orders")).to_contain_text("1 × kelp for Ada")
    eventually(lambda: Run.objects.filter(task_id="send-receipt", status="completed").exists(), "the receipt is sent")
