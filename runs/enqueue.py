"""How runs come into being: one statement in the caller's transaction, a wake-up when it commits (DESIGN D9)."""

from __future__ import annotations

import hashlib
import json
import uuid
from difflib import get_close_matches
from typing import Any, Final, NamedTuple

from django.conf import settings
from django.db import transaction

from holdfast import db
from queues import tickets
from queues.models import Queue as QueueRow
from runs import registration, store
from runs.errors import IdempotencyConflict, InvalidOption, PayloadTooLarge, UnknownQueue
from runs.sdk import usage
from runs.sdk.context import current
from runs.sdk.options import Options
from runs.sdk.task import Task

#: How long an idempotency key is remembered, in seconds.
KEY_TTL: Final = 86_400.0
#: Payloads of one statement; larger calls are cut, inside one transaction.
CHUNK: Final = 2_000
_NOBODY: Final = uuid.UUID(int=0)


class Stored(NamedTuple):
    id: uuid.UUID
    created: bool  # False: an idempotency key led to a run that was there already


def enqueue(task: Task[..., Any], payload: str, options: Options) -> Stored:
    """Stores one run of `task`. `payload` is JSON text that `Task.encode_payload` made."""
    check_size(payload)
    registration.ensure(task)
    if options.idempotency_key is not None:
        return _enqueue_once(task, payload, options, options.idempotency_key)
    return Stored(_store(task, [payload], options)[0], created=True)


def enqueue_many(task: Task[..., Any], payloads: list[str], options: Options) -> list[uuid.UUID]:
    """Stores a run for each payload, all or none."""
    if options.idempotency_key is not None:
        raise InvalidOption(
            "options.idempotency_key: one key cannot name many runs. Enqueue them one by one, each with its own key.",
            errors=[{"field": "options.idempotency_key", "message": "needs single enqueues, each with its own key"}],
        )
    for payload in payloads:
        check_size(payload)
    if not payloads:
        return []
    registration.ensure(task)
    if len(payloads) <= CHUNK:
        return _store(task, payloads, options)
    with transaction.atomic():
        ids: list[uuid.UUID] = []
        for at in range(0, len(payloads), CHUNK):
            ids += _store(task, payloads[at : at + CHUNK], options)
    return ids


def _enqueue_once(task: Task[..., Any], payload: str, options: Options, key: str) -> Stored:
    # The key compares what the payload means, not how it is spelled.
    digest = hashlib.sha256(json.dumps(json.loads(payload), sort_keys=True).encode()).digest()
    with transaction.atomic(), db.callers() as conn:
        run_id, known = store.claim_key(conn, task=task.id, key=key, payload_hash=digest, ttl=KEY_TTL)
        if run_id == _NOBODY:
            run_id = _store(task, [payload], options)[0]
            store.settle_key(conn, task=task.id, key=key, run_id=run_id)
            return Stored(run_id, created=True)
    if known != digest:
        raise IdempotencyConflict(
            f"Idempotency key {key!r} of task {task.id} was used with another payload, for run {run_id}. "
            "Send the same payload again, or use a new key.",
            run_id=str(run_id),
        )
    return Stored(run_id, created=False)


def _store(task: Task[..., Any], payloads: list[str], options: Options) -> list[uuid.UUID]:
    new = new_runs(task, payloads, options)
    with db.callers() as conn:
        ids, pool = store.enqueue(conn, new)
    if not ids:
        raise _unknown_queue(new.queue)
    transaction.on_commit(lambda: tickets.wake((pool,)))
    return ids


def new_runs(task: Task[..., Any], payloads: list[str], options: Options) -> store.NewRuns:
    """What the store is to enqueue; runs that a run enqueues are its children."""
    run = current.get()
    return store.NewRuns(
        task=task.id,
        queue=options.queue_name or task.queue.name,
        lane=int(registration.lane_of(task)),
        payloads=payloads,
        max_attempts=options.max_attempts or task.retry.max_attempts,
        priority=options.priority or 0,
        concurrency_key=options.concurrency_key,
        tags=options.tags or [],
        idempotency_key=options.idempotency_key,
        run_after=options.run_after,
        delay=options.delay_seconds,
        trace_id=run.trace_id if run else None,
        parent_id=run.id if run else None,
        ttl=options.seconds("ttl") or task.ttl,
        timeout=options.seconds("run_timeout") or task.run_timeout,
        budget=_budget(task, options),
    )


def _budget(task: Task[..., Any], options: Options) -> str | None:
    """JSON of exact amounts as text."""
    budget = usage.budget_of(options.budget) if options.budget is not None else task.budget
    return json.dumps({unit: usage.digits(most) for unit, most in budget.items()}) if budget else None


def check_size(payload: str, path: str = "payload") -> None:
    """Raises PayloadTooLarge for a payload over HOLDFAST_PAYLOAD_LIMIT bytes of JSON."""
    limit: int = settings.HOLDFAST_PAYLOAD_LIMIT
    # A character is at most four bytes: only long payloads need counting.
    if len(payload) * 4 > limit and (size := len(payload.encode())) > limit:
        raise PayloadTooLarge(
            f"{path} is {size:,} bytes; the limit is {limit:,}. Store the data elsewhere and send a reference, or "
            "raise HOLDFAST_PAYLOAD_LIMIT.",
            size=size,
            limit=limit,
            errors=[{"field": path, "message": f"is {size:,} bytes; the limit is {limit:,}"}],
        )


def _unknown_queue(name: str) -> UnknownQueue:
    names = list(QueueRow.objects.values_list("name", flat=True))
    near = get_close_matches(name, names, n=3)
    hint = f"Did you mean {', '.join(near)}?" if near else "Declare it in code: Queue(…) in a tasks module."
    return UnknownQueue(
        f"There is no queue {name!r}. {hint}",
        near=near,
        errors=[{"field": "options.queue_name", "message": f"names no queue. {hint}"}],
    )
