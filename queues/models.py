"""The tables of flow. One page map:

    Queue   what an admin edits: pool, limits, pause                      (few rows)
    Entry   an opaque id that may be leased now                           (size = backlog)
    Timer   an opaque id that becomes an Entry when its time comes,
            or when it is woken                                           (size = delayed and waiting work)
    Lease   an entry that a worker holds, with its fencing token          (size = work in flight)
    Freed   a key that gave a slot back: what is held of it may go on     (few rows)
    Start   how much of a queue with a rate started in a slice of time    (60 a queue with a rate)
    Worker  a process that leases: its lock, heartbeat and last commit    (few rows)

An id is in exactly one of Entry, Timer and Lease while it is alive, in none of them before and after.
`queues.store` is the only module that writes the others than Queue; its SQL lives in `queues/sql`.
"""

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models.functions import Now

from queues.declare import MAX_LIMIT
from queues.rate import MAX_AMOUNT, MAX_PERIOD, MIN_PERIOD, Rate

QUEUE_NAME = RegexValidator(
    r"^[a-zA-Z0-9][a-zA-Z0-9._-]{0,99}$",
    "Use 1 to 100 letters, digits, dots, dashes or underscores, beginning with a letter or digit.",
)
LIMIT_RANGE = [MinValueValidator(1), MaxValueValidator(MAX_LIMIT)]


class Lane(models.IntegerChoices):
    """How a worker executes an entry; each lane has its own capacity in a worker (DESIGN D11)."""

    COROUTINE = 0, "coroutine"
    THREAD = 1, "thread"
    PROCESS = 2, "process"


class Stage(models.IntegerChoices):
    """Where an entry stands. Those of a key without a slot, and those at home on another host, are put aside: no lease
    has to wade through them."""

    READY = 0, "ready"
    HELD = 1, "held"  # until its key gives a slot back
    BOUND = 2, "bound"  # for workers of its home


