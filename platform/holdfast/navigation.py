"""What the side navigation lists. A new page adds a line here."""

from dataclasses import dataclass
from typing import Final

#: What stands above places that belong together: what happens, what it flows through, what became of it.
WORK, FLOW, INSIGHT, SETUP = "Work", "Flow", "Insight", "Set-up"
#: A badge shows numbers up to here.
MOST: Final = 99


@dataclass(frozen=True, slots=True)
class Place:
    """One entry: its address, name, icon and the grant that it needs."""

    path: str
    name: str
    icon: str
    grant: str = "runs.view"
    group: str = ""
    also: str = ""  # another address whose pages belong to it

    @property
    def key(self) -> str:
        """The letter that leads there after `g`; nothing where none does."""
        return KEYS.get(self.path, "")

    def is_current(self, path: str) -> bool:
        """True on the place itself and on everything below it; the front page has nothing below it."""
        below = self.path != "/" and path.startswith(self.path)
        return path == self.path or below or bool(self.also and path.startswith(self.also))


def badge(number: int) -> str:
    """How many wait at a place, in its badge: nothing for none, `99+` for very many."""
    return f"{MOST}+" if number > MOST else str(number or "")


#: In the order of the menu; those of one group stand together.
PLACES: Final = (
    Place("/", "Now", "now"),
    Place("/runs/", "Runs", "runs", group=WORK),
    Place("/approvals/", "Approvals", "approvals", group=WORK, also="/waits/"),
    Place("/retries/", "Retries", "retries", group=WORK),
    Place("/errors/", "Errors", "errors", group=WORK),
    Place("/bulk/", "Bulk jobs", "bulk", group=WORK),
    Place("/queues/", "Queues", "queues", "queues.view", group=FLOW, also="/workers/"),
    Place("/tasks/", "Tasks", "tasks", group=FLOW),
    Place("/schedules/", "Schedules", "schedules", group=FLOW),
    Place("/webhooks/", "Webhooks", "webhooks", "webhooks.view", group=FLOW),
    Place("/explore/", "Explore", "explore", group=INSIGHT),
    Place("/alerts/", "Alerts", "alerts", group=INSIGHT),
    Place("/changes/", "Changes", "changes", group=INSIGHT),
    Place("/admin/", "Admin", "admin", "access.manage", group=SETUP),
)

#: `g` and then the letter lead to the place. Each letter stands once; a place without one is found by Ctrl-K.
KEYS: Final = {
    "/": "n",
    "/runs/": "r",
    "/retries/": "y",
    "/errors/": "e",
    "/approvals/": "a",
    "/queues/": "q",
    "/tasks/": "t",
    "/workers/": "k",
    "/schedules/": "s",
    "/webhooks/": "w",
    "/explore/": "x",
    "/changes/": "c",
    "/alerts/": "l",
    "/admin/": "m",
}
