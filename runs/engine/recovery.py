"""The dead are noticed and their work goes on elsewhere (DESIGN D7, D8). Every worker looks, and the scheduler too."""

from __future__ import annotations

import json
import logging
from typing import Final

from holdfast.telemetry import emit
from queues import store as queue_store
from runs import store

logger = logging.getLogger("holdfast.recovery")

#: A run whose worker died so many times is final: it probably kills them.
CRASH_LIMIT: Final = 5


def recover(conn: queue_store.Conn, *, timeout: float, myself: int | None = None) -> int:
    """Declares dead workers lost and queues their runs again.

    Args:
        timeout: Age in seconds of a heartbeat that counts as silence.
        myself: The worker that looks, which does not suspect itself.

    Returns:
        How many runs were queued again or ended.
    """
    taken = 0
    for suspect in queue_store.suspects(conn, timeout=timeout):
        if suspect.id == myself:
            continue
        with conn.transaction():
            # The lock, once free, is held by this transaction: two rescuers do not meet over one worker.
            dead = suspect.silent or (suspect.lock_tells and queue_store.lock_is_free(conn, suspect.id))
            if dead and queue_store.declare_lost(conn, suspect.id):
                emit("worker.lost", worker=suspect.name, silent=suspect.silent)
                taken += _take_over(conn, suspect.id, suspect.name)
    for worker in queue_store.orphans(conn):
        with conn.transaction():
            taken += _take_over(conn, worker, str(worker))
    return taken


def _take_over(conn: queue_store.Conn, worker: int, name: str) -> int:
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
    emit("runs.recovered", worker=name, runs=len(seized), queued=again)
    return len(seized)
