"""Where pages and workers meet: the names under which a page says what it watches, and a worker that it changed."""

from __future__ import annotations

from typing import Final
from uuid import UUID

#: Sorted set in Redis: run id → Unix time until which somebody watches it.
WATCHED: Final = "holdfast:watched"
#: Channels group of every page with a list.
LISTS: Final = "lists"


def group_of(run_id: UUID) -> str:
    """The Channels group of a run's pages."""
    return f"run.{run_id.hex}"
