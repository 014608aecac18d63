"""What the side navigation lists. A new page adds a line here."""

from dataclasses import dataclass
from typing import Final

#: A badge shows numbers up to here.
MOST: Final = 99


@dataclass(frozen=True, slots=True)
class Place:
    """One entry: its address, name, icon and the grant that it needs."""

    path: str
    name: str
    icon: str
    grant: str = "runs.view"
    also: str = ""  # another address whose pages belong to it

    def is_current(self, path: str) -> bool:
        """True on the place itself and on everything below it; the front page has nothing below it."""
        below = self.path != "/" and path.startswith(self.path)
        return path == self.path or below or bool(self.also and path.startswith(self.also))


def badge(number: int) -> str:
    """How many wait at a place, in its badge: nothing for none, `99+` for very many."""
    return f"{MOST}+" if number > MOST else str(number or "")


PLACES: Final = (
    Place("/", "Now", "now"),
    Place("/runs/", "Runs", "runs"),
    Place("/approvals/", "Approvals", "approvals", also="/waits/"),
    Place("/queues/", "Queues", "queues", "queues.view", also="/workers/"),
    Place("/tasks/", "Tasks", "tasks"),
    Place("/schedules/", "Schedules", "schedules"),
    Place("/webhooks/", "Webhooks", "webhooks", "webhooks.view"),
    Place("/changes/", "Changes", "changes"),
    Place("/admin/", "Admin", "admin", "access.manage"),
)
