"""The table of what people say of causes; see `runs.models`, which has it by name."""

from __future__ import annotations

from typing import Final

from django.db import models
from django.db.models import Q

KEY_LENGTH: Final = 240


class CauseNote(models.Model):
    """Somebody works on a cause, or wants no word of it for a time. Gone when that is over: the audit log remembers."""

    key = models.CharField(primary_key=True, max_length=KEY_LENGTH, help_text="Of the cause: saturated:llm-calls.")
    noted_at = models.DateTimeField()
    noted_by = models.CharField(max_length=200)
    reason = models.CharField(max_length=500, blank=True, default="", db_default="")
    until = models.DateTimeField(null=True, help_text="A snooze ends then. Empty: it is an acknowledgement.")
    size = models.BigIntegerField(help_text="How large the cause was then: from twice that on it is worse.")
    seen_at = models.DateTimeField(help_text="When the cause was there last, as the scheduler has seen.")

    class Meta:
        constraints = (
            models.CheckConstraint(condition=Q(until=None) | Q(until__gt=models.F("noted_at")), name="cause_until"),
        )

    def __str__(self) -> str:
        return self.key
