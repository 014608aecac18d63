"""The tables of a run's life. One page map:

    Task            a task id that some process has registered: its schemas, queue, retry policy
    Run             one call of a task: payload in, output or error out
    Attempt         one try of a run by one worker; the current one is the one without `finished_at`
    Snapshot        what a step returned, a checkpoint saved, a wait brought, a step's failed try, or that an unsafe
                    step was begun; numbered per run
    Wait            what a run waits for: time, a signal, a token, an approval, children      (open ones: few)
    Signal          a message to a run; unread until a wait takes it
    Update          a request to a run, and its reply
    Deadline        when a run has to have started, or ended
    Progress        how far a run says that it is, and what it says of itself
    Usage           what an attempt has used of a unit: tokens, money, anything
    Budget          how much of a unit a run and the runs it waits for may use, and have used
    LogLine         what a run said; its sequence is a cursor over the whole table
    Chunk           a piece of a stream of a run; its sequence is a cursor likewise
    IdempotencyKey  the promise that one key starts one run
    DebounceKey     calls that come close upon each other, and their one run
    Rollup          one-minute counts and duration histograms, what charts and pages read
    CoarseRollup    sums of these over a quarter, an hour, six hours; CoarseMark: until when there are some
    MinuteSum       sums of a minute's, without their buckets: what alerts look at
    UsageRollup     one-minute sums of usage per task
    ErrorGroup      failed tries that are the same failure; ErrorCount: how often, by hour, task, step, version
    CauseNote       what somebody says of a cause of the verdict, for as long as it holds     (few)
    SavedView       a search of the list of runs under a name, one's own or everybody's       (few)

Snapshots, log lines and chunks are partitioned by their run's id: a UUIDv7 begins with the run's creation time, so a
partition is a span of time, one run's rows are in one partition, and retention drops whole partitions.
Foreign keys between the big tables carry no database constraint: each row would cost a trigger, and retention
would have to visit every row. What ties them is that `runs.store` writes them in one transaction.
"""

from decimal import Decimal

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Now
from django.db.models.lookups import Exact, IsNull

from queues.models import Lane, Queue, Worker
from runs.alerts import model as alerts  # noqa: F401 - Django finds the tables by this
from runs.bulk import model as bulk  # noqa: F401 - Django finds the tables by this
from runs.causes.model import CauseNote as CauseNote
from runs.constraints import OneOf
from runs.errorgroups import model as errorgroups  # noqa: F401 - Django finds the tables by this
from runs.forks.model import Forked
from runs.keys.model import DebounceKey as DebounceKey
from runs.keys.model import IdempotencyKey as IdempotencyKey
from runs.outbound import model as outbound  # noqa: F401 - Django finds the tables by this
from runs.retries.model import STRUGGLING
from runs.rollupmodel import DIGITS, PLACES
from runs.rollupmodel import CoarseMark as CoarseMark
from runs.rollupmodel import CoarseRollup as CoarseRollup
from runs.rollupmodel import MinuteSum as MinuteSum
from runs.rollupmodel import Rollup as Rollup
from runs.rollupmodel import RollupKind as RollupKind
from runs.rollupmodel import UsageRollup as UsageRollup
from runs.savedviews.model import SavedView as SavedView
from runs.schedules import model as schedules  # noqa: F401 - Django finds the tables by this
from runs.states import FINAL, AttemptStatus, Status
from runs.stuck import model as stuck  # noqa: F401 - Django finds the tables by this
from runs.updatemodel import Update as Update
from runs.webhooks import model as webhooks  # noqa: F401 - Django finds the tables by this

STATUSES, ATTEMPT_STATUSES = [str(s) for s in Status], [str(s) for s in AttemptStatus]
FINAL_STATUSES = sorted(str(s) for s in FINAL)
KEYED = Q(concurrency_key__isnull=False)
FINGERPRINT, OPEN_ERROR = KeyTextTransform("fingerprint", "error"), Q(error__isnull=False, finished_at__isnull=True)
BAD = [s for s in FINAL_STATUSES if s != Status.COMPLETED]


