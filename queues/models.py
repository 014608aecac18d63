"""The tables of flow. One page map:

    Queue   what an admin edits: pool, limits, pause                      (few rows)
    Entry   an opaque id that may be leased now                           (size = backlog)
    Timer   an opaque id that becomes an Entry when its time comes,
            or when it is woken                                           (size = delayed and waiting work)
    Lease   an entry that a worker holds, with its fencing token          (size = work in flight)
    Turn    a concurrency key with entries that wait: its place in line   (one a key and lane that wait)
    Note    a key for whose place something has changed                   (few rows)
    Start   how much of a queue or key with a rate started in a slice     (60 a window)
    Breaker what steps call, and whether they may now                     (few rows)
    Sample  how a queue stood at a minute                                 (a month of minutes)
    Worker  a process that leases: its lock, heartbeat and last commit    (few rows)

An id is in exactly one of Entry, Timer and Lease while it is alive, in none of them before and after.
`queues.store` is the only module that writes the others than Queue; its SQL lives in `queues/sql`.
"""

from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models.functions import Now

from queues.editable import MAX_LIMIT, SETTINGS
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
    """Where an entry stands. One at home on another host is put aside: no lease has to wade through those."""

    READY = 0, "ready"
    BOUND = 2, "bound"  # for workers of its home


def _rate_range(rate: str) -> models.Q:
    return models.Q(**{f"{rate}_amount__isnull": True, f"{rate}_period__isnull": True}) | models.Q(
        **{
            f"{rate}_amount__gte": 1,
            f"{rate}_amount__lte": MAX_AMOUNT,
            f"{rate}_period__gte": MIN_PERIOD,
            f"{rate}_period__lte": MAX_PERIOD,
        }
    )


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
    key_concurrency_limit = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=LIMIT_RANGE,
        help_text="At most this many runs at once of each concurrency key. Empty: no limit.",
    )
    key_weights = models.JSONField(
        default=dict,
        blank=True,
        db_default=models.Value({}, models.JSONField()),
        help_text="How many runs of a concurrency key start in one turn, where that is not one: {key: starts}.",
    )
    rate_amount = models.PositiveIntegerField(null=True, blank=True, help_text="At most so many starts in …")
    rate_period = models.FloatField(null=True, blank=True, help_text="… any window of so many seconds.")
    rate_unit = models.CharField(max_length=60, null=True, blank=True)  # noqa: DJ001 - no unit: starts are counted
    key_rate_amount = models.PositiveIntegerField(null=True, blank=True, help_text="The same of each concurrency key.")
    key_rate_period = models.FloatField(null=True, blank=True)
    key_rate_unit = models.CharField(max_length=60, null=True, blank=True)  # noqa: DJ001
    declared = models.JSONField(
        default=dict,
        db_default=models.Value({}, models.JSONField()),
        editable=False,
        help_text="The settings that are written in code: the defaults that an edit overrides.",
    )
    edited = models.JSONField(
        default=list,
        db_default=models.Value([], models.JSONField()),
        editable=False,
        help_text="The settings in which a person's edit overrides the code.",
    )
    paused_at = models.DateTimeField(null=True, blank=True, editable=False)
    paused_until = models.DateTimeField(null=True, editable=False, help_text="When the pause ends by itself.")
    drains = models.BooleanField(
        default=False, db_default=False, editable=False, help_text="Paused for what came after `paused_at` alone."
    )
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
            models.CheckConstraint(name="queue_rate_range", condition=_rate_range("rate")),
            models.CheckConstraint(name="queue_key_rate_range", condition=_rate_range("key_rate")),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def paused(self) -> bool:
        return self.paused_at is not None

    @property
    def rate(self) -> Rate | None:
        return Rate.of(self.rate_amount, self.rate_period, self.rate_unit)

    @rate.setter
    def rate(self, rate: Rate | None) -> None:
        self.rate_amount, self.rate_period, self.rate_unit = rate.columns if rate else (None, None, None)

    @property
    def key_rate(self) -> Rate | None:
        return Rate.of(self.key_rate_amount, self.key_rate_period, self.key_rate_unit)

    @key_rate.setter
    def key_rate(self, rate: Rate | None) -> None:
        self.key_rate_amount, self.key_rate_period, self.key_rate_unit = rate.columns if rate else (None, None, None)

    def declares(self, name: str) -> Any:
        """The value of a setting that is written in code: the default an edit overrides."""
        return SETTINGS[name].check(self.declared.get(name))


