"""The tables of keys; see `runs.models`, which has them by name."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now


class IdempotencyKey(models.Model):
    """One key of one task starts one run until it expires; the same key with another payload is refused."""

    task = models.ForeignKey("runs.Task", models.CASCADE, db_constraint=False, db_index=False)
    key = models.CharField(max_length=250, help_text="With the run before it whose key it is, where it is one's own.")
    run_id = models.UUIDField()
    payload_hash = models.BinaryField(max_length=32)
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("task", "key"), name="idempotency_key_unique"),)

    def __str__(self) -> str:
        return self.key


class DebounceKey(models.Model):
    """Calls of one task under one key that come close upon each other are one run."""

    task = models.ForeignKey("runs.Task", models.CASCADE, db_constraint=False, db_index=False)
    key = models.CharField(max_length=200)
    run_id = models.UUIDField()
    began_at = models.DateTimeField(help_text="When the first of these calls came.")
    quiet_at = models.DateTimeField(db_index=True, help_text="A call after this begins anew.")

    class Meta:
        constraints = (models.UniqueConstraint(fields=("task", "key"), name="debounce_key_unique"),)

    def __str__(self) -> str:
        return self.key
