"""The tables of this room. Both hold rows of runs that are in workers' hands, and of no others."""

from __future__ import annotations

from django.db import models

#: Why a run counts as stuck.
WHYS = ("nothing_new", "lost_heartbeat")


class Stack(models.Model):
    """Where a run was when somebody asked, as its worker has said. One row for each run that was asked about; `token`
    is the lease for which it holds."""

    run = models.OneToOneField("runs.Run", models.CASCADE, primary_key=True, db_constraint=False, related_name="+")
    worker = models.ForeignKey("queues.Worker", models.PROTECT, db_constraint=False, db_index=False, related_name="+")
    token = models.BigIntegerField(help_text="The lease that it was asked of.")
    wanted = models.BooleanField(default=True, help_text="Its worker has not answered yet.")
    asked_at = models.DateTimeField()
    captured_at = models.DateTimeField(null=True, help_text="When the worker looked; null before its first answer.")
    stack = models.JSONField(null=True, help_text="See runs.engine.frames.")

    class Meta:
        indexes = (
            # Serves a worker's heartbeat, which looks twice a second for what it is asked: hardly ever anything.
            models.Index("worker", name="stack_wanted", condition=models.Q(wanted=True)),
        )

    def __str__(self) -> str:
        return f"{self.run_id} at {self.captured_at}"


class Stuck(models.Model):
    """A run of which nothing new has come for longer than is usual. The scheduler writes it, and takes it away when the
    run moves on; it holds only while the run has the lease `token`."""

    run = models.OneToOneField("runs.Run", models.CASCADE, primary_key=True, db_constraint=False, related_name="+")
    token = models.BigIntegerField()
    why = models.CharField(max_length=14, choices=[(why, why) for why in WHYS])
    step = models.CharField(
        max_length=200, blank=True, default="", help_text="The step that it is in, if it is in one."
    )
    since = models.DateTimeField(help_text="When something new came last.")
    usual = models.FloatField(
        null=True, help_text="Seconds: the 99th percentile of the step, or of the task's attempts."
    )
    found_at = models.DateTimeField()

    class Meta:
        indexes = (
            # Serves the page Now, which shows the longest first.
            models.Index("since", name="stuck_since"),
        )
        constraints = (models.CheckConstraint(name="stuck_why_known", condition=models.Q(why__in=WHYS)),)

    def __str__(self) -> str:
        return f"{self.run_id} since {self.since}"
