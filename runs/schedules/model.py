"""The tables of schedules; `runs.models` imports them, so that Django finds them."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from runs.schedules.choices import CatchUp, Overlap, TickOutcome


class Schedule(models.Model):
    """Begins runs of a task by the clock."""

    name = models.CharField(max_length=100, unique=True)
    task_id = models.CharField(max_length=200)
    payload = models.JSONField(default=dict)
    cron = models.CharField(max_length=200, null=True)  # noqa: DJ001 - it has an interval
    every = models.FloatField(null=True, help_text="Seconds between ticks, instead of cron.")
    timezone = models.CharField(max_length=64, default="UTC")
    catch_up = models.CharField(max_length=6, choices=CatchUp.choices, default=CatchUp.LATEST)
    overlap = models.CharField(max_length=10, choices=Overlap.choices, default=Overlap.ALLOW)
    jitter = models.FloatField(default=0.0, help_text="Seconds by which a run begins later at most.")
    declared = models.JSONField(null=True, help_text="What code declares; empty for one that a person made.")
    edited = models.JSONField(default=list, help_text="The settings in which a person's edit overrides the code.")
    next_at = models.DateTimeField(null=True, help_text="Its next tick; empty while it is paused.")
    last_run = models.UUIDField(null=True)
    paused_at = models.DateTimeField(null=True)
    paused_by = models.CharField(max_length=200, blank=True, default="")
    pause_reason = models.CharField(max_length=500, blank=True, default="")
    created_at = models.DateTimeField()

    class Meta:
        ordering = ("name",)
        indexes = (
            # Serves the scheduler: what is due, first.
            models.Index("next_at", name="schedule_due", condition=Q(next_at__isnull=False)),
        )
        constraints = (
            models.CheckConstraint(
                name="schedule_has_one_timing",
                condition=Q(cron__isnull=True, every__isnull=False) | Q(cron__isnull=False, every__isnull=True),
            ),
        )

    def __str__(self) -> str:
        return self.name


class Tick(models.Model):
    """What became of one tick of a schedule. That a tick is there once is what makes it begin one run."""

    schedule = models.ForeignKey(Schedule, models.CASCADE, db_index=False, related_name="ticks")
    due_at = models.DateTimeField()
    fired_at = models.DateTimeField()
    outcome = models.CharField(max_length=7, choices=TickOutcome.choices)
    run_id = models.UUIDField(null=True)
    why = models.CharField(max_length=500, blank=True, default="")

    class Meta:
        ordering = ("-due_at",)
        indexes = (
            # Serves the scheduler: ticks that wait for the run before.
            models.Index("schedule", "due_at", name="tick_queued", condition=Q(outcome=TickOutcome.QUEUED)),
            # Serves alerts: what was noticed in the last minutes, of all schedules.
            models.Index("fired_at", name="tick_fired"),
        )
        constraints = (models.UniqueConstraint(fields=("schedule", "due_at"), name="tick_once"),)

    def __str__(self) -> str:
        return f"{self.schedule_id} at {self.due_at}"

    @property
    def late(self) -> float:
        """Seconds between the tick and its firing."""
        return (self.fired_at - self.due_at).total_seconds()