class Task(models.Model):
    """A task as its code last declared it."""

    id = models.CharField(primary_key=True, max_length=200)
    module = models.CharField(max_length=300)
    doc = models.TextField(blank=True, default="")
    queue = models.ForeignKey(Queue, models.PROTECT, related_name="tasks")
    lane = models.SmallIntegerField(choices=Lane.choices, default=Lane.THREAD)
    retry = models.JSONField(default=dict)
    hooks = ArrayField(models.CharField(max_length=20), default=list, db_default=[], help_text="Those it declares.")
    max_duration = models.FloatField(null=True, help_text="Seconds.")
    payload_schema = models.JSONField(default=dict, help_text="JSON Schema of the payload.")
    output_schema = models.JSONField(default=dict, help_text="JSON Schema of the result.")
    version = models.CharField(max_length=64, help_text="Fingerprint of the code that was registered last.")
    registered_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return self.id


class Run(Forked):
    """One call of a task. `runs.store` writes every transition; nothing else does."""

    id = models.UUIDField(primary_key=True)
    task = models.ForeignKey(Task, models.PROTECT, db_constraint=False, db_index=False, related_name="runs")
    queue = models.ForeignKey(Queue, models.PROTECT, db_constraint=False, db_index=False, related_name="runs")
    status = models.CharField(max_length=10, choices=[(s, s) for s in STATUSES])
    payload = models.JSONField()
    output = models.JSONField(null=True)
    error = models.JSONField(null=True, help_text="{type, message, fingerprint, traceback} of the last failure.")
    attempt = models.IntegerField(default=0, db_default=0, help_text="Number of the current or last attempt.")
    failures = models.IntegerField(default=0, db_default=0, help_text="Attempts that failed: what max_attempts bounds.")
    crashes = models.IntegerField(default=0, db_default=0, help_text="Attempts whose worker died.")
    max_attempts = models.IntegerField(default=1, db_default=1)
    priority = models.SmallIntegerField(default=0, db_default=0)
    concurrency_key = models.CharField(max_length=200, null=True)  # noqa: DJ001 - no key is not the empty key
    units = models.IntegerField(default=1, db_default=1, help_text="What it counts in a rate that has a unit.")
    tags = ArrayField(models.CharField(max_length=100), default=list, db_default=[])
    idempotency_key = models.CharField(max_length=200, null=True)  # noqa: DJ001 - no key is not the empty key
    lease_token = models.BigIntegerField(null=True, help_text="Fencing token; set exactly while the run is leased.")
    worker = models.ForeignKey(Worker, models.PROTECT, null=True, db_constraint=False, db_index=False)
    next_at = models.DateTimeField(null=True, help_text="When a scheduled, retrying or waiting run is due.")
    waiting_for = models.JSONField(null=True)
    trace_id = models.CharField(max_length=32)
    parent_id = models.UUIDField(null=True)
    parent_wait = models.CharField(  # noqa: DJ001 - nobody waits for it
        max_length=250, null=True, help_text="Key of the wait in which its parent waits for it."
    )
    stopping = models.CharField(  # noqa: DJ001 - it is not being stopped
        max_length=10, null=True, help_text="The final status that a run in `cancelling` is being stopped for."
    )
    replay_of = models.UUIDField(null=True, help_text="The run whose task and payload this one was started with anew.")
    round = models.IntegerField(default=1, db_default=1, help_text="2 after the first continue_as_new.")
    past = models.IntegerField(default=0, db_default=0, help_text="The last snapshot number of earlier rounds.")
    version = models.CharField(max_length=64, blank=True, default="", db_default="")
    ending = models.JSONField(null=True, help_text="The outcome that is decided while its hook is being called.")
    accounts = ArrayField(
        models.UUIDField(), null=True, help_text="Runs whose budgets this one draws on: itself, those that wait for it."
    )
    refused = ArrayField(
        models.CharField(max_length=64), null=True, help_text="Versions of the code that its history does not fit."
    )
    accepted = models.IntegerField(
        null=True, help_text="Up to this snapshot a person has accepted that the code asks for other steps."
    )
    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, help_text="First line of the first attempt.")
    finished_at = models.DateTimeField(null=True)
    #: What it has used, may use and has said of itself, where a selector has filled them in (`runs.spending.fill`).
    usage: dict[str, Decimal] | None = None
    budget: "list[Budget] | None" = None
    progress: "Progress | None" = None
    beats: "list[Heartbeat] | None" = None  # of one run that was asked for alone

    class Meta:
        indexes = (
            STRUGGLING,
            # Serve the list by task and by queue, newest first (ids are UUIDv7).
            models.Index("task", models.F("id").desc(), name="run_by_task"),
            models.Index("queue", models.F("id").desc(), name="run_by_queue"),
            # Serves the list by status and the counts on Now. Completed runs are the common case: a scan down the
            # primary key finds them soon, so they stay out of this index.
            models.Index(
                "status", models.F("id").desc(), name="run_by_status", condition=~Q(status=str(Status.COMPLETED))
            ),
            # Serve the failures of one task or queue, which may be few among millions. Completed runs never touch them.
            models.Index("task", "status", models.F("id").desc(), name="run_bad_by_task", condition=Q(status__in=BAD)),
            models.Index(
                "queue", "status", models.F("id").desc(), name="run_bad_by_queue", condition=Q(status__in=BAD)
            ),
            models.Index("parent_id", "id", name="run_by_parent", condition=Q(parent_id__isnull=False)),
            # Serves the end of a fan-out: is any child of this wait unfinished?
            models.Index(
                "parent_id",
                "parent_wait",
                name="run_unfinished_child",
                condition=Q(parent_wait__isnull=False, finished_at__isnull=True),
            ),
            # Serves a worker that looks for runs which it is to stop.
            models.Index("worker", name="run_to_stop", condition=Q(status=str(Status.CANCELLING))),
            # Serves a worker that starts with new code: runs that were left for it.
            models.Index("id", name="run_deferred", condition=Q(waiting_for__has_key="deferred")),
            # Serve the terms of a search (runs.search.plan), newest first; run_open_by_error: an error group's.
            models.Index("concurrency_key", models.F("id").desc(), name="run_by_key", condition=KEYED),
            models.Index(FINGERPRINT, models.F("id").desc(), name="run_by_error", condition=Q(error__isnull=False)),
            models.Index(FINGERPRINT, models.F("id").desc(), name="run_open_by_error", condition=OPEN_ERROR),
            models.Index("worker", models.F("id").desc(), name="run_by_worker", condition=Q(worker__isnull=False)),
            models.Index("version", models.F("id").desc(), name="run_by_version", condition=~Q(version="")),
            models.Index(models.F("id").desc(), name="run_retried", condition=Q(attempt__gt=1)),
            # Serves samples of what ended in a time (runs.explore.differences). Runs that go on are not in it.
            models.Index("finished_at", name="run_by_end", condition=Q(finished_at__isnull=False)),
            # Serves the tag filter; untagged runs cost it nothing.
            GinIndex("tags", name="run_by_tag", condition=~Q(tags=[])),
        )
        constraints = (
            models.CheckConstraint(name="run_status_known", condition=OneOf("status", STATUSES)),
            models.CheckConstraint(
                name="run_final_has_finished_at",
                condition=Exact(OneOf("status", FINAL_STATUSES), IsNull(models.F("finished_at"), False)),
            ),
        )

    def __str__(self) -> str:
        return f"{self.task_id} {self.id}"


