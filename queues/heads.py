"""Queues that stand still although nothing holds them: judged by how long their first entry waits, not by depth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from django.utils import timezone

from holdfast import db
from queues import backlog, tickets
from queues.backlog import Backlog
from queues.selectors import QueueFlow
from queues.workers import AliveWorker

#: Seconds for which the first entry of a queue may wait that a worker with room could start.
HEAD_WAIT: Final = 120.0


def standing(flows: Sequence[QueueFlow], workers: Sequence[AliveWorker]) -> list[Backlog]:
    """Those of these queues whose first startable entry has waited for HEAD_WAIT seconds beside workers that have room,
    the longest first. No limit, rate, pause or suspension holds it. No query unless something waits for so long."""
    roomy = {pool for worker in workers if _has_room(worker) for pool in worker.pools}
    asked = [flow for flow in flows if flow.depth and not flow.queue.paused and flow.queue.pool in roomy]
    if not (waits := [flow.waiting_since for flow in asked if flow.waiting_since is not None]):
        return []
    # By this machine's clock: PostgreSQL's own is asked below, if it may be so.
    if (timezone.now() - min(waits)).total_seconds() < HEAD_WAIT or tickets.suspended():
        return []
    with db.callers() as conn:
        found = backlog.backlogs(conn, sorted({flow.queue.pool for flow in asked}))
    names = {flow.queue.name for flow in asked}
    late = [one for one in found if one.queue in names and one.startable and one.head_wait >= HEAD_WAIT]
    return sorted(late, key=lambda one: -one.head_wait)


def _has_room(worker: AliveWorker) -> bool:
    """In every lane, whichever of them its runs are in."""
    lanes = [size for size in (worker.coroutines, worker.threads, worker.processes) if size]
    return worker.takes_work and worker.running < min(lanes, default=0)
