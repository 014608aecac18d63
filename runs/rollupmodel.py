"""The tables of one-minute sums, what charts and pages read; `runs.models` imports them, so that Django finds them."""

from __future__ import annotations

from django.db import models

#: Digits of an amount, and how many of them stand after the point.
DIGITS, PLACES = 36, 12


class RollupKind(models.TextChoices):
    RUN = "run", "run, from its creation to its end"
    ATTEMPT = "attempt", "attempt, active time"
    STEP = "step", "step, one try"
    DELAY = "delay", "from the moment a run could start to its start"


class Rollup(models.Model):
    """Counts of one minute. Buckets are logarithmic, so histograms of any rows add up: see `runs.histogram`.

    A worker counts what ends in its hands. Where a statement ends a run or an attempt (its worker is dead, its time is
    over, somebody cancelled it), it counts that in the same transaction, under the worker that had it last (0: nobody
    had) and by the number of its own connection as `name`: readers of runs and attempts add up all names.
    """

    id = models.BigAutoField(primary_key=True)
    minute = models.DateTimeField()
    kind = models.CharField(max_length=7, choices=RollupKind.choices)
    task = models.ForeignKey("runs.Task", models.CASCADE, db_constraint=False, db_index=False)
    queue = models.ForeignKey("queues.Queue", models.CASCADE, db_constraint=False, db_index=False)
    worker = models.ForeignKey("queues.Worker", models.CASCADE, db_constraint=False, db_index=False)
    name = models.CharField(max_length=200, blank=True, default="", help_text="The step's name.")
    version = models.CharField(max_length=64, blank=True, default="")
    status = models.CharField(max_length=10)
    bucket = models.SmallIntegerField()
    count = models.BigIntegerField()
    seconds = models.FloatField(help_text="Sum of the durations counted.")

    class Meta:
        constraints = (
            # One row per worker, or per connection where others count: nobody waits for another's row lock. Serves
            # every chart by its prefix.
            models.UniqueConstraint(
                fields=("minute", "kind", "task", "queue", "name", "version", "status", "bucket", "worker"),
                name="rollup_unique",
            ),
        )

    def __str__(self) -> str:
        return f"{self.minute} {self.kind} {self.task_id} {self.status}"


class CoarseRollup(models.Model):
    """Sums of Rollup over a bin of `size` minutes, of how runs ended (`run`) and when they started (`delay`): what is
    read where the time is long. The scheduler makes them once the bin is over; until then the minutes are read."""

    id = models.BigAutoField(primary_key=True)
    size = models.SmallIntegerField(help_text="Minutes; see runs.coarse.")
    kind = models.CharField(max_length=7, choices=RollupKind.choices)
    at = models.DateTimeField(help_text="When the bin begins.")
    task = models.ForeignKey("runs.Task", models.CASCADE, db_constraint=False, db_index=False)
    queue = models.ForeignKey("queues.Queue", models.CASCADE, db_constraint=False, db_index=False)
    version = models.CharField(max_length=64, blank=True, default="")
    status = models.CharField(max_length=10)
    bucket = models.SmallIntegerField()
    worker = models.ForeignKey("queues.Worker", models.CASCADE, db_constraint=False, db_index=False)
    count = models.BigIntegerField()

    class Meta:
        constraints = (
            # Serves Explore and the charts of a day by its prefix, and has all that they read of a bin.
            models.UniqueConstraint(
                fields=("size", "kind", "at", "task", "queue", "version", "status", "bucket", "worker"),
                include=("count",),
                name="coarse_rollup_unique",
            ),
        )

    def __str__(self) -> str:
        return f"{self.at} +{self.size} min {self.kind} {self.task_id} {self.status}"


class MinuteSum(models.Model):
    """Rollups of a minute without their buckets, names, versions and workers: what alerts look at, a week of which is
    read for a preview. Made with the sums of the smallest size, and there until the same time."""

    id = models.BigAutoField(primary_key=True)
    kind = models.CharField(max_length=7, choices=RollupKind.choices)
    minute = models.DateTimeField()
    task = models.ForeignKey("runs.Task", models.CASCADE, db_constraint=False, db_index=False)
    queue = models.ForeignKey("queues.Queue", models.CASCADE, db_constraint=False, db_index=False)
    status = models.CharField(max_length=10)
    count = models.BigIntegerField()
    longest = models.SmallIntegerField(help_text="The largest bucket.")

    class Meta:
        constraints = (
            # Serves alerts by its prefix, and has all that they read.
            models.UniqueConstraint(
                fields=("kind", "minute", "task", "queue", "status"),
                include=("count", "longest"),
                name="minute_sum_unique",
            ),
        )

    def __str__(self) -> str:
        return f"{self.minute} {self.kind} {self.task_id} {self.status}"


class CoarseMark(models.Model):
    """Until when there are sums of a size."""

    size = models.SmallIntegerField(primary_key=True)
    until = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.size} min until {self.until}"


class UsageRollup(models.Model):
    """What a task's runs have used of a unit within one minute."""

    id = models.BigAutoField(primary_key=True)
    minute = models.DateTimeField()
    task = models.ForeignKey("runs.Task", models.CASCADE, db_constraint=False, db_index=False)
    unit = models.CharField(max_length=60)
    worker = models.ForeignKey("queues.Worker", models.CASCADE, db_constraint=False, db_index=False)
    amount = models.DecimalField(max_digits=DIGITS, decimal_places=PLACES)

    class Meta:
        constraints = (
            # One row per worker, as in Rollup. Serves a task's chart by its prefix.
            models.UniqueConstraint(fields=("task", "unit", "minute", "worker"), name="usage_rollup_unique"),
        )

    def __str__(self) -> str:
        return f"{self.minute} {self.task_id} {self.unit}"