class Attempt(models.Model):
    """One try of a run. It stays open over waits; it ends when the function returns, raises or is lost."""

    run = models.ForeignKey(Run, models.CASCADE, db_constraint=False, db_index=False, related_name="attempts")
    number = models.IntegerField()
    status = models.CharField(max_length=10, choices=[(str(s), str(s)) for s in AttemptStatus])
    worker = models.ForeignKey(Worker, models.PROTECT, null=True, db_constraint=False, db_index=False)
    error = models.JSONField(null=True)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    active = models.FloatField(default=0, db_default=0, help_text="Seconds in a worker's hands; waits do not count.")
    overlap_at = models.DateTimeField(
        null=True, help_text="When the worker of this attempt came back after it was declared dead, and was refused."
    )
    usage: dict[str, Decimal] | None = None  # filled in by a selector

    class Meta:
        ordering = ("run_id", "number")
        constraints = (
            models.UniqueConstraint(fields=("run", "number"), name="attempt_number_unique"),
            models.UniqueConstraint(fields=("run",), name="attempt_one_current", condition=Q(finished_at__isnull=True)),
            models.CheckConstraint(name="attempt_status_known", condition=OneOf("status", ATTEMPT_STATUSES)),
            models.CheckConstraint(
                name="attempt_final_has_finished_at",
                condition=Q(status=str(AttemptStatus.RUNNING), finished_at__isnull=True)
                | (~Q(status=str(AttemptStatus.RUNNING)) & Q(finished_at__isnull=False)),
            ),
        )

    def __str__(self) -> str:
        return f"{self.run_id} attempt {self.number}"


class SnapshotKind(models.TextChoices):
    STEP = "step", "step"
    CHECKPOINT = "checkpoint", "checkpoint"
    WAIT = "wait", "wait"
    FAILURE = "failure", "failed try of a step"
    INTENT = "intent", "beginning of an unsafe step"
    CLEARED = "cleared", "word that an unsafe step did not happen"
    HANDED = "handed", "word that somebody outside finishes a step"


