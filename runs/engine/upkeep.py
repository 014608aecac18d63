"""What keeps the flow going whoever dies: timers, lost wake-ups, dead workers, partitions. The scheduler's duties."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg
from django.conf import settings
from django.db import DatabaseError, close_old_connections

from holdfast.poller import Poller
from holdfast.telemetry import emit
from queues import services as queue_services
from queues import store as queue_store
from queues import tickets
from queues.store import Conn
from runs import partitions, registration, store
from runs.alerts import evaluating
from runs.bulk import retention as bulk_retention
from runs.causes import watch as causes
from runs.engine import recovery
from runs.outbound import telling
from runs.schedules import firing
from runs.schedules import services as schedules
from runs.stuck.watch import ALL as LOOK_AT_ALL
from runs.stuck.watch import Lookout
from runs.webhooks import retention as webhook_retention

logger = logging.getLogger("holdfast.schedule")

#: Timers that one statement makes leasable.
PROMOTE_LIMIT: Final = 1_000
#: Seconds after which a timer that was not noticed is worth a warning.
LATE: Final = 5.0
#: Seconds: a timer is noticed at the latest after the first; the others are the pace of their duty.
TIMERS, DEADLINES, SWEEP, RECOVERY, HOMES, PAUSES, FORGET, PARTITIONS = 0.2, 0.5, 1.0, 0.5, 2.0, 1.0, 60.0, 3_600.0
#: Seconds after which partitions that a long transaction was in the way of are tried again.
AGAIN: Final = 300.0
#: Seconds after which a schedule that was just made or changed is noticed.
TICKS: Final = 1.0
#: Seconds between looks at how queues stand.
SAMPLES: Final = 60.0
#: Seconds after which endpoints are told of a run that has ended.
TELL: Final = 1.0
#: Seconds after which an alert that is due is looked at.
ALERTS: Final = 2.0
#: Deadlines that one transaction acts upon.
DEADLINE_LIMIT: Final = 200

#: Seconds after which counts of errors have no need of a row per worker, after which they are dropped, and groups that
#: were not seen since.
MERGE_AFTER, KEEP_COUNTS, KEEP_GROUPS = 2 * 3_600.0, 35 * 86_400.0, 90 * 86_400.0
#: Seconds between looks for bins of rollups to sum, and how long a bin has to be over: a worker's batch may take long
#: to commit, and has the minute in which it began.
SUMS: Final = 60.0
SUM_AFTER: Final = 120.0
#: Rows of them that one statement takes.
TIDY_LIMIT: Final = 5_000

_EXPIRED: Final = {
    "type": "Expired",
    "message": "the run did not start within its ttl",
    "fingerprint": "expired",
    "traceback": "",
}
_TIMED_OUT: Final = {
    "type": "RunTimeout",
    "message": "the run did not end within its run_timeout",
    "fingerprint": "run-timeout",
    "traceback": "",
}


def promote_timers(conn: Conn) -> float | None:
    """Due timers become entries, scheduled runs queued. Returns the seconds until the next."""
    with conn.transaction():
        due = queue_store.promote(conn, limit=PROMOTE_LIMIT)
        if due:
            store.ready(conn, [timer.entry_id for timer in due])
    if not due:
        return queue_store.next_due(conn)
    late = max(timer.late for timer in due)
    emit("runs.promoted", runs=len(due), late=round(late, 3))
    if late >= LATE:
        logger.warning("%d timers fell due up to %.0f s ago, and no scheduler was there", len(due), late)
    tickets.wake({timer.pool for timer in due})
    return 0.0


def act_on_deadlines(conn: Conn) -> float | None:
    """Runs that have not started in time expire, those that have not ended in time are stopped. Returns the seconds
    until the next deadline."""
    pools: set[str] = set()
    with conn.transaction():
        due = store.deadlines_due(conn, limit=DEADLINE_LIMIT)
        late = [run_id for run_id, kind in due if kind == "timeout"]
        unstarted = store.never_started(conn, [run_id for run_id, kind in due if kind == "ttl"])
        for ids, final, error in ((unstarted, "expired", _EXPIRED), (late, "timed_out", _TIMED_OUT)):
            if ids:
                pools |= store.stop_locked(conn, ids, final=final, error=json.dumps(error))
        for ids, error in ((unstarted, _EXPIRED), (late, _TIMED_OUT)):  # when no run is to be locked any more
            if ids:
                store.note_errors(conn, ids, error)
    if not due:
        return store.next_deadline(conn)
    emit("runs.overdue", expired=len(unstarted), timed_out=len(late))
    tickets.wake(pools)
    return 0.0


class Sweeper:
    """Finds work that nobody was told of: Redis lost the ticket, or the enqueuer died before it could send one."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def sweep(self, conn: Conn) -> None:
        """A pool with leasable work is woken; one that still has some a second later gets a ticket as well, in case
        whoever listens is frozen."""
        pools = queue_store.pools_with_entries(conn)
        if pools:
            tickets.wake(pools - self._seen)
            for pool in pools & self._seen:
                if tickets.push_safely(pool):
                    emit("runs.swept", pool=pool)
        self._seen = pools


class Rescuer:
    """Looks for workers without a lock or a heartbeat; what they held is queued again."""

    def __init__(self) -> None:
        self._watch = recovery.Watch(settings.HOLDFAST_HEARTBEAT_TIMEOUT)

    def look_for_the_dead(self, conn: Conn) -> None:
        if self._watch.look(conn):
            pools = queue_store.pools_with_entries(conn)
            tickets.wake(pools)
            for pool in pools:
                tickets.push_safely(pool)  # whoever listens may be the one that is frozen


