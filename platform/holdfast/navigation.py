"""What the side navigation lists. A new page adds a line here."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Place:
    """One entry: its address, name, icon and the grant that it needs."""

    path: str
    name: str
    icon: str
    grant: str = "runs.view"

    def is_current(self, path: str) -> bool:
        """True on the place itself and on everything below it; the front page has nothing below it."""
        return path == self.path or (self.path != "/" and path.startswith(self.path))


PLACES: Final = (
    Place("/", "Now", "now"),
    Place("/runs/", "Runs", "runs"),
    Place("/queues/", "Queues", "queues", "queues.view"),
    Place("/tasks/", "Tasks", "tasks"),
    Place("/admin/", "Admin", "admin", "access.manage"),
)
