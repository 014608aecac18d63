"""Fetches work: leases runs in batches for as long as a shift lasts, and sleeps when there is none."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import UUID

import psycopg
import redis

from holdfast import db
from queues import store as queue_store
from queues import tickets
from queues.models import Lane
from runs import registration, store
from runs.engine.duty import Duty
from runs.engine.spending import Account
from runs.models import SnapshotKind
from runs.sdk.task import registry

if TYPE_CHECKING:
    from runs.engine.engine import Engine

logger = logging.getLogger("holdfast.leaser")

#: Runs of one lease at most.
MAX_LEASE: Final = 250
#: Seconds between looks into PostgreSQL when nothing wakes us; the shorter one while Redis does not answer.
POLL, POLL_DEAF = 1.0, 0.25
#: Seconds between two leases: under a stream of single enqueues they gather, and the enqueuer gets its share of the
#: machine. A wake-up after a quiet moment is followed at once.
PACE: Final = 0.01
#: Seconds between comparisons of what the database says we hold with what we have in hand; at once after a failure.
RECONCILE: Final = 5.0

#: Seconds between looks whether something that is parked here was answered, and whether a run is to be stopped.
ANSWERS, STOPS = 0.25, 0.1
#: Seconds between looks at the budgets on which runs here draw.
BALANCES: Final = 1.0


@dataclass(frozen=True, slots=True)
class Work:
    """A run that was leased, with what it has to know of its earlier stays."""

    started: store.Started
    grant: queue_store.Grant
    facts: Sequence[store.Fact] = ()
    waits: Sequence[store.WaitFact] = ()
    beats: Mapping[str, str | None] | None = None


class Leaser(Duty):
    """One thread, one connection. `active` is the shift: outside it, nothing is leased."""

    def __init__(self, engine: Engine) -> None:
        super().__init__("leaser")
        self._engine = engine
        self.versions = registration.versions()
        self._known = len(registry)
        self._wake = threading.Event()
        self._looked = threading.Event()
        self._conn: queue_store.Conn | None = None
        self._ending = threading.Event()
        self._last = 0.0
        self._reconciled = 0.0
        self._stopped = 0.0
        self._brought = 0.0
        self._balanced = 0.0
        self._opens = float("inf")
        self._away = False
        self.active = False
        #: Redis answers: wake-ups arrive, so polling may be slow.
        self.hearing = True

    def wake(self) -> None:
        self._wake.set()

    def look_once(self, timeout: float) -> None:
        """One look, and back when it is over: closes the gap between the last wake-up and the end of a shift."""
        self._looked.clear()
        self._wake.set()
        self._looked.wait(timeout)

    def close(self) -> None:
        self._ending.set()
        self._wake.set()
        self.join(5)

    def serve(self) -> None:
        while not self._ending.is_set():
            self._wake.wait(self._patience())
            self._ending.wait(self._last + PACE - time.monotonic())
            self._wake.clear()
            if self._ending.is_set():
                break
            self._last = time.monotonic()
            try:
                self._reconcile()
                self._stop()
                self._bring_answers()
                self._look_at_budgets()
                self._engine.flush_progress()
                if self.active:
                    self._lease()
                    self._send_home()
            except psycopg.Error as error:
                logger.warning("leasing failed (%s); trying again", str(error).strip().splitlines()[0])
                self._drop_connection()
                self._reconciled = float("-inf")
                threading.Event().wait(0.2)
            finally:
                self._looked.set()
        self._drop_connection()

    def _patience(self) -> float:
        """Seconds until the next look when nobody wakes us: until a wait is over here, or a rate lets runs through."""
        poll = POLL if self.hearing else POLL_DEAF
        return self._engine.until_due(max(0.0, min(poll, self._opens - time.monotonic())))

    def _drop_connection(self) -> None:
        if self._conn is not None:
            self._conn.close()
            self._conn = None

    def _lease(self) -> None:
        free = [max(0, min(room, MAX_LEASE)) for room in self._engine.free()]  # by lane
        if not any(free):
            self._call_others()
            return
        conn = self._connected()
        any_entry, limited, homes = queue_store.peek(conn, pools=self._engine.pools)
        if not any_entry:
            return
        if not free[Lane.COROUTINE]:
            self._call_others()
        with conn.pipeline(), conn.transaction():
            grants, more, opens, away = queue_store.lease(
                conn,
                worker=self._engine.worker_id,
                pools=self._engine.pools,
                coroutines=free[Lane.COROUTINE],
                threads=free[Lane.THREAD],
                processes=free[Lane.PROCESS],
                limited=limited,
                homes=homes,
            )
            self._away = self._away or away > 0
            self._opens = time.monotonic() + opens if opens is not None else float("inf")
            if more:
                self._wake.set()
            if not grants:
                return
            if len(registry) != self._known:  # a run has imported more, or django-tasks has
                self.versions, self._known = registration.versions(), len(registry)
            started = store.start(conn, worker=self._engine.worker_id, grants=grants, versions=self.versions)
            self._drop_endless(conn, grants, started)
        again = [run.id for run in started if run.attempt > 1 or run.active is not None or run.before]
        facts = store.history(conn, again) if again else {}
        accounts = self._learn_balances({account for run in started for account in run.accounts or ()})
        waits = _settled(conn, again, facts) if again else {}
        beats = store.beats(conn, again) if again else {}
        by_id = {grant.entry_id: grant for grant in grants}
        self._engine.begin(
            [
                Work(run, by_id[run.id], facts.get(run.id, ()), waits.get(run.id, ()), beats.get(run.id))
                for run in started
            ]
        )
        del accounts  # kept by their runs from now on
        taken = [0] * len(free)
        for grant in grants:
            taken[grant.lane] += 1
        # As much as could be taken: there is more, and others may help.
        if any(took >= room > 0 for took, room in zip(taken, free, strict=True)):
            self._wake.set()
            self._call_others()

    def _learn_balances(self, ids: Iterable[UUID]) -> list[Account]:
        """What the budgets of these runs hold, and what others have drawn on them."""
        wanted = list(ids)
        return self._engine.accounts.learn(store.balances(self._connected(), wanted)) if wanted else []

    def _look_at_budgets(self) -> None:
        """Other workers draw on the same budgets."""
        if (ids := self._engine.accounts.ids) and time.monotonic() - self._balanced >= BALANCES:
            self._balanced = time.monotonic()
            self._learn_balances(ids)

    def _connected(self) -> queue_store.Conn:
        if self._conn is None:
            self._conn = db.connect("leaser")
            # A lease lost with a crash of PostgreSQL is only a run that starts again: no need to wait for the disk.
            # What a run writes afterwards is synchronous, and brings this along.
            self._conn.execute("SET synchronous_commit = off")
        return self._conn

    def _reconcile(self) -> None:
        if self._reconciled == 0.0 and self._conn is None:
            return  # nothing was ever leased
        if time.monotonic() - self._reconciled >= RECONCILE:
            conn = self._connected()
            self._engine.reconcile(lambda: queue_store.held(conn, self._engine.worker_id))
            self._reconciled = time.monotonic()

    def _stop(self) -> None:
        """Runs here that were cancelled, or whose time is over."""
        if self._engine.in_flight and time.monotonic() - self._stopped >= STOPS:
            self._stopped = time.monotonic()
            self._engine.stop_runs(store.to_stop(self._connected(), self._engine.worker_id))

    def _bring_answers(self) -> None:
        """To runs that wait here, because they are not at rest or will go on in a moment."""
        runs = self._engine.watched()
        if not runs or (time.monotonic() - self._brought < ANSWERS and self._engine.until_due(1.0) > 0):
            return
        self._brought = time.monotonic()
        for run_id, facts in _settled(self._connected(), list(runs), {}).items():
            runs[run_id].waits.deliver(facts)

    def _drop_endless(
        self, conn: queue_store.Conn, grants: list[queue_store.Grant], started: list[store.Started]
    ) -> None:
        """Leases whose run is over (it was deleted, or ended by hand in the database) lead nowhere."""
        if len(started) == len(grants):
            return
        begun: set[UUID] = {run.id for run in started}
        stray = [grant for grant in grants if grant.entry_id not in begun]
        logger.warning("dropping %d entries without a run that could start", len(stray))
        with conn.cursor() as cur:
            queue_store.release(
                cur, ids=[g.entry_id for g in stray], tokens=[g.token for g in stray], delays=[None] * len(stray)
            )

    def _send_home(self) -> None:
        """What was put aside here has workers elsewhere: those that listen, and idle ones."""
        if self._away:
            self._away = False
            tickets.wake(self._engine.pools)
            self._call_others()

    def _call_others(self) -> None:
        """There is more than this worker can take: a ticket for each pool lets an idle one help."""
        for pool in self._engine.pools:
            tickets.push_safely(pool)


def _settled(
    conn: queue_store.Conn, ids: list[UUID], snapshots: Mapping[UUID, Sequence[store.Fact]]
) -> dict[UUID, list[store.WaitFact]]:
    """The waits of these runs; ended children come with what became of them, unless a snapshot has it already."""
    found = store.settle_waits(conn, ids)
    for run_id, facts in found.items():
        kept = {fact.key for fact in snapshots.get(run_id, ()) if fact.kind == SnapshotKind.WAIT}
        for place, fact in enumerate(facts):
            if fact.kind == "children" and fact.outcome == "completed" and fact.key not in kept:
                facts[place] = fact._replace(output=json.dumps(store.children(conn, run_id, fact.key)))
    return found


class Ear(Duty):
    """Listens for wake-ups on the pools' channels while a shift lasts.

    That somebody listens is what an enqueuer goes by (it pushes a ticket only when nobody does), so `deaf()` must come
    before the last look of a shift.
    """

    #: Seconds of one wait for a message: how long `deaf()` may take.
    WAIT: Final = 0.2
    #: Seconds of silence after which Redis is asked whether it is there, and again after which it is not.
    SILENCE: Final = 2.0

    def __init__(self, pools: list[str], heard: Callable[[], None], hearing: Callable[[bool], None]) -> None:
        super().__init__("ear")
        self._channels = [tickets.channel(pool) for pool in pools]
        self._heard = heard
        self._hearing = hearing
        self._listening = threading.Event()
        self._silent = threading.Event()
        self._pubsub: redis.client.PubSub | None = None
        self._heard_at = 0.0
        self._asked_at: float | None = None
        self._away = False
        self._closing = False

    def listen(self) -> None:
        self._silent.clear()
        self._listening.set()

    def deaf(self) -> None:
        """Stops listening; when it returns, no enqueuer counts on us any more."""
        self._listening.clear()
        self._silent.wait(5 * self.WAIT)

    def close(self) -> None:
        self._closing = True
        self._listening.set()
        self.join(5)

    def serve(self) -> None:
        while True:
            self._listening.wait()
            while self._listening.is_set() and not self._closing:
                try:
                    self._hear()
                except (redis.RedisError, OSError) as error:
                    if not self._away:
                        logger.warning("Redis is away (%s); polling PostgreSQL until it is back", error)
                    self._away = True
                    self._hearing(False)
                    self._hang_up()
                    threading.Event().wait(self.WAIT)
            self._hang_up()
            self._silent.set()
            if self._closing:
                return

    def _hear(self) -> None:
        if self._pubsub is None:
            client = redis.Redis.from_url(
                tickets.url(), socket_timeout=self.SILENCE, socket_connect_timeout=1, retry=tickets.no_retry()
            )
            self._heard_at, self._asked_at = time.monotonic(), None
            self._pubsub = client.pubsub()  # type: ignore[no-untyped-call]
            self._pubsub.subscribe(*self._channels)
        message = self._pubsub.get_message(timeout=self.WAIT)
        if message is None:
            self._doubt(self._pubsub)
            return
        self._heard_at, self._asked_at, self._away = time.monotonic(), None, False
        self._hearing(True)
        if message["type"] != "pong":
            self._heard()

    def _doubt(self, pubsub: redis.client.PubSub) -> None:
        """Nothing was said. A connection that is dead without having been closed is silent, too: so it is asked."""
        now = time.monotonic()
        if self._asked_at is not None:
            if now - self._asked_at > self.SILENCE:
                raise redis.TimeoutError(f"no answer for {self.SILENCE:g} s")
        elif now - self._heard_at > self.SILENCE:
            self._asked_at = now
            pubsub.ping()

    def _hang_up(self) -> None:
        pubsub, self._pubsub = self._pubsub, None
        if pubsub is not None:
            try:
                pubsub.close()
            except (redis.RedisError, OSError):
                logger.debug("the connection to Redis was gone already")