class Entry(models.Model):
    """Something that may be leased now. Written by `queues.store` alone."""

    entry_id = models.UUIDField(primary_key=True)
    queue = models.ForeignKey(Queue, models.PROTECT, db_constraint=False, db_index=False, related_name="entries")
    lane = models.SmallIntegerField(choices=Lane.choices)
    priority = models.SmallIntegerField(default=0, db_default=0)
    concurrency_key = models.CharField(max_length=200, null=True)  # noqa: DJ001 - no key is not the empty key
    units = models.IntegerField(default=1, db_default=1, help_text="What it counts in a rate that has a unit.")
    ready_at = models.DateTimeField()
    counts_from = models.DateTimeField(
        help_text="Since when it counts as waiting: since it was ready, and a minute longer for each point of priority."
    )
    stage = models.SmallIntegerField(choices=Stage.choices, default=Stage.READY, db_default=Stage.READY)
    home = models.CharField(max_length=255, null=True)  # noqa: DJ001 - the host for which it was put aside

    class Meta:
        verbose_name_plural = "entries"
        indexes = (
            # Serves the lease: the next entries of one queue and lane without a key, the first in line first.
            models.Index(
                "queue",
                "lane",
                "stage",
                "counts_from",
                "entry_id",
                name="entry_next",
                condition=models.Q(concurrency_key__isnull=True),
            ),
            # Serves the lease: the same of one key.
            models.Index(
                "queue",
                "concurrency_key",
                "lane",
                "stage",
                "counts_from",
                "entry_id",
                name="entry_next_of_key",
                condition=models.Q(concurrency_key__isnull=False),
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
    units = models.IntegerField(default=1, db_default=1, help_text="What it counts in a rate that has a unit.")
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
    drain_asked_at = models.DateTimeField(null=True, help_text="When a person asked it to finish and leave.")
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
    units = models.IntegerField(default=1, db_default=1, help_text="What it counts in a rate that has a unit.")
    ready_at = models.DateTimeField(help_text="When it could first have been leased.")
    leased_at = models.DateTimeField()
    counted = models.IntegerField(null=True, help_text="What it counted in its queue's rate; empty without one.")
    key_counted = models.IntegerField(null=True, help_text="The same in the rate of its key.")

    class Meta:
        indexes = (
            # Serves the lease: how many slots a key has taken.
            models.Index(
                "queue", "concurrency_key", name="lease_key", condition=models.Q(concurrency_key__isnull=False)
            ),
        )

    def __str__(self) -> str:
        return str(self.entry_id)


class Turn(models.Model):
    """A key's place in line, while entries of it wait. Written by `queues.store` alone, under the queue's lock.

    A key counts as waiting since it was last served, or since its first entry was ready: so whoever was served last is
    last in line, however much of it waits.
    """

    queue = models.ForeignKey(Queue, models.CASCADE, db_constraint=False, db_index=False, related_name="turns")
    lane = models.SmallIntegerField(choices=Lane.choices)
    concurrency_key = models.CharField(max_length=200)
    counts_from = models.DateTimeField(
        null=True, help_text="Its first entry's place; empty while the key has no slot, or its rate is reached."
    )
    served_at = models.DateTimeField(null=True, help_text="When its last turn was over.")
    weight = models.SmallIntegerField(default=1, db_default=1, help_text="Starts of one turn.")
    left = models.SmallIntegerField(help_text="Starts that are left of this turn.")
    opens_at = models.DateTimeField(null=True, help_text="When the key's rate may let one through, if that holds it.")

    class Meta:
        constraints = (models.UniqueConstraint(fields=("queue", "lane", "concurrency_key"), name="turn_once"),)
        indexes = (
            # Serves the lease: the next keys of a queue and lane.
            models.Index("queue", "lane", "counts_from", name="turn_next"),
            # Serves the lease: keys that a rate has held, and holds no more.
            models.Index("queue", "opens_at", name="turn_opens", condition=models.Q(opens_at__isnull=False)),
        )

    def __str__(self) -> str:
        return self.concurrency_key


class Note(models.Model):
    """A key of which something came, or whose slot was given back. Written with that, and taken by the next lease of
    its queue, which sets the key's turn: a note cannot be missed, whichever of a lease and a release commits first."""

    queue = models.ForeignKey(Queue, models.CASCADE, db_constraint=False, db_index=False, related_name="notes")
    concurrency_key = models.CharField(max_length=200)

    class Meta:
        indexes = (
            # Serves the lease, which takes the oldest of a queue.
            models.Index("queue", "id", name="note_oldest"),
        )

    def __str__(self) -> str:
        return self.concurrency_key


class Start(models.Model):
    """What started in a slice of time of a queue with a rate, or of a key of it. Written by `queues.store` alone: the
    slices under the queue's lock, and beside them what settles runs that have used more, or less, than they had said.

    A slice counts as long as its last start is in the window: never too little, and at most a sixtieth too long.
    """

    queue = models.ForeignKey(Queue, models.CASCADE, db_constraint=False, db_index=False, related_name="starts")
    concurrency_key = models.CharField(max_length=200, default="", db_default="", help_text="Empty: the whole queue.")
    slice = models.BigIntegerField(
        null=True, help_text="Its number since 1970, in sixtieths of the window; empty for what settles a run."
    )
    count = models.BigIntegerField(help_text="Starts, or units.")
    last_at = models.DateTimeField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("queue", "concurrency_key", "slice"), name="start_once"),)
        indexes = (
            # Serves the lease, which sums the slices of a window.
            models.Index("queue", "concurrency_key", "last_at", name="start_recent"),
        )

    def __str__(self) -> str:
        return f"{self.count} of queue {self.queue_id}"


