"""The tables of bulk actions; `runs.models` imports them, so that Django finds them."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from runs.bulk.choices import Action, Outcome, Pace


class BulkJob(models.Model):
    """Something that is done to many runs. Its id is that of the run (`holdfast.bulk`) that does it."""

    id = models.UUIDField(primary_key=True)
    action = models.CharField(max_length=10, choices=Action.choices)
    pace = models.CharField(max_length=10, choices=Pace.choices, default=Pace.ALL)
    delay = models.FloatField(null=True, help_text="Seconds by which next attempts are put off, from when it is done.")
    search = models.TextField(blank=True, default="", help_text="What was searched for; empty for a selection.")
    reason = models.CharField(max_length=500, blank=True, default="")
    actor = models.JSONField(help_text="{kind, id, label, role} of who asked, when they asked.")
    total = models.IntegerField(help_text="Runs of its scope.")
    done = models.IntegerField(default=0, db_default=0)
    skipped = models.IntegerField(default=0, db_default=0)
    failed = models.IntegerField(default=0, db_default=0)
    stopped = models.CharField(max_length=500, blank=True, default="", help_text="Why a canary went no further.")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        # The list of jobs reads down the primary key: ids are UUIDv7.
        ordering = ("-id",)
        constraints = (
            models.CheckConstraint(
                name="bulkjob_each_run_has_one_outcome", condition=Q(total__gte=F("done") + F("skipped") + F("failed"))
            ),
        )

    def __str__(self) -> str:
        return f"{self.action} of {self.total} runs"

    @property
    def acted(self) -> int:
        """Runs that have their outcome."""
        return self.done + self.skipped + self.failed

    @property
    def left(self) -> int:
        """Runs of which nothing has become yet."""
        return self.total - self.acted


class BulkItem(models.Model):
    """One run of a job's scope. That its outcome is written in the transaction that acts is what makes it act once."""

    pk = models.CompositePrimaryKey("job_id", "position")
    job = models.ForeignKey(BulkJob, models.CASCADE, db_constraint=False, db_index=False, related_name="items")
    position = models.IntegerField(help_text="From 0, the oldest run first.")
    run_id = models.UUIDField()
    fingerprint = models.CharField(max_length=64, blank=True, default="", help_text="Of its error when it was frozen.")
    outcome = models.CharField(max_length=7, choices=Outcome.choices, blank=True, default="")
    why = models.CharField(max_length=300, blank=True, default="")
    became = models.UUIDField(null=True, help_text="The run that a replay started.")

    class Meta:
        # All that is asked of items is of one job, by position: at most MAX_RUNS rows of the primary key.
        ordering = ("job_id", "position")

    def __str__(self) -> str:
        return f"{self.job_id} #{self.position}"
