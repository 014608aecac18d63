"""The tables of error groups; see `runs.models`, which has them by name.

`runs.store.errors` writes them in the transaction of the failure, and `services` what people say about a group.
"""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q


class ErrorGroup(models.Model):
    """Failed tries of one fingerprint, whatever their task. What is counted of it stands in ErrorCount."""

    fingerprint = models.CharField(primary_key=True, max_length=64)
    type = models.CharField(max_length=300)
    message = models.CharField(max_length=300, help_text="With # for what differs from try to try.")
    tasks = ArrayField(models.CharField(max_length=200), help_text="Those in which it was seen, some dozens at most.")
    first_seen = models.DateTimeField()
    last_seen = models.DateTimeField(help_text="To some seconds: a group that fails all the time is written rarely.")
    example = models.UUIDField(null=True, help_text="A run that has met it lately.")
    resolved_at = models.DateTimeField(null=True)
    resolved_by = models.CharField(max_length=200, blank=True, default="", db_default="")
    resolved_in = ArrayField(
        models.CharField(max_length=64), default=list, db_default=[], help_text="The versions of its tasks then."
    )
    resolved_seen = ArrayField(
        models.CharField(max_length=64),
        default=list,
        db_default=[],
        help_text="Versions in which it had been seen until then: in these it may go on until they are gone.",
    )
    snoozed_at = models.DateTimeField(null=True)
    snoozed_by = models.CharField(max_length=200, blank=True, default="", db_default="")
    snoozed_until = models.DateTimeField(null=True, help_text="Quiet until then.")
    snoozed_for = models.BigIntegerField(null=True, help_text="Quiet for so many failed tries more.")
    snoozed_base = models.BigIntegerField(default=0, db_default=0, help_text="Tries of that hour that were there then.")
    reason = models.TextField(blank=True, default="", db_default="", help_text="Of the last resolution or snooze.")

    class Meta:
        indexes = (
            # Serves the list, the latest first, and the upkeep, which drops those that were not seen for long.
            models.Index("last_seen", "fingerprint", name="error_group_latest"),
            # Serves the list of one task.
            GinIndex("tasks", name="error_group_by_task"),
        )

    def __str__(self) -> str:
        return f"{self.fingerprint} {self.type}"


class ErrorCount(models.Model):
    """How often a group was met in one hour, by task, step and version."""

    id = models.BigAutoField(primary_key=True)
    fingerprint = models.CharField(max_length=64)
    hour = models.DateTimeField()
    task_id = models.CharField(max_length=200)
    step = models.CharField(max_length=200, blank=True, default="", help_text="Empty: raised outside of steps.")
    version = models.CharField(max_length=64, blank=True, default="")
    worker_id = models.BigIntegerField(help_text="0: nobody's, or those of all workers once the hour is long past.")
    count = models.BigIntegerField(help_text="Failed tries.")
    ended = models.BigIntegerField(help_text="Runs that ended with it.")

    class Meta:
        constraints = (
            # One row per worker, as in Rollup: two of them never wait for each other. Serves all that is read of a
            # group by its prefix.
            models.UniqueConstraint(
                fields=("fingerprint", "hour", "task_id", "step", "version", "worker_id"), name="error_count_unique"
            ),
        )
        indexes = (
            # Serves the upkeep, which makes one row of those of all workers.
            models.Index("hour", name="error_count_by_worker", condition=~Q(worker_id=0)),
            # Serves the upkeep, which drops old ones.
            models.Index("hour", name="error_count_by_age", condition=Q(worker_id=0)),
        )

    def __str__(self) -> str:
        return f"{self.fingerprint} {self.hour} {self.count}"
