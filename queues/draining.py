"""Asking a worker to finish what it has and leave."""

from __future__ import annotations

from django.db import transaction

from holdfast import db
from holdfast.access.grants import Actor
from holdfast.access.services import audit
from queues import store
from queues.errors import QueueError
from queues.services import clean_reason


class WorkerNotFound(QueueError):
    """No such worker is alive."""

    status, code = 404, "unknown_worker"


def worker_drain(worker_id: int, actor: Actor, reason: str = "") -> str:
    """The worker takes no more, finishes what it has, hands over what it cannot finish, and ends, as by SIGTERM.

    It hears of it with its next heartbeat. Returns its name; asked again, it changes nothing.

    Raises:
        WorkerNotFound, InvalidChange: the reason does not fit.
    """
    reason = clean_reason(reason)
    with transaction.atomic():
        with db.callers() as conn:
            row = None
            if 0 < worker_id < 2**31:
                row = conn.execute(store.SQL.ask_to_drain, {"worker": worker_id}).fetchone()
        if row is None:
            raise WorkerNotFound(f"No worker {worker_id} is alive. `manage.py workers list` shows who is.")
        name, asked_at, first = str(row[0]), row[1], bool(row[2])
        if first:
            audit(actor, "queues.drain_worker", "worker", name, reason, before={}, after={"asked_at": asked_at})
    return name
