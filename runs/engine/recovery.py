"""The dead are noticed and their work goes on elsewhere (DESIGN D7, D8). Every worker looks, and the scheduler too."""

from __future__ import annotations

import json
import logging
import time
from typing import Final

from holdfast.telemetry import emit
from queues import store as queue_store
from runs import store

logger = logging.getLogger("holdfast.recovery")

#: A run whose worker died so many times is final: it probably kills them.
CRASH_LIMIT: Final = 5
#: What every such attempt has in common.
LOST: Final = "the worker stopped without a word while it executed this attempt"
#: Seconds for which a worker's lock has to be free, without a heartbeat, before it is believed dead. A living one whose
#: connection was cut has taken it again by then.
CERTAIN: Final = 0.9
#: Seconds for which PostgreSQL has to have taken this rescuer's writes before anybody's silence means something: when
#: it comes back from an absence, all have been silent.
SETTLED: Final = 5.0
#: Seconds that a silent worker's session may stand in the middle of a transaction without a word.
QUIET: Final = 4.0


class Watch:
    """The look after others, repeated about twice a second.

    Args:
        timeout: Age in seconds of a heartbeat that counts as silence.
        myself: The worker that looks, which does not suspect itself.
    """

    def __init__(self, timeout: float, myself: int | None = None) -> None:
        self._timeout = timeout
        self._myself = myself
        self._conn: queue_store.Conn | None = None
        self._since = 0.0
        # Worker → when its lock was first seen free, and its heartbeat then.
        self._free_since: dict[int, tuple[float, float]] = {}

    def look(self, conn: queue_store.Conn) -> int:
        """Declares dead workers lost and queues their runs again. Returns how many runs were queued again or ended."""
        taken = 0
        if conn is not self._conn:  # whoever looks drops a connection that is broken, or takes no writes
            self._conn, self._since = conn, time.monotonic()
        settled = time.monotonic() - self._since >= SETTLED
        suspects = [s for s in queue_store.suspects(conn, timeout=self._timeout) if s.id != self._myself]
        self._free_since = {s.id: self._free_since[s.id] for s in suspects if s.id in self._free_since}
        if settled and any(suspect.silent for suspect in suspects):
            queue_store.end_frozen(conn, quiet=QUIET)  # they may hold their own rows, or what others wait for
        for suspect in suspects:
            with conn.transaction():
                if suspect.silent:
                    lost = settled and queue_store.declare_lost(conn, suspect.id, silent_for=self._timeout)
                else:
                    lost = self._lock_is_long_free(conn, suspect) and queue_store.declare_lost(
                        conn, suspect.id, silent_for=None
                    )
                if lost:
                    emit("worker.lost", worker=suspect.name, silent=suspect.silent)
                    taken += _take_over(conn, suspect.id, suspect.name)
        for worker in queue_store.orphans(conn):
            with conn.transaction():
                taken += _take_over(conn, worker, str(worker))
        return taken

    def _lock_is_long_free(self, conn: queue_store.Conn, suspect: queue_store.Suspect) -> bool:
        # The lock, once free, is held by this transaction: two rescuers do not meet over one worker.
        if not suspect.lock_tells or not queue_store.lock_is_free(conn, suspect.id):
            self._free_since.pop(suspect.id, None)
            return False
        now = (time.monotonic(), suspect.heartbeat)
        since = self._free_since.setdefault(suspect.id, now)
        if since[1] != suspect.heartbeat:  # it has lived meanwhile
            since = self._free_since[suspect.id] = now
        return now[0] - since[0] >= CERTAIN


def _take_over(conn: queue_store.Conn, worker: int, name: str) -> int:
    queue_store.end_sessions(conn, worker)
    seized = queue_store.seize(conn, worker)
    if not seized:
        return 0
    error = {
        "type": "WorkerLost",
        "message": f"worker {name} stopped without a word while it executed this attempt",
        "fingerprint": "worker-lost",
        "traceback": "",
    }
    again = store.crash(conn, seized, limit=CRASH_LIMIT, error=json.dumps(error))
    store.note_errors(conn, [lost.entry_id for lost in seized], error, LOST)
    emit("runs.recovered", worker=name, runs=len(seized), queued=again)
    return len(seized)
