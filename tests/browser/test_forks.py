"""A run forked from a snapshot with another state, and compared with what came of it, in the browser."""

from __future__ import annotations

from playwright.sync_api import expect

from holdfast.access.grants import Actor
from runs import services
from runs.models import Run, Snapshot
from tests.browser.test_pages_for_everyone import still_violates
from tests.support.browsing import Visitor
from tests.support.processes import Fleet
from tests.support.waiting import eventually


def test_a_run_is_forked_from_a_snapshot_and_compared_with_the_old_one(retrying: Fleet, visitor: Visitor) -> None:
    page = visitor.page
    retrying.worker("kelp")
    old, _ = services.task_enqueue("forks", {}, {}, actor=Actor.system("test"))
    eventually(lambda: Run.objects.get(pk=old).status == "completed", "the run has completed")

    page.goto(f"/runs/{old}/")
    page.locator("#snapshots .wf-open").nth(1).click()
    page.get_by_role("link", name="Fork from here").click()
    page.wait_for_url("**/snapshots/2/fork/")
    expect(page.get_by_label("State")).to_have_value('{\n  "rate": 1\n}')
    for width, theme in ((1280, "light"), (320, "dark")):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")  # type: ignore[arg-type]
        assert still_violates(page) == []
    page.set_viewport_size({"width": 1280, "height": 900})
    page.get_by_label("State").fill("{rate: 5}")
    page.get_by_role("button", name="Fork").click()
    expect(page.locator(".field.bad")).to_contain_text("JSON")
    page.get_by_label("State").fill('{"rate": 5}')
    page.get_by_label("Reason").fill("another rate")
    page.get_by_role("button", name="Fork").click()
    expect(page.locator(".toast")).to_contain_text("It goes on after snapshot 2")

    new = Run.objects.get(fork_of=old)
    eventually(lambda: Run.objects.get(pk=new.pk).status == "completed", "the fork has completed")
    assert Run.objects.get(pk=new.pk).output["rate"] == 5
    assert Snapshot.objects.get(run=new, sequence=2).state == {"rate": 5}
    expect(page.locator(".waterfall")).to_contain_text("kept from the run it was forked from")
    page.get_by_role("link", name="compare").click()
    page.wait_for_url("**/runs/compare/**")
    expect(page.locator(".diff .new").first).to_contain_text("5")
    for width, theme in ((1280, "light"), (320, "dark")):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")  # type: ignore[arg-type]
        assert still_violates(page) == []
