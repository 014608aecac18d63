"""The table of updates; see `runs.models`, which has it by name."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

UPDATE_OUTCOMES = ("replied", "refused", "abandoned")


class Update(models.Model):
    """A request to a run, and what came of it. Those of one name are taken in the order in which they were sent."""

    id = models.UUIDField(primary_key=True)
    run = models.ForeignKey("runs.Run", models.CASCADE, db_constraint=False, db_index=False, related_name="updates")
    name = models.CharField(max_length=200)
    payload = models.JSONField(null=True)
    key = models.CharField(max_length=200, null=True, help_text="Sent twice under one key, it is one.")  # noqa: DJ001
    sent_at = models.DateTimeField()
    sent_by = models.CharField(max_length=200, blank=True, default="")
    wait_id = models.UUIDField(null=True, help_text="The wait that took it.")
    outcome = models.CharField(max_length=10, null=True)  # noqa: DJ001 - not answered yet
    reply = models.JSONField(null=True)
    reason = models.TextField(blank=True, default="", db_default="", help_text="Why it was refused.")
    answered_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("id",)
        indexes = (
            # Serves a run's waits that look for one, and the end of a run, which leaves none open: few rows.
            models.Index("run", "name", "sent_at", "id", name="update_open", condition=Q(outcome__isnull=True)),
            # Serves the loser of a race, which gives back what it took.
            models.Index("wait_id", name="update_taken", condition=Q(outcome__isnull=True, wait_id__isnull=False)),
            # Serves the run's page and API. (An id is a UUIDv7: in the order of sending.)
            models.Index("run", "id", name="update_of_run"),
        )
        constraints = (
            models.UniqueConstraint(
                fields=("run", "name", "key"), name="update_key_unique", condition=Q(key__isnull=False)
            ),
            models.CheckConstraint(
                name="update_answered_has_outcome",
                condition=Q(answered_at__isnull=True, outcome__isnull=True)
                | Q(answered_at__isnull=False, outcome__in=UPDATE_OUTCOMES),
            ),
        )

    def __str__(self) -> str:
        return f"{self.run_id} {self.name}"
