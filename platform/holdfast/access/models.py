"""The tables of access. One page map:

    Membership   the role of a user; a superuser is an admin whatever it says   (one per user)
    ApiToken     a bearer token of a program: name, role, hash                  (few rows)
    SignInLink   a one-time link that `up` prints                               (few rows)
    GuessWindow  failed sign-ins per address, to slow guessing                  (emptied as it is used)
    AuditEntry   who did what to which object, why, before and after            (append-only)

Secrets are stored as SHA-256. That is enough because each is 256 random bits: there is nothing to guess, so a slow
password hash would only make every API request slower. The audit log names people and tokens by value, not by
foreign key, so that it outlives them; a database trigger refuses to change or delete its rows.
"""

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.core.validators import ProhibitNullCharactersValidator
from django.db import models
from django.db.models.functions import Now

from holdfast.access.roles import Role

NAME_LENGTH = 100
REASON_LENGTH = 1000


class Membership(models.Model):
    """The role of one user."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE, related_name="membership")
    role = models.CharField(max_length=10, choices=Role.choices)

    class Meta:
        verbose_name = "role of a user"
        verbose_name_plural = "roles of users"
        constraints = (models.CheckConstraint(name="membership_role_known", condition=models.Q(role__in=Role.values)),)

    def __str__(self) -> str:
        return f"{self.user}: {self.role}"


class ApiToken(models.Model):
    """A program's key to the HTTP API. The token itself is shown once, at creation, and never stored."""

    name = models.CharField(max_length=NAME_LENGTH, validators=[ProhibitNullCharactersValidator()])
    role = models.CharField(max_length=10, choices=Role.choices)
    token_hash = models.CharField(max_length=64, unique=True, editable=False)
    prefix = models.CharField(max_length=12, editable=False, help_text="How the token begins, to recognise it by.")
    created_by = models.CharField(max_length=200, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    last_used_at = models.DateTimeField(null=True, editable=False, help_text="To the minute.")
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Empty: never.")
    revoked_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        verbose_name = "API token"
        ordering = ("-id",)
        constraints = (models.CheckConstraint(name="api_token_role_known", condition=models.Q(role__in=Role.values)),)

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class SignInLink(models.Model):
    """A one-time way in. Without a user it signs in the built-in admin."""

    token_hash = models.CharField(max_length=64, unique=True, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        verbose_name = "sign-in link"
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"sign-in link {self.pk}"


class GuessWindow(models.Model):
    """Failed sign-ins of one key (an address, or an address and a user name) within one window."""

    key = models.CharField(primary_key=True, max_length=64, help_text="SHA-256 of what is counted.")
    count = models.IntegerField()
    since = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.key[:8]}: {self.count}"


class AuditEntry(models.Model):
    """One change by a person or a program. Written by `services.audit` alone."""

    at = models.DateTimeField(db_default=Now())
    actor_kind = models.CharField(max_length=10, help_text="user, token, local or system")
    actor_id = models.CharField(max_length=100)
    actor_label = models.CharField(max_length=200)
    action = models.CharField(max_length=100, help_text="For example queues.pause.")
    object_type = models.CharField(max_length=50)
    object_id = models.CharField(max_length=200)
    reason = models.CharField(max_length=REASON_LENGTH, blank=True, default="", db_default="")
    before = models.JSONField(null=True, encoder=DjangoJSONEncoder)
    after = models.JSONField(null=True, encoder=DjangoJSONEncoder)

    class Meta:
        verbose_name = "audit entry"
        verbose_name_plural = "audit log"
        ordering = ("-id",)
        indexes = (
            # Serves the history of one object, newest first. The whole log reads down the primary key.
            models.Index("object_type", "object_id", models.F("id").desc(), name="audit_by_object"),
            # Serves the marks of deploys in charts, few among many entries.
            models.Index("action", models.F("id").desc(), name="audit_by_action"),
        )

    def __str__(self) -> str:
        return f"{self.actor_label}: {self.action} {self.object_type} {self.object_id}"
