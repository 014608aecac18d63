"""What a schedule may do, apart from its tables: code declares schedules before Django has them."""

from django.db import models


class CatchUp(models.TextChoices):
    """Which of the ticks that nobody was there for begin a run when somebody is."""

    NONE = "none", "none"
    LATEST = "latest", "the latest"
    ALL = "all", "all, up to a hundred"


class Overlap(models.TextChoices):
    """What a tick does while the run of an earlier one goes on."""

    ALLOW = "allow", "begins another run"
    SKIP = "skip", "begins none"
    QUEUE = "queue", "waits for it to end"
    CANCEL_OLD = "cancel_old", "cancels it, and begins another"


class TickOutcome(models.TextChoices):
    STARTED = "started", "began a run"
    QUEUED = "queued", "waits for the run before to end"
    SKIPPED = "skipped", "the run before was going on"
    MISSED = "missed", "nobody was there"
    FAILED = "failed", "no run could begin"
