"""What pages, API and command line read of queues. Counts are exact up to 10,000; 10,001 means "more"."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from holdfast import db
from queues import store
from queues.declare import Queue as Declared
from queues.editable import FLAGS, SETTINGS
from queues.errors import not_found
from queues.models import Queue
from queues.naming import NAME

DEFAULT_LIMIT: Final = 100
EXACT_UP_TO: Final = 10_000
#: Timers that are looked at to count those of each queue.
MAX_TIMERS: Final = 1_000_000
#: What `describe` tells as it is.
_OF_QUEUE: Final = ("name", "pool", "paused", "paused_at", "paused_until", "drains", "paused_by", "pause_reason")
_OF_FLOW: Final = ("depth", "running", "scheduled", "waiting_since")


@dataclass(frozen=True, slots=True)
class QueueFlow:
    """A queue, and what is in it now."""

    queue: Queue
    depth: int  # entries that wait for a worker
    running: int  # entries in the hands of workers
    scheduled: int  # entries that become ready later: delayed, retrying, waiting
    waiting_since: datetime | None  # since when the oldest ready entry waits

    @property
    def breaker(self) -> str:
        """The name of the breaker that code declares for it, if any."""
        declared = Declared.declared.get(self.queue.name)
        return declared.guard.name if declared and declared.guard else ""


@dataclass(frozen=True, slots=True)
class QueuePage:
    """Queues in order of name, and the cursor from which the next page goes on (None at the end)."""

    items: list[QueueFlow]
    next: str | None


def queues_page(*, after: str = "", limit: int = DEFAULT_LIMIT, search: str = "") -> QueuePage:
    """Queues in order of name.

    Args:
        after: the last page's `next`.
        search: a part of the name, in any case.
    """
    if not search.isprintable():  # no name holds it, and PostgreSQL may not even be asked for it
        return QueuePage([], None)
    flows = _flows(after=after, limit=limit + 1, search=search or None)
    return QueuePage(flows[:limit], flows[limit - 1].queue.name if len(flows) > limit else None)


def queue_get(name: str) -> QueueFlow:
    """One queue. Raises QueueNotFound with near matches."""
    flows = _flows(name=name) if NAME.fullmatch(name) else []
    if not flows:
        raise not_found(name, queue_names())
    return flows[0]


def queue_names(*, limit: int = EXACT_UP_TO) -> list[str]:
    """Names of queues, in order: for choices and for near matches."""
    return list(Queue.objects.order_by("name").values_list("name", flat=True)[:limit])


def _flows(*, after: str = "", limit: int = 1, search: str | None = None, name: str | None = None) -> list[QueueFlow]:
    numbers = {
        "after": after,
        "limit": limit,
        "search": search,
        "name": name,
        "most": EXACT_UP_TO + 1,
        "most_timers": MAX_TIMERS,
    }
    with db.callers() as conn:
        rows = conn.execute(store.SQL.queue_flow, numbers).fetchall()
    queues = Queue.objects.in_bulk([row[0] for row in rows])
    return [QueueFlow(queues[row[0]], *row[1:]) for row in rows if row[0] in queues]


def describe(flow: QueueFlow) -> dict[str, Any]:
    """A queue with its limits and what is in it, by the names of the API."""
    queue = flow.queue
    return {
        **{name: getattr(queue, name) for name in _OF_QUEUE},
        **{name: setting.json(getattr(queue, name)) for name, setting in SETTINGS.items()},
        **{f"declared_{name}": setting.json(queue.declares(name)) for name, setting in SETTINGS.items()},
        **{flag: name in queue.edited for flag, name in FLAGS.items()},
        **{name: getattr(flow, name) for name in _OF_FLOW},
        "breaker": flow.breaker,
    }