def leave_homes(conn: Conn) -> None:
    """Runs whose local steps lie on a host without workers go on elsewhere."""
    lost = queue_store.leave_homes(conn, grace=settings.HOLDFAST_HOST_GRACE)
    for hostname, pool in lost:
        logger.warning("no worker of pool %s is left on %s: runs that were at home there go elsewhere", pool, hostname)
    tickets.wake({pool for _, pool in lost})


def end_pauses(conn: Conn) -> None:
    """Queues that were paused for a time flow again; this says so in their row and in the audit log."""
    if over := queue_store.pauses_over(conn):
        with _callers():
            queue_services.end_pauses(over)


class Clockwork:
    """Schedules: those that this process's code declares get their rows, once; ticks that are due begin their runs."""

    def __init__(self) -> None:
        self._declared = False

    def turn(self, conn: Conn) -> float | None:
        """Returns the seconds until the next tick."""
        if not self._declared:
            with _callers():
                registration.register_all()
                schedules.declare_all()
            self._declared = True
        left = store.next_tick(conn)
        if left is None or left > 0:
            return left
        with _callers():
            fired = firing.fire_due()
        left = store.next_tick(conn)
        return left if fired or left is None else max(left, TICKS)  # of one that cannot be fired here, next_at stays


def begin_queued_ticks(conn: Conn) -> None:
    """Ticks that waited for the run before begin theirs."""
    del conn
    with _callers():
        firing.begin_queued()


@contextmanager
def _callers() -> Iterator[None]:
    """Django's connection of this thread, which may be of a server that was restarted since. What PostgreSQL refuses is
    raised as psycopg has it: the poller knows what passes."""
    close_old_connections()
    try:
        yield
    except DatabaseError as error:
        if isinstance(error.__cause__, psycopg.Error):
            raise error.__cause__ from None
        raise


def forget_deliveries(conn: Conn) -> None:
    """Drops deliveries of webhooks that are older than HOLDFAST_WEBHOOK_RETENTION."""
    del conn  # the ORM has one of its own
    with _callers():
        webhook_retention.forget(settings.HOLDFAST_WEBHOOK_RETENTION)


def forget_bulk_jobs(conn: Conn) -> None:
    """Drops bulk jobs of long ago."""
    del conn
    with _callers():
        bulk_retention.forget()


def forget_keys(conn: Conn) -> None:
    """Drops idempotency keys that have expired, and debounces that are over."""
    store.forget_keys(conn)


def forget_stacks(conn: Conn) -> None:
    """Drops what workers have said of runs that are elsewhere by now, or over."""
    store.forget_stacks(conn)


def tell_endpoints(conn: Conn) -> float | None:
    """Runs that have ended become deliveries to the endpoints that want to hear of them."""
    del conn
    with _callers():
        return 0.0 if telling.tell() else None


def tidy_errors(conn: Conn) -> float | None:
    """Counts of errors become one row for all workers when their hour is past, and old ones are dropped."""
    merged = store.merge_error_counts(conn, age=MERGE_AFTER, limit=TIDY_LIMIT)
    old = store.forget_errors(conn, counts=KEEP_COUNTS, groups=KEEP_GROUPS, limit=TIDY_LIMIT)
    return 0.0 if max(merged, old) >= TIDY_LIMIT else None


def sum_rollups(conn: Conn) -> float | None:
    """Rollups of bins that are over are summed, for looks at long times."""
    return 0.0 if store.sum_rollups(conn, age=SUM_AFTER) else None


def look_at_alerts(conn: Conn) -> float | None:
    """Alerts whose minute is over are looked at; who is to know is told."""
    del conn
    with _callers():
        return 0.0 if evaluating.evaluate_due() else None


def look_at_causes(conn: Conn) -> None:
    """What people have said of causes of the verdict is over when these are gone, or worse."""
    del conn
    with _callers():
        causes.look()


def sample_queues(conn: Conn) -> float:
    """How queues stand, for charts. Returns the seconds until the next minute."""
    return queue_store.sample(conn)


def make_partitions(conn: Conn) -> float | None:
    """Partitions for the weeks to come. There is time, as two weeks lie ahead."""
    try:
        partitions.ensure_partitions(conn)
    except psycopg.errors.LockNotAvailable:
        logger.warning(
            "partitions of weeks to come are not made, for a transaction holds their table; tried again in %g s", AGAIN
        )
        return AGAIN
    return None


def poller() -> Poller:
    """The scheduler with all its duties. Any number may run: every duty claims with SKIP LOCKED or a lock."""
    sweeper = Sweeper()
    found = Poller("schedule")
    found.every(FORGET, queue_store.forget)
    found.every(FORGET, forget_bulk_jobs)
    found.every(FORGET, forget_deliveries)
    found.every(FORGET, forget_keys)
    found.every(FORGET, forget_stacks)
    found.every(PARTITIONS, make_partitions)
    found.every(PARTITIONS, tidy_errors)
    found.every(TIMERS, promote_timers)
    found.every(DEADLINES, act_on_deadlines)
    found.every(SWEEP, sweeper.sweep)
    found.every(RECOVERY, Rescuer().look_for_the_dead)
    found.every(HOMES, leave_homes)
    found.every(PAUSES, end_pauses)
    found.every(SAMPLES, sample_queues)
    found.every(SUMS, sum_rollups)
    found.every(TELL, tell_endpoints)
    floor, timeout = settings.HOLDFAST_STUCK_FLOOR, settings.HOLDFAST_HEARTBEAT_TIMEOUT
    found.every(min(LOOK_AT_ALL, floor), Lookout(floor, timeout).look)
    found.every(TICKS, Clockwork().turn)
    found.every(TICKS, begin_queued_ticks)
    found.every(ALERTS, look_at_alerts)
    found.every(causes.EVERY, look_at_causes)
    return found
