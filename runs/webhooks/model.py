"""The tables of webhooks; see `runs.models`, which has them by name."""

from __future__ import annotations

from django.db import models

OUTCOMES = ("accepted", "filtered", "refused")


class Webhook(models.Model):
    """An address at which another service starts runs of one task. Its secrets are encrypted (`vault`)."""

    name = models.CharField(max_length=100, unique=True)
    task_id = models.CharField(max_length=200)
    scheme = models.CharField(max_length=20)
    window = models.IntegerField(default=300, help_text="Seconds that a signed time may be from now.")
    body_limit = models.IntegerField(default=262_144, help_text="Bytes of a body.")
    filter = models.TextField(blank=True, default="")
    mapping = models.TextField(blank=True, default="")
    enabled = models.BooleanField(default=True)
    secret = models.TextField(help_text="Encrypted.")
    old_secret = models.TextField(blank=True, default="", help_text="Encrypted; the one before, while it is valid.")
    old_until = models.DateTimeField(null=True, help_text="The old secret is valid until then.")
    refused_count = models.BigIntegerField(default=0, help_text="Requests without a valid signature.")
    refused_at = models.DateTimeField(null=True)
    refused_reason = models.CharField(max_length=300, blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Delivery(models.Model):
    """A request whose signature was valid, and what came of it."""

    id = models.UUIDField(primary_key=True)
    webhook = models.ForeignKey(Webhook, models.CASCADE, db_index=False, related_name="deliveries")
    remote_id = models.CharField(max_length=200, help_text="The sender's id of it: a second one is no second run.")
    received_at = models.DateTimeField(auto_now_add=True)
    headers = models.JSONField()
    query = models.JSONField()
    body = models.JSONField(null=True)
    outcome = models.CharField(max_length=10)
    reason = models.TextField(blank=True, default="")
    errors = models.JSONField(default=list)
    run_id = models.UUIDField(null=True)
    resent = models.IntegerField(default=0, help_text="How often a person sent it again.")

    class Meta:
        ordering = ("-id",)
        indexes = (
            # Serves the webhook's page and API. (An id is a UUIDv7: in the order of arrival.)
            models.Index("webhook", "id", name="delivery_of_webhook"),
            # Serves the upkeep, which drops old ones.
            models.Index("received_at", name="delivery_by_age"),
        )
        constraints = (
            models.UniqueConstraint(fields=("webhook", "remote_id"), name="delivery_once"),
            models.CheckConstraint(name="delivery_outcome", condition=models.Q(outcome__in=OUTCOMES)),
        )

    def __str__(self) -> str:
        return f"{self.webhook_id} {self.remote_id}"