class Queue(models.Model):
    """A named lane of work with limits that an admin may edit while it runs."""

    name = models.CharField(max_length=100, unique=True, validators=[QUEUE_NAME])
    pool = models.CharField(
        max_length=100,
        default="default",
        db_default="default",
        validators=[QUEUE_NAME],
        help_text="The worker pool (an RQ queue) that serves this queue.",
    )
    concurrency_limit = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=LIMIT_RANGE,
        help_text="At most this many runs at once, over all workers and hosts. Empty: no limit.",
    )
    declared_concurrency_limit = models.PositiveIntegerField(
        null=True, blank=True, editable=False, help_text="The limit written in code: the default an edit overrides."
    )
    limit_edited = models.BooleanField(
        default=False, db_default=False, editable=False, help_text="True once a person's edit overrides the code."
    )
    key_concurrency_limit = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=LIMIT_RANGE,
        help_text="At most this many runs at once of each concurrency key. Empty: no limit.",
    )
    declared_key_concurrency_limit = models.PositiveIntegerField(null=True, blank=True, editable=False)
    key_limit_edited = models.BooleanField(
        default=False, db_default=False, editable=False, help_text="True once a person's edit overrides the code."
    )
    rate_amount = models.PositiveIntegerField(null=True, blank=True, help_text="At most so many starts in …")
    rate_period = models.FloatField(null=True, blank=True, help_text="… any window of so many seconds.")
    declared_rate_amount = models.PositiveIntegerField(null=True, blank=True, editable=False)
    declared_rate_period = models.FloatField(null=True, blank=True, editable=False)
    rate_edited = models.BooleanField(
        default=False, db_default=False, editable=False, help_text="True once a person's edit overrides the code."
    )
    paused_at = models.DateTimeField(null=True, blank=True, editable=False)
    paused_by = models.CharField(max_length=200, blank=True, default="", db_default="", editable=False)
    pause_reason = models.CharField(max_length=500, blank=True, default="", db_default="", editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("name",)
        constraints = (
            models.CheckConstraint(
                name="queue_concurrency_limit_range",
                condition=models.Q(concurrency_limit__isnull=True)
                | models.Q(concurrency_limit__gte=1, concurrency_limit__lte=MAX_LIMIT),
                violation_error_message=f"A concurrency limit is a whole number from 1 to {MAX_LIMIT:,}, or empty.",
            ),
            models.CheckConstraint(
                name="queue_key_concurrency_limit_range",
                condition=models.Q(key_concurrency_limit__isnull=True)
                | models.Q(key_concurrency_limit__gte=1, key_concurrency_limit__lte=MAX_LIMIT),
                violation_error_message=f"A limit per key is a whole number from 1 to {MAX_LIMIT:,}, or empty.",
            ),
            models.CheckConstraint(
                name="queue_rate_range",
                condition=models.Q(rate_amount__isnull=True, rate_period__isnull=True)
                | models.Q(
                    rate_amount__gte=1,
                    rate_amount__lte=MAX_AMOUNT,
                    rate_period__gte=MIN_PERIOD,
                    rate_period__lte=MAX_PERIOD,
                ),
            ),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def paused(self) -> bool:
        return self.paused_at is not None

    @property
    def rate(self) -> Rate | None:
        return _rate(self.rate_amount, self.rate_period)

    @rate.setter
    def rate(self, rate: Rate | None) -> None:
        self.rate_amount, self.rate_period = (rate.amount, rate.period) if rate else (None, None)

    @property
    def declared_rate(self) -> Rate | None:
        """The rate written in code: the default an edit overrides."""
        return _rate(self.declared_rate_amount, self.declared_rate_period)


def _rate(amount: int | None, period: float | None) -> Rate | None:
    return Rate(amount, period) if amount is not None and period is not None else None


class Entry(models.Model):
    """Something that may be leased now. Written by `queues.store` alone."""

    entry_id = models.UUIDField(primary_key=True)
    queue = models.ForeignKey(Queue, models.PROTECT, db_constraint=False, db_index=False, related_name="entries")
    lane = models.SmallIntegerField(choices=Lane.choices)
    priority = models.SmallIntegerField(default=0, db_default=0)
    concurrency_key = models.CharField(max_length=200, null=True)  # noqa: DJ001 - no key is not the empty key
    ready_at = models.DateTimeField()
    stage = models.SmallIntegerField(choices=Stage.choices, default=Stage.READY, db_default=Stage.READY)
    home = models.CharField(max_length=255, null=True)  # noqa: DJ001 - the host for which it was put aside

    class Meta:
        verbose_name_plural = "entries"
        indexes = (
            # Serves the lease: the next entries of one queue and lane, best first.
            models.Index(
                "queue", "lane", "stage", models.F("priority").desc(), "ready_at", "entry_id", name="entry_next"
            ),
            # Serves admission when a key gives a slot back: the next that was held of it.
            models.Index(
                "queue",
                "concurrency_key",
                models.F("priority").desc(),
                "ready_at",
                "entry_id",
                name="entry_held",
                condition=models.Q(stage=Stage.HELD),
            ),
            # Serves workers of a host: what was put aside for them.
            models.Index("home", "ready_at", name="entry_home", condition=models.Q(home__isnull=False)),
        )

    def __str__(self) -> str:
        return str(self.entry_id)


class Home(models.Model):
    """The host on which an entry finds what it needs. Written by `queues.store` alone; see `sql/homes.sql`."""

    entry_id = models.UUIDField(primary_key=True)
    hostname = models.CharField(max_length=255)
    pool = models.CharField(max_length=100)

    class Meta:
        indexes = (
            # Serves the search for hosts whose workers are gone.
            models.Index("hostname", "pool", name="home_host"),
        )

    def __str__(self) -> str:
        return f"{self.entry_id} at {self.hostname}"


class Timer(models.Model):
    """Something that becomes an Entry at `due_at`. Written by `queues.store` alone."""

    entry_id = models.UUIDField(primary_key=True)
    queue = models.ForeignKey(Queue, models.PROTECT, db_constraint=False, db_index=False, related_name="timers")
    lane = models.SmallIntegerField(choices=Lane.choices)
    priority = models.SmallIntegerField(default=0, db_default=0)
    concurrency_key = models.CharField(max_length=200, null=True)  # noqa: DJ001 - no key is not the empty key
    due_at = models.DateTimeField(db_index=True, null=True, help_text="Empty: when it is woken.")

    def __str__(self) -> str:
        return str(self.entry_id)


class Worker(models.Model):
    """A worker process. Its id is the key of the session advisory lock that proves it alive (DESIGN D8)."""

    name = models.CharField(max_length=200, db_index=True)
    pools = models.JSONField(default=list)
    hostname = models.CharField(max_length=255)
    pid = models.IntegerField()
    version = models.CharField(max_length=64, blank=True, default="")
    coroutines = models.IntegerField(help_text="Capacity of the coroutine lane.")
    threads = models.IntegerField(help_text="Capacity of the thread lane.")
    processes = models.IntegerField(default=0, db_default=0, help_text="Capacity of the process lane.")
    started_at = models.DateTimeField(db_default=Now())
    heartbeat_at = models.DateTimeField(db_default=Now())
    server_started_at = models.DateTimeField(help_text="Start of the PostgreSQL server on which the lock was taken.")
    batch = models.BigIntegerField(default=0, db_default=0, help_text="The last group commit that was recorded.")
    running = models.IntegerField(default=0, db_default=0, help_text="Runs in flight at the last heartbeat.")
    memory = models.BigIntegerField(default=0, db_default=0, help_text="Resident bytes at the last heartbeat.")
    draining_at = models.DateTimeField(null=True)
    stopped_at = models.DateTimeField(null=True, help_text="When it said goodbye.")
    lost_at = models.DateTimeField(null=True, help_text="When it was declared dead.")
    returned_at = models.DateTimeField(null=True, help_text="When it came back after that, and was refused.")

    class Meta:
        indexes = (
            # Serves recovery and the live list: the few workers that are not history.
            models.Index(
                "id",
                name="worker_alive",
                condition=models.Q(stopped_at__isnull=True, lost_at__isnull=True),
            ),
        )

    def __str__(self) -> str:
        return self.name


class Lease(models.Model):
    """An entry in a worker's hands. The primary key is what makes a second holder impossible."""

    entry_id = models.UUIDField(primary_key=True)
    queue = models.ForeignKey(Queue, models.PROTECT, db_constraint=False, related_name="leases")
    worker = models.ForeignKey(Worker, models.PROTECT, db_constraint=False, related_name="leases")
    token = models.BigIntegerField(help_text="Fencing token: no two leases ever have the same.")
    lane = models.SmallIntegerField(choices=Lane.choices)
    priority = models.SmallIntegerField()
    concurrency_key = models.CharField(max_length=200, null=True)  # noqa: DJ001 - no key is not the empty key
    ready_at = models.DateTimeField(help_text="When it could first have been leased.")
    leased_at = models.DateTimeField()

    class Meta:
        indexes = (
            # Serves the lease: how many slots a key has taken.
            models.Index(
                "queue", "concurrency_key", name="lease_key", condition=models.Q(concurrency_key__isnull=False)
            ),
        )

    def __str__(self) -> str:
        return str(self.entry_id)


class Freed(models.Model):
    """A key whose slot was given back, or whose ready entry was withdrawn. Written with that, and taken by the next
    lease of its queue: a note cannot be missed, whichever of a lease and a release commits first."""

    queue = models.ForeignKey(Queue, models.CASCADE, db_constraint=False, related_name="freed")
    concurrency_key = models.CharField(max_length=200)

    def __str__(self) -> str:
        return self.concurrency_key


class Start(models.Model):
    """What started in a slice of time of a queue with a rate. Written by `queues.store` alone, under the queue's lock.

    A slice counts as long as its last start is in the window: never too little, and at most a sixtieth too long.
    """

    queue = models.ForeignKey(Queue, models.CASCADE, db_constraint=False, db_index=False, related_name="starts")
    slice = models.BigIntegerField(help_text="Its number since 1970, in sixtieths of the window.")
    count = models.IntegerField()
    last_at = models.DateTimeField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("queue", "slice"), name="start_once"),)
        indexes = (
            # Serves the lease, which sums the slices of a window.
            models.Index("queue", "last_at", name="start_recent"),
        )

    def __str__(self) -> str:
        return f"{self.count} of queue {self.queue_id}"
