"""A running installation and somebody who looks at it with a browser."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field

from playwright.sync_api import BrowserContext, ConsoleMessage, Page

from tests.support.ports import kept_port
from tests.support.processes import Fleet, Process
from tests.support.web import port_of

#: Said in a page, "Copied" stands for a minute instead of 1.5 s.
COPIED_STAYS = """() => {
    const set = window.setTimeout;
    window.setTimeout = (act, wait, ...rest) => set(act, wait === 1500 ? 60000 : wait, ...rest);
}"""
PLOTLY = 30_000  # milliseconds until a chart is there: its script has megabytes


@dataclass
class Site:
    """A running installation. `url` is where its pages are, on a port that is its own also while nothing listens."""

    fleet: Fleet
    url: str
    web: Process
    place: socket.socket

    @classmethod
    def start(cls, fleet: Fleet) -> Site:
        fleet.environment["HOLDFAST_DEMO"] = "1"
        place = kept_port()
        web = fleet.start("web", "web", "--port", str(place.getsockname()[1]))
        return cls(fleet, f"http://127.0.0.1:{port_of(web)}", web, place)

    def restart_web(self, **environment: str) -> None:
        """Another web process at the same address."""
        self.web.popen.kill()
        self.web.wait()
        self.web = self.fleet.start("web again", "web", "--port", str(self.place.getsockname()[1]), **environment)
        port_of(self.web)


@dataclass
class Visitor:
    """Somebody with a browser of their own, and what its console said."""

    context: BrowserContext
    page: Page
    site: Site
    complaints: list[str] = field(default_factory=list)

    def listen(self, page: Page) -> None:
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.complaints.append(f"{page.url}: {error}"))

    def _note(self, message: ConsoleMessage) -> None:
        # A refused form (422) is an answer, which Chromium reports all the same.
        if message.type == "error" and "status of 422" not in message.text:
            self.complaints.append(f"{self.page.url}: {message.text}")

    def sign_in(self) -> None:
        """By a one-time link, as `up` prints it."""
        from holdfast.access import services as access

        self.page.goto(self.site.url + access.signin_link_create())
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url(self.site.url + "/")
