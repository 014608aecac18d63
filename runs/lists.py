"""Pages of the list of runs, ready to be drawn. Arrivals wait: a page that is open keeps its rows."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from runs.charts import FAILED
from runs.filters import DEFAULT_LIMIT, RunFilter
from runs.models import Run, Task
from runs.reasons import Reason, reasons
from runs.selectors import runs_page
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
    found = runs_page(filters, cursor=cursor, limit=PAGE)
    return Listing(_rows(found.items, filters), found.next)


def again(filters: RunFilter, shown: list[uuid.UUID], *, newest: bool) -> Listing:
    """The rows that a page shows, as they are now, in the same order; with `newest`, what has arrived above them."""
    runs = Run.objects.select_related("queue").defer("payload", "output").in_bulk(shown)
    rows = _rows([runs[run_id] for run_id in shown if run_id in runs], filters)
    older = filters.query().filter(id__lt=shown[-1])
    older = older.filter(status__in=filters.statuses) if filters.statuses else older
    more = len(shown) == PAGE or older.exists()
    return Listing(rows, shown[-1] if more else None, _arrivals(filters, shown[0]) if newest else 0)


def tabs(filters: RunFilter) -> list[Tab]:
    """The tabs over statuses; the other filters stay."""
    others = [pair for pair in filters.params() if pair[0] != "status"]
    found = []
    for name, statuses in TABS:
        pairs = [*others, *([("status", ",".join(statuses))] if statuses else [])]
        # A link to a part of what a tab holds (`?status=failed`) stands under that tab.
        asked = set(filters.statuses)
        current = asked <= set(statuses) if asked else not statuses
        found.append(Tab(name, f"?{urlencode(pairs, safe=',')}", current))
    return found


def task_ids() -> list[str]:
    """The ids of registered tasks, for choices."""
    return list(Task.objects.order_by("id").values_list("id", flat=True)[:MAX_CHOICES])


def _rows(runs: list[Run], filters: RunFilter) -> list[Row]:
    why = reasons(runs)
    return [Row(run, why.get(run.id), not filters.statuses or run.status in filters.statuses) for run in runs]


def _arrivals(filters: RunFilter, newest: uuid.UUID) -> int:
    found = filters.query().filter(id__gt=newest).order_by()
    found = found.filter(status__in=filters.statuses) if filters.statuses else found
    return found[: MAX_ARRIVALS + 1].count()
