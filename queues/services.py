"""What people may do to queues: one transaction each, under the queue's lock, with an audit row.

Callers check the grant first (`holdfast.access.grants.require`); these functions do the deed. A change is in force
from the next lease on, that is within moments: workers are woken when it commits.
"""

from __future__ import annotations

from typing import Any, Final

from django.db import transaction

from holdfast import db
from holdfast.access.grants import Actor
from holdfast.access.selectors import database_now
from holdfast.access.services import audit
from queues import store, tickets
from queues.declare import LIMIT_WORDS, NAME, is_limit
from queues.errors import InvalidChange, invalid, not_found
from queues.models import Queue
from queues.rate import Rate, RateError, shown
from queues.selectors import queue_names

#: What may be edited, and what says that it was: set to False, it takes the edit back.
EDITED: Final = {
    "concurrency_limit": "limit_edited",
    "key_concurrency_limit": "key_limit_edited",
    "rate": "rate_edited",
}
#: What these are in the database.
_COLUMNS: Final = ("concurrency_limit", "key_concurrency_limit", "rate_amount", "rate_period", *EDITED.values())
EDITABLE: Final = (*EDITED, *EDITED.values())
MAX_REASON: Final = 500
MAX_LABEL: Final = 200


def queue_update(name: str, actor: Actor, *, reason: str = "", **changes: Any) -> Queue:
    """Changes a queue's limits; a person's edit overrides what the code declares, until it is taken back.

    What is as asked already is no edit.

    Args:
        concurrency_limit: runs at once over all workers, 1 to 1,000,000; None for no limit.
        key_concurrency_limit: the same, of each concurrency key.
        rate: a `Rate`, its JSON or its words; None for no rate. Its window counts what starts from now on.
        limit_edited, key_limit_edited, rate_edited: only False, which takes the edit back: what is declared in code
            counts again.

    Raises:
        QueueNotFound, InvalidChange: the latter lists every field that does not fit.
    """
    reason = _clean_reason(reason)
    changes = _checked(changes)
    with transaction.atomic():
        queue = _locked(name)
        before = _limits(queue)
        for limit, edited in EDITED.items():
            if limit in changes and changes[limit] != getattr(queue, limit):
                setattr(queue, limit, changes[limit])
                setattr(queue, edited, True)
            elif edited in changes:
                setattr(queue, limit, getattr(queue, f"declared_{limit}"))
                setattr(queue, edited, False)
        if (after := _limits(queue)) != before:
            _save(queue, *_COLUMNS)
            if after["key_concurrency_limit"] != before["key_concurrency_limit"]:
                with db.callers() as conn:
                    store.unhold_all(conn, queue.pk)
            audit(actor, "queues.update", "queue", name, reason, before=before, after=after)
    return queue


def queue_as_declared(name: str, actor: Actor, reason: str = "") -> Queue:
    """Takes all edits of a queue's limits back. Raises as `queue_update`."""
    return queue_update(name, actor, reason=reason, limit_edited=False, key_limit_edited=False, rate_edited=False)


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


def _checked(changes: dict[str, Any]) -> dict[str, Any]:
    """The changes, with rates as such. Raises InvalidChange with all that is wrong."""
    faults: list[tuple[str, str]] = []
    for field in sorted(set(changes) - set(EDITABLE)):
        known = hasattr(Queue, field)
        faults.append((field, "cannot be changed here" if known else f"is no field; known are {', '.join(EDITABLE)}"))
    faults += [
        (field, f"is {shown(changes[field])}; {LIMIT_WORDS} (null)")
        for field in ("concurrency_limit", "key_concurrency_limit")
        if not is_limit(changes.get(field))
    ]
    if changes.get("rate") is not None:
        try:
            rate = changes["rate"]
            changes = {**changes, "rate": rate if isinstance(rate, Rate) else Rate.from_json(rate)}
        except RateError as error:
            faults.append(("rate", str(error)))
    for limit, edited in EDITED.items():
        if edited in changes and changes[edited] is not False:
            faults.append((edited, "can only be set to false, which takes the edit back"))
        if edited in changes and limit in changes:
            faults.append((edited, f"stands beside {limit}; give one of the two"))
    if not changes:
        faults.append(("concurrency_limit", f"is missing; {LIMIT_WORDS} (null), or give a rate"))
    if faults:
        raise InvalidChange(
            "; ".join(f"{field} {message}" for field, message in faults) + ".",
            errors=[{"field": field, "message": message} for field, message in faults],
        )
    return changes


def _clean_reason(given: Any) -> str:
    if not isinstance(given, str):
        raise invalid("reason", f"is {shown(given)}; write text")
    reason = given.strip()
    if len(reason) > MAX_REASON:
        raise invalid("reason", f"has {len(reason):,} characters; write at most {MAX_REASON}")
    if any(not c.isprintable() and c not in "\n\r\t" for c in reason):
        raise invalid("reason", "holds a control character; write plain text")
    return reason


def _limits(queue: Queue) -> dict[str, Any]:
    return {
        "concurrency_limit": queue.concurrency_limit,
        "key_concurrency_limit": queue.key_concurrency_limit,
        "rate": queue.rate.as_json() if queue.rate else None,
        **{edited: getattr(queue, edited) for edited in EDITED.values()},
    }


def _pause(queue: Queue) -> dict[str, Any]:
    at = queue.paused_at.isoformat() if queue.paused_at else None
    return {"paused_at": at, "paused_by": queue.paused_by, "pause_reason": queue.pause_reason}
