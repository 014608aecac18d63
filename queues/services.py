"""What people may do to queues: one transaction each, under the queue's lock, with an audit row.

Callers check the grant first (`holdfast.access.grants.require`); these functions do the deed. A change is in force
from the next lease on, that is within moments: workers are woken when it commits.
"""

from __future__ import annotations

from typing import Any, Final

from django.db import transaction

from holdfast.access.grants import Actor
from holdfast.access.selectors import database_now
from holdfast.access.services import audit
from queues import tickets
from queues.declare import LIMIT_WORDS, MAX_LIMIT, NAME
from queues.errors import InvalidChange, invalid, not_found
from queues.models import Queue
from queues.selectors import queue_names

EDITABLE: Final = ("concurrency_limit", "limit_edited")
MAX_REASON: Final = 500
MAX_LABEL: Final = 200


def queue_update(name: str, actor: Actor, *, reason: str = "", **changes: Any) -> Queue:
    """Changes a queue's limits; a person's edit overrides what the code declares, until it is taken back.

    Args:
        concurrency_limit: runs at once over all workers, 1 to 1,000,000; None for no limit.
        limit_edited: only False, which takes the edit back: the limit is again the one declared in code.

    Raises:
        QueueNotFound, InvalidChange: the latter lists every field that does not fit.
    """
    reason = _clean_reason(reason)
    _check_changes(changes)
    with transaction.atomic():
        queue = _locked(name)
        before = _limits(queue)
        if "concurrency_limit" in changes:
            queue.concurrency_limit, queue.limit_edited = changes["concurrency_limit"], True
        else:
            queue.concurrency_limit, queue.limit_edited = queue.declared_concurrency_limit, False
        if (after := _limits(queue)) != before:
            _save(queue, "concurrency_limit", "limit_edited")
            audit(actor, "queues.update", "queue", name, reason, before=before, after=after)
    return queue


def queue_pause(name: str, actor: Actor, reason: str = "") -> Queue:
    """Stops the queue from starting runs; those that run go on. A paused queue stays as it is.

    Raises:
        QueueNotFound, InvalidChange: the reason is too long.
    """
    reason = _clean_reason(reason)
    with transaction.atomic():
        queue = _locked(name)
        if not queue.paused:
            before = _pause(queue)
            queue.paused_at, queue.paused_by, queue.pause_reason = database_now(), actor.label[:MAX_LABEL], reason
            _save(queue, "paused_at", "paused_by", "pause_reason")
            audit(actor, "queues.pause", "queue", name, reason, before=before, after=_pause(queue))
    return queue


def queue_resume(name: str, actor: Actor, reason: str = "") -> Queue:
    """Lets a paused queue start runs again. A queue that is not paused stays as it is.

    Raises:
        QueueNotFound, InvalidChange: the reason is too long.
    """
    reason = _clean_reason(reason)
    with transaction.atomic():
        queue = _locked(name)
        if queue.paused:
            before = _pause(queue)
            queue.paused_at, queue.paused_by, queue.pause_reason = None, "", ""
            _save(queue, "paused_at", "paused_by", "pause_reason")
            audit(actor, "queues.resume", "queue", name, reason, before=before, after=_pause(queue))
    return queue


def _locked(name: str) -> Queue:
    # No key update: an admission that counts this queue's leases waits, a foreign key to the queue does not.
    found = Queue.objects.select_for_update(no_key=True).filter(name=name).first() if NAME.fullmatch(name) else None
    if found is None:
        raise not_found(name, queue_names())
    return found


def _save(queue: Queue, *names: str) -> None:
    queue.updated_at = database_now()
    queue.save(update_fields=[*names, "updated_at"])
    pool = queue.pool
    transaction.on_commit(lambda: tickets.wake((pool,)))


def _check_changes(changes: dict[str, Any]) -> None:
    faults: list[tuple[str, str]] = []
    for field in sorted(set(changes) - set(EDITABLE)):
        known = hasattr(Queue, field)
        faults.append((field, "cannot be changed here" if known else f"is no field; known are {', '.join(EDITABLE)}"))
    limit = changes.get("concurrency_limit")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_LIMIT):
        faults.append(("concurrency_limit", f"is {_shown(limit)}; {LIMIT_WORDS} (null)"))
    if "limit_edited" in changes and changes["limit_edited"] is not False:
        faults.append(("limit_edited", "can only be set to false, which takes the edit back"))
    if "limit_edited" in changes and "concurrency_limit" in changes:
        faults.append(("limit_edited", "stands beside concurrency_limit; give one of the two"))
    if not changes:
        faults.append(("concurrency_limit", f"is missing; {LIMIT_WORDS} (null)"))
    if faults:
        raise InvalidChange(
            "; ".join(f"{field} {message}" for field, message in faults) + ".",
            errors=[{"field": field, "message": message} for field, message in faults],
        )


def _clean_reason(given: Any) -> str:
    if not isinstance(given, str):
        raise invalid("reason", f"is {_shown(given)}; write text")
    reason = given.strip()
    if len(reason) > MAX_REASON:
        raise invalid("reason", f"has {len(reason):,} characters; write at most {MAX_REASON}")
    if any(not c.isprintable() and c not in "\n\r\t" for c in reason):
        raise invalid("reason", "holds a control character; write plain text")
    return reason


def _limits(queue: Queue) -> dict[str, Any]:
    return {"concurrency_limit": queue.concurrency_limit, "limit_edited": queue.limit_edited}


def _pause(queue: Queue) -> dict[str, Any]:
    at = queue.paused_at.isoformat() if queue.paused_at else None
    return {"paused_at": at, "paused_by": queue.paused_by, "pause_reason": queue.pause_reason}


def _shown(value: Any) -> str:
    # An integer of thousands of digits cannot be printed.
    return "too large" if isinstance(value, int) and abs(value) > 10**18 else f"{value!r:.60}"
