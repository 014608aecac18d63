"""Pages of the list of runs, ready to be drawn. Arrivals wait: a page that is open keeps its rows."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from runs import selectors
from runs.charts import FAILED
from runs.filters import DEFAULT_LIMIT, RunFilter
from runs.models import Run, Task
from runs.reasons import Reason, reasons
from runs.states import Status

PAGE: Final = DEFAULT_LIMIT
#: Arrivals are counted up to here; then it is "100+".
MAX_ARRIVALS: Final = 100
#: Tasks and queues offered in the filter's choices.
MAX_CHOICES: Final = 500

#: The tabs: name and statuses.
TABS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("All", ()),
    ("Running", (Status.RUNNING, Status.CANCELLING)),
    ("Queued", (Status.QUEUED,)),
    ("Retrying", (Status.RETRYING,)),
    ("Scheduled", (Status.SCHEDULED, Status.WAITING)),
    ("Failed", tuple(s for s in Status if s in FAILED)),
    ("Cancelled", (Status.CANCELLED,)),
    ("Completed", (Status.COMPLETED,)),
)


def tries(run: Run) -> str:
    """`2 of 3`, once there has been more than one try to speak of; `attempt 2` of a completed run."""
    if run.attempt <= 1 and run.status != Status.RETRYING:
        return ""
    if run.status == Status.COMPLETED:
        return f"attempt {run.attempt}"
    return f"{run.attempt} of {max(run.max_attempts, run.attempt)}"


@dataclass(frozen=True, slots=True)
class Row:
    """A run in the list. `fits`: it still is what the filter asks for."""

    run: Run
    reason: Reason | None
    fits: bool = True

    @property
    def attempts(self) -> str:
        """Beside the status: see `tries`."""
        return tries(self.run)


@dataclass(frozen=True, slots=True)
class Listing:
    """Rows, the cursor of older ones, and how many newer ones wait."""

    rows: list[Row]
    next: uuid.UUID | None = None
    arrivals: int = 0
    searched_to: datetime | None = None

    @property
    def arrivals_text(self) -> str:
        return f"{MAX_ARRIVALS}+" if self.arrivals > MAX_ARRIVALS else str(self.arrivals)


@dataclass(frozen=True, slots=True)
class Tab:
    name: str
    url: str
    current: bool


def page(filters: RunFilter, cursor: uuid.UUID | None) -> Listing:
    """A page of runs, newest first."""
    found = selectors.runs_page(filters, cursor=cursor, limit=PAGE)
    return Listing(_rows(found.items), found.next, searched_to=found.searched_to)


def again(filters: RunFilter, shown: list[uuid.UUID], *, newest: bool) -> Listing:
    """The rows that a page shows, as they are now, in the same order; with `newest`, what has arrived above them."""
    runs = Run.objects.select_related("queue").defer("payload", "output").in_bulk(shown)
    listed = [runs[run_id] for run_id in shown if run_id in runs]
    rows = _rows(listed, selectors.runs_fitting(filters, shown) if filters.terms else set(runs))
    here = Listing(rows, shown[-1], _arrivals(filters, shown[0]) if newest else 0)
    if len(shown) == PAGE:
        return here
    older = selectors.runs_page(filters, cursor=shown[-1], limit=1)
    return here if older.items else replace(here, next=older.next, searched_to=older.searched_to)


def tabs(filters: RunFilter, *kept: tuple[str, str]) -> list[Tab]:
    """The tabs over statuses; the other filters stay, and the parameters `kept`."""
    asked = set(filters.only("status"))
    found = []
    for name, statuses in TABS:
        others = filters.having("status", statuses)
        # A link to a part of what a tab holds (`status:failed`) stands under that tab.
        current = asked <= set(statuses) if asked else not statuses
        found.append(Tab(name, others.address(*kept), current))
    return found


def task_ids() -> list[str]:
    """The ids of registered tasks, for choices."""
    return list(Task.objects.order_by("id").values_list("id", flat=True)[:MAX_CHOICES])


def _rows(runs: list[Run], fitting: set[uuid.UUID] | None = None) -> list[Row]:
    why = reasons(runs)
    return [Row(run, why.get(run.id), fitting is None or run.id in fitting) for run in runs]


def _arrivals(filters: RunFilter, newest: uuid.UUID) -> int:
    return selectors.arrivals(filters, newest, MAX_ARRIVALS + 1)
