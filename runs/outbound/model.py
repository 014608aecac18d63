"""The tables of outbound webhooks; see `runs.models`, which has them by name."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now


class Endpoint(models.Model):
    """An address of another service that is told how runs have ended. Its secrets are encrypted (`webhooks.vault`)."""

    name = models.CharField(max_length=100, unique=True)
    url = models.CharField(max_length=2_000)
    events = ArrayField(models.CharField(max_length=30), help_text="Such as run.failed; * is all.")
    tasks = ArrayField(models.CharField(max_length=200), default=list, help_text="Of which tasks; none is of all.")
    enabled = models.BooleanField(default=True)
    secret = models.TextField(help_text="Encrypted.")
    old_secret = models.TextField(blank=True, default="", help_text="Encrypted; the one before, while it signs too.")
    old_until = models.DateTimeField(null=True, help_text="The old secret signs until then.")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Ending(models.Model):
    """A run that has ended, until endpoints are told. Written by the statements that end runs, while there are any."""

    run_id = models.UUIDField()
    status = models.CharField(max_length=20)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.run_id} {self.status}"
