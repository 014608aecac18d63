"""How queues stood over time, from the samples that the scheduler takes once a minute."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db.models import Max

from holdfast import db
from queues import store
from queues.models import Sample

#: Queues of a look at most: those that were fullest.
MAX_QUEUES: Final = 20


@dataclass(frozen=True, slots=True)
class SampleBin:
    """The highest samples of a queue in a bin of time. Depths stop counting at 10,001."""

    queue: str
    start: datetime
    depth: int  # entries that were due and waited
    running: int
    concurrency_limit: int | None
    share: float | None  # of the slots that were used; None where there is no limit
    paused: bool  # at some time of it


def sample_bins(start: datetime, end: datetime, *, minutes: int, queue: str | None = None) -> list[SampleBin]:
    """The samples of a time in bins of so many minutes, of one queue or of those that were fullest."""
    asked = {"start": start, "end": end, "minutes": minutes, "queue": queue, "most": MAX_QUEUES}
    with db.callers() as conn:
        return [SampleBin(*row) for row in conn.execute(store.SQL.sample_bins, asked).fetchall()]


def latest() -> datetime | None:
    """The last minute of which a sample was taken: by that one knows that the scheduler is at work. None: never, or
    there is no queue."""
    found: datetime | None = Sample.objects.aggregate(at=Max("minute"))["at"]
    return found
