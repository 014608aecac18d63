"""A made-up history comes into the database, and leaves it.

Nothing of it is alive: every run is over, so no entry, timer, lease or deadline stands for one, and every worker has
said goodbye. What looks for work (leases, timers, the sweeper) looks at entries and timers; what looks for the dead, at
workers that have not said goodbye and at leases: they find nothing of it. Endpoints are not told of it either: that is
the statements' doing that end runs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Final

import psycopg
from django.db import transaction
from django.db.models import Min, QuerySet

from holdfast import db
from holdfast.access.grants import Actor
from holdfast.access.models import AuditEntry
from holdfast.access.services import audit
from holdfast.demo.history import catalog
from holdfast.demo.history.changes import EDITED, KIND, RESOLUTION, changes
from holdfast.demo.history.incidents import MINUTE
from holdfast.demo.history.plan import DOMAIN, Plan
from holdfast.demo.history.rows import moment
from holdfast.demo.history.write import write
from queues import store as queue_store
from queues.declare import Queue as DeclaredQueue
from queues.models import Breaker, Queue, Worker
from runs import partitions, store
from runs.errorgroups.model import ErrorGroup
from runs.errors import HoldfastError
from runs.models import Run, Task

#: The least days in which all incidents have room, and the most; runs likewise.
MIN_DAYS, MAX_DAYS = 7, 366
MIN_RUNS, MAX_RUNS = 1_000, 2_000_000
_OURS: Final = f"{catalog.PREFIX}%"
#: A worker that was draining has ended what it had after its shift.
_DRAINED: Final = """
UPDATE queues_worker w SET stopped_at = m.last, heartbeat_at = m.last
FROM (SELECT worker_id, max(finished_at) AS last FROM runs_attempt WHERE worker_id = ANY(%s) GROUP BY worker_id) m
WHERE m.worker_id = w.id AND m.last > w.stopped_at
"""
#: Tables that count what happened by task.
_COUNTS: Final = (
    "runs_rollup", "runs_coarserollup", "runs_minutesum", "runs_usagerollup", "runs_idempotencykey",
    "runs_debouncekey", "runs_errorcount",
)  # fmt: skip
#: What people's own tasks have met as well stays theirs.
_FORGET_TASKS: Final = """
UPDATE runs_errorgroup g SET tasks = ARRAY(SELECT t FROM unnest(g.tasks) AS t WHERE t <> ALL(%(tasks)s))
WHERE g.tasks && %(tasks)s::varchar[]
"""
#: Milliseconds for which the guard of the audit log is waited for.
GUARD_WAIT: Final = 5_000


class SeedRefused(HoldfastError):
    """The history cannot be made, or taken away, as things are."""


def history_seed(
    *, days: int, runs: int, seed: int, add: bool, actor: Actor, told: Callable[[int], None] = lambda _: None
) -> tuple[Plan, int]:
    """Makes a history that ends now: all of it, or nothing. Returns its plan, and how many runs it has.

    Raises:
        SeedRefused: days or runs are out of range, it is there already, (without `add`) there are other runs, or a
            transaction that takes long is in the way of the partitions.
    """
    plan = _checked(Plan(time.time() // MINUTE * MINUTE, days, runs, seed), add)
    _make_partitions(days)
    with transaction.atomic(), db.callers() as conn:
        _claim(conn)
        _checked(plan, add)
        queues = _make_queues(plan)
        _make_tasks(plan)
        workers = _make_workers(plan)
        written = write(conn, plan, {name: queues[name].pk for name in catalog.QUEUES}, workers, told)
        conn.execute(_DRAINED, [workers])
        store.forget_sums(conn, since=moment(plan.start))
        _resolve(plan)
        _make_changes(plan)
        about = {"end": plan.end, "days": days, "asked": runs, "seed": seed, "runs": written}
        audit(actor, "demo.seed", "history", catalog.TAG, after=about)
    with db.callers() as conn:
        for table in ("runs_run", "runs_attempt", "runs_rollup", "queues_sample"):
            conn.execute(f"ANALYZE {table}")
    return plan, written


def history_remove(*, actor: Actor) -> int:
    """Takes away what `history_seed` has made, and runs of its tasks that people have started since. Of the audit log
    its own entries go, which tell of what never happened, and one stays that says so. Returns how many runs there were.

    Raises:
        SeedRefused: a worker has one of its runs in hands.
    """
    with transaction.atomic(), db.callers() as conn:
        _claim(conn)
        tasks = list(_tasks().values_list("id", flat=True))
        if not tasks:
            return 0
        conn.execute("CREATE TEMP TABLE seeded_runs (id uuid PRIMARY KEY) ON COMMIT DROP")
        conn.execute("INSERT INTO seeded_runs SELECT r.id FROM runs_run r WHERE r.task_id = ANY(%s)", [tasks])
        conn.execute("ANALYZE seeded_runs")
        found = conn.execute("SELECT count(*) FROM seeded_runs").fetchone()
        held = conn.execute("SELECT 1 FROM queues_lease l JOIN seeded_runs s ON s.id = l.entry_id").fetchone()
        if held is not None:
            raise SeedRefused("A worker has a run of the seeded tasks in hands. Try again in a moment.")
        for table, column in _belongings():
            conn.execute(f"DELETE FROM {table} t USING seeded_runs s WHERE t.{column} = s.id")  # noqa: S608 - our own names
        for table in _COUNTS:
            conn.execute(f"DELETE FROM {table} t WHERE t.task_id = ANY(%s)", [tasks])  # noqa: S608
        conn.execute(_FORGET_TASKS, {"tasks": tasks})
        conn.execute("DELETE FROM runs_errorgroup g WHERE g.tasks = '{}'")
        conn.execute("DELETE FROM runs_task t WHERE t.id = ANY(%s)", [tasks])
        conn.execute("DELETE FROM queues_worker w WHERE w.name LIKE %s AND w.hostname LIKE %s", [_OURS, f"%.{DOMAIN}"])
        conn.execute("DELETE FROM queues_breaker b WHERE b.name = %s", [catalog.GATEWAY])
        _remove_queues(conn)
        _remove_changes(conn)
        audit(actor, "demo.unseed", "history", catalog.TAG, before={"runs": found[0] if found else 0})
    return int(found[0]) if found else 0


# ── before ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _claim(conn: db.Conn) -> None:
    """One at a time."""
    conn.execute("SELECT pg_advisory_xact_lock(hashtext('holdfast seed'))")


def _checked(plan: Plan, add: bool) -> Plan:
    if not MIN_DAYS <= plan.days <= MAX_DAYS:
        raise SeedRefused(f"days is {plan.days}; write a number from {MIN_DAYS} to {MAX_DAYS}.")
    if not MIN_RUNS <= plan.runs <= MAX_RUNS:
        raise SeedRefused(f"runs is {plan.runs}; write a number from {MIN_RUNS:,} to {MAX_RUNS:,}.")
    if _tasks().exists():
        raise SeedRefused("There is a seeded history already. Take it away first: manage.py seed --remove")
    names = [task.id for task in catalog.TASKS]
    taken = [*Task.objects.filter(id__in=names).values_list("id", flat=True)]
    taken += Queue.objects.filter(name__in=catalog.QUEUES).values_list("name", flat=True)
    taken += Breaker.objects.filter(name=catalog.GATEWAY).values_list("name", flat=True)
    if taken:
        raise SeedRefused(f"The name {taken[0]} is taken by a task, queue or breaker that is not of a seeded history.")
    if not add and Run.objects.exists():
        raise SeedRefused(
            "There are runs that were not made up, and charts would mix them with those that are. Use an installation "
            "of its own (--data-dir), or say that you want both: manage.py seed --add"
        )
    return plan


def _tasks() -> QuerySet[Task]:
    return Task.objects.filter(module=catalog.MODULE, id__startswith=catalog.PREFIX)


# ── what runs refer to ───────────────────────────────────────────────────────────────────────────────────────────────


def _make_queues(plan: Plan) -> dict[str, Queue]:
    with db.callers() as conn:
        for name, limit in catalog.QUEUES.items():
            declared = DeclaredQueue(name, concurrency_limit=catalog.DECLARED.get(name, limit))
            del DeclaredQueue.declared[name]  # no code of this process declares it
            queue_store.declare_queue(conn, declared)
    queues = {queue.name: queue for queue in Queue.objects.filter(name__in=catalog.QUEUES)}
    for name, edits in EDITED.items():
        Queue.objects.filter(name=name).update(**edits, edited=sorted(edits))
    Queue.objects.filter(name__in=catalog.QUEUES).update(created_at=moment(plan.start))
    outage = plan.incidents.outage
    Breaker.objects.create(
        name=catalog.GATEWAY,
        failure_rate=0.5,
        min_calls=20,
        window=60.0,
        slow_rate=0.5,
        cooldown=30.0,
        probes=3,
        since=moment(outage.end),
    )
    return queues


def _make_tasks(plan: Plan) -> None:
    number = {"type": "object", "properties": {"tenant": {"type": "string"}, "number": {"type": "integer"}}}
    with db.callers() as conn:
        for task in catalog.TASKS:
            row = {
                "id": task.id,
                "module": catalog.MODULE,
                "doc": task.doc,
                "queue": task.queue,
                "lane": int(task.lane),
                "retry": json.dumps(task.retry.describe()),
                "max_duration": None,
                "payload_schema": json.dumps({**number, "required": ["tenant", "number"]}),
                "output_schema": json.dumps({"type": "object"}),
                "version": plan.version(task, plan.end),
                "hooks": [],
            }
            store.register_task(conn, row)
    Task.objects.filter(module=catalog.MODULE).update(registered_at=moment(plan.start))
    deploy = plan.incidents.bad_deploy
    Task.objects.filter(id__in=deploy.tasks).update(registered_at=moment(deploy.end))


def _resolve(plan: Plan) -> None:
    """What the bad deploy has brought is resolved in the version that mended it."""
    deploy = plan.incidents.bad_deploy
    at, who, reason = RESOLUTION
    ErrorGroup.objects.filter(fingerprint=deploy.fingerprint).update(
        resolved_at=moment(deploy.end + at),
        resolved_by=f"{who} (seeded)",
        resolved_in=[deploy.mended],
        resolved_seen=[deploy.version],
        reason=reason,
    )


def _make_changes(plan: Plan) -> None:
    """The log is read in order of its ids, so what was long ago has to stand before what is there already. None gets
    the id 0: it says nothing as a cursor."""
    made = changes(plan)
    first = AuditEntry.objects.aggregate(first=Min("id"))["first"]
    if first is not None:
        below = first - len(made) if first > len(made) else min(first, 0) - len(made)
        for number, entry in enumerate(made, below):
            entry.id = number
    AuditEntry.objects.bulk_create(made)


def _make_workers(plan: Plan) -> list[int]:
    """Of all shifts, in their order; all have said goodbye."""
    made = Worker.objects.bulk_create(
        Worker(
            name=shift.name,
            pools=["default"],
            hostname=shift.hostname,
            pid=shift.pid,
            coroutines=100,
            threads=32,
            started_at=moment(shift.start),
            heartbeat_at=moment(shift.end),
            stopped_at=moment(shift.end),
            server_started_at=moment(plan.start),
        )
        for shift in plan.shifts
    )
    return [worker.pk for worker in made]


# ── away with it ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _belongings() -> list[tuple[str, str]]:
    """Tables with rows that belong to a run, and the column that has its id; runs themselves come last."""
    found = [("queues_entry", "entry_id"), ("queues_timer", "entry_id"), ("queues_home", "entry_id")]
    for related in Run._meta.related_objects:
        found.append((related.related_model._meta.db_table, str(related.field.column)))
    return [*found, ("runs_ending", "run_id"), ("runs_run", "id")]


def _make_partitions(days: int) -> None:
    """For the weeks of the history, in transactions of their own: each locks its table."""
    try:
        with db.connect("seed") as conn:
            partitions.ensure_partitions(conn, days_ago=days)
    except psycopg.errors.LockNotAvailable:
        raise SeedRefused(
            "Somebody holds snapshots or logs in a transaction that takes long, such as a backup; no run was made. "
            "Try again when it is over."
        ) from None


def _remove_queues(conn: db.Conn) -> None:
    """One in which somebody's own runs or tasks are stays, as they would be lost without it."""
    used = "SELECT 1 FROM {} u WHERE u.queue_id = q.id"
    free = " AND ".join(f"NOT EXISTS ({used.format(table)})" for table in ("runs_task", "runs_run", "queues_lease"))
    rows = conn.execute(
        f"DELETE FROM queues_queue q WHERE q.name = ANY(%s) AND {free} RETURNING q.id",  # noqa: S608
        [list(catalog.QUEUES)],
    ).fetchall()
    for table in ("queues_turn", "queues_note", "queues_start", "queues_sample"):
        conn.execute(f"DELETE FROM {table} t WHERE t.queue_id = ANY(%s)", [[row[0] for row in rows]])  # noqa: S608


def _remove_changes(conn: db.Conn) -> None:
    """The audit log is append-only for everybody. Its guard steps aside in this transaction alone, and for entries that
    no person, program or part of Holdfast can have written."""
    conn.execute(f"SET LOCAL lock_timeout = {GUARD_WAIT}")
    try:
        conn.execute("ALTER TABLE access_auditentry DISABLE TRIGGER access_audit_is_append_only")
    except psycopg.errors.LockNotAvailable:
        raise SeedRefused(
            "Somebody holds the audit log in a transaction that takes long; nothing was removed. Try again in a moment."
        ) from None
    conn.execute("DELETE FROM access_auditentry a WHERE a.actor_kind = %s", [KIND])
    conn.execute("ALTER TABLE access_auditentry ENABLE TRIGGER access_audit_is_append_only")
