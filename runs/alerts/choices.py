"""What a rule of an alert may be, apart from its tables."""

from __future__ import annotations

from typing import Final

from django.db import models


class Kind(models.TextChoices):
    FAILURE_RATE = "failure_rate", "failure rate"
    LATENCY = "latency", "latency"
    HEAD_WAIT = "head_wait", "head wait"
    MISSED_SCHEDULE = "missed_schedule", "missed schedule"
    NO_PROGRESS = "no_progress", "no progress"
    SPEND = "spend", "spend"


class State(models.TextChoices):
    """Unmeasured is never green: it is not known whether all is well."""

    UNMEASURED = "unmeasured", "unmeasured"
    OK = "ok", "ok"
    PENDING = "pending", "pending"
    FIRING = "firing", "firing"


class Ended(models.TextChoices):
    """Why a firing is over."""

    RECOVERED = "recovered", "recovered"
    UNMEASURED = "unmeasured", "not measured for a day"
    CHANGED = "changed", "the rule was changed"
    OFF = "off", "the rule was switched off"
    DELETED = "deleted", "the rule was deleted"


class ChannelKind(models.TextChoices):
    EMAIL = "email", "e-mail"
    SLACK = "slack", "Slack-style webhook"
    JSON = "json", "JSON webhook"


#: Which settings a rule of a kind has, beside its threshold.
USES: Final[dict[str, tuple[str, ...]]] = {
    Kind.FAILURE_RATE: ("task", "queue", "window", "min_runs"),
    Kind.LATENCY: ("task", "queue", "window", "min_runs", "percentile"),
    Kind.HEAD_WAIT: ("queue",),
    Kind.MISSED_SCHEDULE: ("schedule", "window"),
    Kind.NO_PROGRESS: ("task", "queue"),
    Kind.SPEND: ("task", "window", "unit"),
}
#: What the settings are unless somebody says so; windows are seconds.
DEFAULTS: Final = {
    "task": "",
    "queue": "",
    "schedule": "",
    "window": 3_600,
    "min_runs": 20,
    "percentile": 95.0,
    "unit": "",
}
