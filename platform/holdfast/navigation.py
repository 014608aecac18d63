"""What the side navigation lists. A new page adds a line here."""

from dataclasses import dataclass
from typing import Final

from django.utils.module_loading import import_string

#: A badge shows numbers up to here.
MOST: Final = 99


@dataclass(frozen=True, slots=True)
class Place:
    """One entry: its address, name, icon and the grant that it needs."""

    path: str
    name: str
    icon: str
    grant: str = "runs.view"
    badge: str = ""  # where the function is that counts what waits there for somebody
    also: str = ""  # another address whose pages belong to it

    def is_current(self, path: str) -> bool:
        """True on the place itself and on everything below it; the front page has nothing below it."""
        below = self.path != "/" and path.startswith(self.path)
        return path == self.path or below or bool(self.also and path.startswith(self.also))

    def count(self) -> str:
        """How many wait there: nothing for none, `99+` for very many."""
        number = import_string(self.badge)() if self.badge else 0
        return "99+" if number > MOST else str(number or "")


PLACES: Final = (
    Place("/", "Now", "now"),
    Place("/runs/", "Runs", "runs"),
    Place("/approvals/", "Approvals", "approvals", badge="runs.waits.approvals_count", also="/waits/"),
    Place("/queues/", "Queues", "queues", "queues.view"),
    Place("/tasks/", "Tasks", "tasks"),
    Place("/admin/", "Admin", "admin", "access.manage"),
)
