"""Pictures of the pages for the docs, in both themes: `python -m tests.browser.screenshots` (two minutes).

An installation of its own is started and given a seeded history, and a worker some runs of the demo; what the pictures
show is what a newcomer sees who does the same.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Literal

import httpx
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.conftest import ARGUMENTS, CHROMIUM
from tests.support.up import LINK, ROOT, environment, manage, start_up
from tests.support.waiting import eventually

#: Name of the picture → path of the page.
PAGES = {
    "now": "/",
    "runs": "/runs/?q=status:failed",
    "approvals": "/approvals/",
    "retries": "/retries/",
    "errors": "/errors/",
    "bulk": "/bulk/",
    "queues": "/queues/",
    "tasks": "/tasks/",
    "task": "/tasks/seeded-invoice/",
    "schedules": "/schedules/",
    "webhooks": "/webhooks/",
    "endpoints": "/webhooks/out/",
    "explore": "/explore/?span=7d",
    "alerts": "/alerts/",
    "changes": "/changes/",
}
#: What else is made, by its address in the API.
MADE = {
    "/alerts": {
        "name": "invoices-fail",
        "kind": "failure_rate",
        "task": "seeded-invoice",
        "threshold": 10,
        "hold": 300,
    },
    "/webhooks": {"name": "shop-orders", "task": "count-words", "scheme": "standard"},
    "/endpoints": {"name": "crm", "url": "https://crm.example.com/holdfast"},
    "/schedules": {"name": "nightly-words", "task": "count-words", "cron": "0 2 * * *", "payload": {"text": "kelp"}},
}
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
SIZE = {"width": 1280, "height": 800}
#: Charts further down are fetched when somebody comes near.
DRAWN = (
    "![...document.querySelectorAll('[data-state=loading]')].some((e) => e.getBoundingClientRect().top < innerHeight)"
)
FOLDER = ROOT / "platform" / "docs" / "pages"


def said(data_dir: Path, *words: str) -> str:
    """What a command says about that installation."""
    done = subprocess.run(
        manage(*words, "--data-dir", str(data_dir)), env=environment(), stdout=subprocess.PIPE, check=True, text=True
    )
    return done.stdout.strip()


def some_work(address: str, token: str) -> str:
    """Runs of the demo, an alert, a webhook. Returns the page of the first run."""
    with httpx.Client(base_url=f"{address}/api/v1", headers={"Authorization": f"Bearer {token}"}) as client:
        made = client.post("/tasks/research-agent/runs", json={"payload": {"topic": "kelp"}}).raise_for_status().json()
        for text in ("kelp", "kelp and more kelp"):
            client.post("/tasks/count-words/runs", json={"payload": {"text": text}}).raise_for_status()
        for path, body in MADE.items():
            client.post(path, json=body).raise_for_status()
        eventually(
            lambda: client.get(f"/runs/{made['id']}").json()["status"] in ("waiting", "completed"),
            "the agent has worked",
            timeout=120,
        )
    return f"/runs/{made['id']}/"


def photograph(page: Page, path: str, file: Path) -> None:
    """The page when its charts are drawn."""
    page.goto(path)
    if page.locator(".live").count():
        page.locator(".live[data-live=live]").wait_for()
    if path.startswith("/runs/0"):
        page.locator(".wf-axis").wait_for()  # a run's page gets its steps by its socket
        page.locator("#log .line").first.wait_for()
    eventually(lambda: page.evaluate(DRAWN), f"the charts of {path} are drawn", timeout=60)
    page.screenshot(path=file, type="jpeg", quality=82, animations="disabled", caret="hide")


def photograph_all(browser: Browser, address: str, link: str, pages: dict[str, str], folder: Path) -> None:
    """Every page in both themes."""
    context = browser.new_context(base_url=address, viewport=SIZE, device_scale_factor=1)
    context.set_default_timeout(60_000)
    page = context.new_page()
    page.goto(link)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{address}/")
    page.goto("/errors/?state=steady")
    pages = {**pages, "error": page.locator("main table a[href^='/errors/']").first.get_attribute("href") or "/errors/"}
    for theme in THEMES:
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        for name, path in pages.items():
            photograph(page, path, folder / f"{name}-{theme}.jpg")
            print(f"{name}-{theme}.jpg", flush=True)
    context.close()


def main(folder: Path = FOLDER) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="holdfast-pictures-") as name:
        Path(name).chmod(0o755)  # root's servers run as another user, who has to get there
        data_dir = Path(name) / "data"
        data_dir.mkdir()
        with start_up(data_dir) as up, sync_playwright() as playwright:
            link = up.wait_for(LINK.pattern)[0]
            address = re.match(r"https?://[^/]+", link)[0]  # type: ignore[index]
            said(data_dir, "seed", "--runs", "40000")
            token = said(data_dir, "token", "create", "pictures", "--role", "admin", "--quiet")
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
            photograph_all(browser, address, link, {**PAGES, "run": some_work(address, token)}, folder)
            browser.close()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
