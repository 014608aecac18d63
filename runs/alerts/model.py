"""The tables of alerts; `runs.models` imports them, so that Django finds them."""

from __future__ import annotations

from datetime import timedelta

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from runs.alerts.choices import DEFAULTS, ChannelKind, Ended, Kind, State
from runs.alerts.rules import Standing


class Channel(models.Model):
    """Where alerts go. The address of a webhook lets who knows it write there: it is encrypted (`webhooks.vault`)."""

    name = models.CharField(max_length=80, unique=True)
    kind = models.CharField(max_length=5, choices=ChannelKind.choices)
    recipients = ArrayField(models.CharField(max_length=254), default=list, help_text="Of e-mail.")
    url = models.TextField(blank=True, default="", help_text="Of a webhook; encrypted.")
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Alert(models.Model):
    """A rule, and what it says now. The scheduler looks at it each minute (`evaluating.py`)."""

    name = models.CharField(max_length=80, unique=True)
    kind = models.CharField(max_length=15, choices=Kind.choices)
    task = models.CharField(max_length=200, blank=True, default="", help_text="Of this task; empty: of all.")
    queue = models.CharField(max_length=200, blank=True, default="", help_text="Of this queue; empty: of all.")
    schedule = models.CharField(max_length=100, blank=True, default="", help_text="Of this schedule; empty: of all.")
    threshold = models.FloatField(help_text="Above it fires: percent, seconds, ticks or units.")
    window = models.IntegerField(default=DEFAULTS["window"], help_text="Seconds that are looked at.")
    hold = models.IntegerField(default=0, help_text="Seconds that it has to be above to fire, and below to be over.")
    min_runs = models.IntegerField(default=DEFAULTS["min_runs"], help_text="With fewer it is unmeasured.")
    percentile = models.FloatField(default=DEFAULTS["percentile"])
    unit = models.CharField(max_length=60, blank=True, default="", help_text="Of usage.")
    channels = models.ManyToManyField(Channel, related_name="alerts")
    enabled = models.BooleanField(default=True)

    state = models.CharField(max_length=10, choices=State.choices, default=State.UNMEASURED)
    since = models.DateTimeField(help_text="Since when it is in this state.")
    calm_since = models.DateTimeField(null=True)
    blind_since = models.DateTimeField(null=True)
    value = models.FloatField(null=True, help_text="The last one; empty: unmeasured.")
    note = models.CharField(max_length=300, blank=True, default="", help_text="What was measured, or why nothing was.")
    evaluated_at = models.DateTimeField(null=True)
    due_at = models.DateTimeField(help_text="When it is looked at next.")

    silenced_until = models.DateTimeField(null=True)
    silenced_by = models.CharField(max_length=200, blank=True, default="")
    silence_reason = models.CharField(max_length=500, blank=True, default="")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("name",)
        indexes = (
            # Serves the scheduler: what is to be looked at, first.
            models.Index("due_at", name="alert_due", condition=Q(enabled=True)),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def held(self) -> timedelta:
        """`hold` as a span."""
        return timedelta(seconds=self.hold)

    @property
    def standing(self) -> Standing:
        return Standing(self.state, self.since, self.calm_since, self.blind_since)


class Firing(models.Model):
    """A time during which a rule fired. That there is one row of it is what makes people be told once."""

    alert = models.ForeignKey(Alert, models.CASCADE, db_index=False, related_name="firings")
    since = models.DateTimeField()
    until = models.DateTimeField(null=True)
    ended = models.CharField(max_length=10, choices=Ended.choices, blank=True, default="")
    threshold = models.FloatField()
    value = models.FloatField(help_text="When it began.")
    peak = models.FloatField()
    peak_at = models.DateTimeField()
    summary = models.CharField(max_length=500, help_text="What was measured when it began, in words.")
    link = models.CharField(max_length=1000, help_text="Where examples are, on this server.")
    told_at = models.DateTimeField(null=True, help_text="When it was told; empty: nobody was, or it is silenced.")
    acknowledged_at = models.DateTimeField(null=True)
    acknowledged_by = models.CharField(max_length=200, blank=True, default="")
    acknowledged_why = models.CharField(max_length=500, blank=True, default="")

    class Meta:
        ordering = ("-id",)
        indexes = (
            # Serves the page of an alert, page by page.
            models.Index("alert", models.F("id").desc(), name="firing_of_alert"),
        )
        constraints = (
            # Serves what fires now as well: the index holds little else.
            models.UniqueConstraint(fields=("alert",), name="firing_one_open", condition=Q(until__isnull=True)),
            models.CheckConstraint(
                name="firing_over_says_why",
                condition=Q(until__isnull=True, ended="") | (Q(until__isnull=False) & ~Q(ended="")),
            ),
        )

    def __str__(self) -> str:
        return f"{self.alert_id} since {self.since}"