class Snapshot(models.Model):
    """A durable fact of a run. Partitioned; in the database the primary key is (run, sequence)."""

    id = models.BigAutoField(primary_key=True)
    run = models.ForeignKey(Run, models.CASCADE, db_constraint=False, db_index=False, related_name="snapshots")
    sequence = models.IntegerField(help_text="1, 2, 3 … within the run.")
    kind = models.CharField(max_length=10, choices=SnapshotKind.choices)
    name = models.CharField(max_length=200)
    key = models.CharField(max_length=250, help_text="The step's identity within the run: name and count, or its key.")
    attempt = models.IntegerField()
    input = models.JSONField(null=True)
    output = models.JSONField(null=True)
    state = models.JSONField(null=True)
    error = models.JSONField(null=True)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField()
    usage = models.JSONField(null=True, help_text="What this try of the step used: unit → amount.")

    class Meta:
        ordering = ("run_id", "sequence")
        constraints = (models.UniqueConstraint(fields=("run", "sequence"), name="snapshot_sequence_unique"),)

    def __str__(self) -> str:
        return f"{self.run_id} #{self.sequence} {self.name}"


class LogLine(models.Model):
    """One line that a run said. Partitioned; in the database the primary key is (run, sequence)."""

    sequence = models.BigAutoField(primary_key=True)
    run = models.ForeignKey(Run, models.CASCADE, db_constraint=False, db_index=False, related_name="log_lines")
    at = models.DateTimeField()
    level = models.SmallIntegerField(help_text="Numbers of the standard logging module: 10 debug … 50 critical.")
    message = models.TextField()
    fields = models.JSONField(null=True)
    attempt = models.IntegerField()
    step = models.CharField(max_length=250, blank=True, default="")

    class Meta:
        ordering = ("sequence",)

    def __str__(self) -> str:
        return self.message[:80]


WAIT_KINDS = ("sleep", "signal", "token", "approval", "children", "retry", "budget", "update")
#: Kinds that people and programs answer.
ANSWERED_KINDS = ("approval", "token", "signal")
WAIT_OUTCOMES = ("completed", "failed", "timed_out", "cancelled")


class Wait(models.Model):
    """What a run waits for. `runs.store` writes it, under the run's lock (see `sql/waits.sql`)."""

    id = models.UUIDField(primary_key=True, help_text="UUIDv5 of the run's id and the key.")
    run = models.ForeignKey(Run, models.CASCADE, db_constraint=False, db_index=False, related_name="waits")
    key = models.CharField(max_length=300, help_text="The wait's identity within the run.")
    kind = models.CharField(max_length=10, choices=[(kind, kind) for kind in WAIT_KINDS])
    name = models.CharField(max_length=250, blank=True, default="")
    sequence = models.IntegerField(help_text="In the order in which the run asked.")
    detail = models.JSONField(null=True, help_text="Schema of the answer, assignee, group, default, context.")
    created_at = models.DateTimeField()
    due_at = models.DateTimeField(null=True, help_text="When it ends by itself.")
    resolved_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=10, null=True)  # noqa: DJ001 - still open
    output = models.JSONField(null=True)
    resolved_by = models.CharField(max_length=200, blank=True, default="", db_default="")

    class Meta:
        ordering = ("run_id", "sequence")
        indexes = (
            # Serves the lists of what somebody is to answer, oldest first. Sleeps and children stay out of it.
            models.Index(
                "kind",
                "created_at",
                "id",
                name="wait_to_answer",
                condition=Q(resolved_at__isnull=True, kind__in=ANSWERED_KINDS),
            ),
            # Serves a top-up: who is parked for this budget? (The wait's name is the id of the budget's run.)
            models.Index("name", name="wait_for_budget", condition=Q(resolved_at__isnull=True, kind="budget")),
        )
        constraints = (
            models.UniqueConstraint(fields=("run", "key"), name="wait_key_unique"),
            models.CheckConstraint(name="wait_kind_known", condition=OneOf("kind", WAIT_KINDS)),
            models.CheckConstraint(
                name="wait_over_has_outcome",
                condition=Q(resolved_at__isnull=True, outcome__isnull=True)
                | Q(resolved_at__isnull=False, outcome__in=WAIT_OUTCOMES),
            ),
        )

    def __str__(self) -> str:
        return f"{self.run_id} {self.key}"


