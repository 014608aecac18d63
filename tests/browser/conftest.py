"""A browser, and an installation for it to look at: web, workers and scheduler as real processes.

Debian's Chromium is driven by Playwright. Its synchronous interface keeps an event loop in the test's thread, so Django
is told that the ORM may be used beside it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.support.browsing import Site, Visitor
from tests.support.processes import Fleet

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]
PATIENCE = 15_000  # milliseconds that the browser waits for something that it is to click or fill in
APPEARS = 14_000  # milliseconds until what is expected is there; less than lists take to ask without having been told
expect.set_options(timeout=APPEARS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for the tests of a module."""
    if not shutil.which(CHROMIUM):
        pytest.fail(f"There is no {CHROMIUM}. Install it (apt-get install chromium), or name yours in CHROMIUM.")
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def site(browser: Browser, fleet: Fleet) -> Iterator[Site]:
    """Web and scheduler; tests start the workers they need: `site.fleet.worker("kelp")`."""
    fleet.environment["HOLDFAST_DEMO"] = "1"
    fleet.scheduler()
    site = Site.start(fleet)
    yield site
    site.place.close()


@pytest.fixture
def visitor(browser: Browser, site: Site) -> Iterator[Visitor]:
    """An admin who has just signed in. The test fails if the browser's console complained."""
    context = browser.new_context(base_url=site.url, viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    visitor = Visitor(context, page, site)
    visitor.listen(page)
    visitor.sign_in()
    yield visitor
    context.close()
    assert not visitor.complaints, f"{visitor.complaints}\n── what the web process said ──\n{site.web.said()[-5000:]}"