class BreakerState(models.TextChoices):
    CLOSED = "closed", "closed"  # calls go through, and are counted
    OPEN = "open", "open"  # none does
    HALF_OPEN = "half_open", "half open"  # a few probes do


class Breaker(models.Model):
    """Something that steps call, its thresholds as code declares them, and whether it may be called now. Its state is
    written by `queues.store`, and forced by `queues.breakers`."""

    name = models.CharField(max_length=100, unique=True)
    failure_rate = models.FloatField()
    min_calls = models.IntegerField()
    window = models.FloatField(help_text="Seconds.")
    slow = models.FloatField(null=True, help_text="Seconds from which a call is slow.")
    slow_rate = models.FloatField()
    cooldown = models.FloatField(help_text="Seconds.")
    probes = models.IntegerField()
    retry_budget = models.FloatField(null=True, help_text="Retries for each first call of a window.")
    state = models.CharField(
        max_length=9, choices=BreakerState.choices, default=BreakerState.CLOSED, db_default=BreakerState.CLOSED
    )
    since = models.DateTimeField()
    until = models.DateTimeField(null=True, help_text="When it is half open, or its probes are asked anew.")
    epoch = models.IntegerField(default=0, db_default=0, help_text="Number of its state: late probes count no more.")
    probes_begun = models.IntegerField(default=0, db_default=0)
    probes_ok = models.IntegerField(default=0, db_default=0)
    forced = models.CharField(max_length=9, blank=True, default="", db_default="", help_text="By a person, until then.")
    forced_by = models.CharField(max_length=200, blank=True, default="", db_default="")
    forced_reason = models.CharField(max_length=500, blank=True, default="", db_default="")

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class BreakerCount(models.Model):
    """What calls came to in a tenth of a breaker's window, as one process says. Written by `queues.store` alone."""

    breaker = models.ForeignKey(Breaker, models.CASCADE, db_constraint=False, db_index=False, related_name="counts")
    epoch = models.IntegerField(help_text="The breaker's, when it was said: each state begins with an empty window.")
    slice = models.BigIntegerField(help_text="Its number since 1970, in tenths of the window.")
    source = models.BigIntegerField(help_text="The process.")
    calls = models.IntegerField()
    failures = models.IntegerField()
    slow = models.IntegerField()
    retries = models.IntegerField()
    at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("breaker", "epoch", "slice", "source"), name="breaker_count_once"),
        )
        indexes = (
            # Serves the sums of a window.
            models.Index("breaker", "at", name="breaker_count_recent"),
        )

    def __str__(self) -> str:
        return f"{self.calls} of {self.breaker_id}"


class Sample(models.Model):
    """How a queue stood in a minute, for charts: the scheduler looks once. Written by `queues.store` alone."""

    minute = models.DateTimeField()
    queue = models.ForeignKey(Queue, models.CASCADE, db_constraint=False, db_index=False, related_name="samples")
    depth = models.IntegerField(help_text="Entries that were due and waited, counted up to 10,001.")
    running = models.IntegerField(help_text="Entries in the hands of workers.")
    concurrency_limit = models.IntegerField(null=True)
    paused = models.BooleanField()

    class Meta:
        constraints = (
            # Any number of schedulers write one row. Serves charts, which ask for a time, the
            # latest minute of all, and what is too old.
            models.UniqueConstraint(fields=("minute", "queue"), name="sample_once"),
        )

    def __str__(self) -> str:
        return f"{self.minute} {self.queue_id}"