class Signal(models.Model):
    """A message to a run. Those of one name are read in the order in which they were sent."""

    run = models.ForeignKey(Run, models.CASCADE, db_constraint=False, db_index=False, related_name="signals")
    name = models.CharField(max_length=200)
    payload = models.JSONField(null=True)
    sent_at = models.DateTimeField()
    sent_by = models.CharField(max_length=200, blank=True, default="")
    wait_id = models.UUIDField(null=True, help_text="The wait that took it.")

    class Meta:
        ordering = ("id",)
        indexes = (
            models.Index("run", "name", "id", name="signal_unread", condition=Q(wait_id__isnull=True)),
            models.Index("wait_id", name="signal_taken", condition=Q(wait_id__isnull=False)),
        )

    def __str__(self) -> str:
        return f"{self.run_id} {self.name}"


class Deadline(models.Model):
    """When a run has to have started (`ttl`) or ended (`timeout`). Gone once it has been acted upon."""

    run = models.ForeignKey(Run, models.CASCADE, db_constraint=False, related_name="deadlines")
    kind = models.CharField(max_length=10, choices=[("ttl", "ttl"), ("timeout", "timeout")])
    at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"{self.run_id} {self.kind}"


class Progress(models.Model):
    """What a run has said of itself last: how far it is, and anything about it."""

    run = models.OneToOneField(Run, models.CASCADE, primary_key=True, db_constraint=False, related_name="+")
    value = models.FloatField(null=True, help_text="0 to 1.")
    words = models.CharField(max_length=200, blank=True, default="")
    metadata = models.JSONField(null=True)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.run_id} {self.value}"


class Heartbeat(models.Model):
    """The latest heartbeat of a step that has not finished, for its next try and for those who look."""

    run = models.ForeignKey(Run, models.CASCADE, db_constraint=False, db_index=False, related_name="heartbeats")
    key = models.CharField(max_length=250, help_text="The step's identity in its run.")
    attempt = models.IntegerField()
    details = models.JSONField(null=True)
    at = models.DateTimeField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("run", "key"), name="heartbeat_of_step"),)

    def __str__(self) -> str:
        return f"{self.run_id} {self.key}"


class Usage(models.Model):
    """What one attempt of a run has used of one unit, steps and all. A step's own part stands in its snapshot."""

    run = models.ForeignKey(Run, models.CASCADE, db_constraint=False, db_index=False, related_name="used")
    attempt = models.IntegerField()
    unit = models.CharField(max_length=60)
    amount = models.DecimalField(max_digits=DIGITS, decimal_places=PLACES)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("run", "attempt", "unit"), name="usage_unique"),)

    def __str__(self) -> str:
        return f"{self.run_id} {self.unit} {self.amount}"


class Budget(models.Model):
    """How much of a unit a run may use, together with the runs that it waits for, and theirs. All of them add to
    `spent`; a top-up raises `amount`."""

    run = models.ForeignKey(Run, models.CASCADE, db_constraint=False, db_index=False, related_name="budgets")
    unit = models.CharField(max_length=60)
    amount = models.DecimalField(max_digits=DIGITS, decimal_places=PLACES)
    spent = models.DecimalField(max_digits=DIGITS, decimal_places=PLACES, default=0, db_default=0)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("run", "unit"), name="budget_unique"),)

    def __str__(self) -> str:
        return f"{self.run_id} {self.unit} {self.spent} of {self.amount}"


class ChunkKind(models.TextChoices):
    CHUNK = "chunk", "chunk"
    RESTART = "restart", "what came before is sent again"
    CLOSED = "closed", "nothing more will be sent"


class Chunk(models.Model):
    """A piece of a stream. Partitioned; in the database the primary key is (run, stream, sequence)."""

    sequence = models.BigAutoField(primary_key=True)
    run = models.ForeignKey(Run, models.CASCADE, db_constraint=False, db_index=False, related_name="chunks")
    stream = models.CharField(max_length=100, db_collation="C")
    kind = models.CharField(max_length=10, choices=ChunkKind.choices)
    at = models.DateTimeField()
    data = models.JSONField(null=True)
    attempt = models.IntegerField()
    step = models.CharField(max_length=250, blank=True, default="")
    snapshot = models.IntegerField(
        help_text="Sequence of the run's last snapshot when this was sent; of a restart, from where on."
    )

    class Meta:
        ordering = ("sequence",)

    def __str__(self) -> str:
        return f"{self.run_id} {self.stream} {self.sequence}"
