"""Old bulk jobs are dropped by the scheduler; the audit log keeps what was done to which run."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from django.db import transaction

from holdfast.access.selectors import database_now
from runs.bulk.model import BulkItem, BulkJob
from runs.filters import first_id
from runs.models import Run
from runs.states import ACTIVE

#: Seconds for which a job and what became of each of its runs are kept.
KEPT: Final = 90 * 86_400.0
#: Rows that one statement drops, so that none holds its locks for long; the next round takes more.
CHUNK: Final = 5_000


def forget(seconds: float = KEPT) -> int:
    """Drops a part of the oldest job that was begun more than so many seconds ago, and the job with its last part.
    Returns how many of its runs. A job that is not over is kept, and what is younger with it."""
    before = first_id(database_now() - timedelta(seconds=seconds))
    with transaction.atomic():
        job = BulkJob.objects.filter(pk__lt=before).order_by("pk").first()
        if job is None or Run.objects.filter(pk=job.pk, status__in=ACTIVE).exists():
            return 0
        places = BulkItem.objects.filter(job=job).order_by("position").values_list("position", flat=True)[:CHUNK]
        last = max(places, default=-1)
        dropped, _ = BulkItem.objects.filter(job=job, position__lte=last).delete()
        if dropped < CHUNK:
            job.delete()
    return dropped
