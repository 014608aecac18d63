"""The index of runs that have failed and are not over."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

#: Serves the page Retries and the tile on Now, newest first; task and queue are in it for the page's filters. Its size
#: follows what fails now: a run that never fails, or is over, costs it nothing.
STRUGGLING = models.Index(
    fields=["-id"],
    include=["task", "queue"],
    name="run_struggling",
    condition=Q(finished_at__isnull=True) & (Q(failures__gt=0) | Q(crashes__gt=0)),
)
