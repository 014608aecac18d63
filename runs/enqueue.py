"""How runs come into being: one statement in the caller's transaction, a wake-up when it commits (DESIGN D9)."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import Any, Final, NamedTuple

from django.conf import settings
from django.db import transaction

from holdfast import db
from queues import tickets
from queues.models import Queue as QueueRow
from runs import registration, store
from runs.errors import HoldfastError, IdempotencyConflict, InvalidOption, PayloadTooLarge, UnknownQueue
from runs.sdk import usage
from runs.sdk.context import current
from runs.sdk.debounce import Debounce
from runs.sdk.options import Options
from runs.sdk.task import Task

#: How long an idempotency key is remembered unless its caller says so, in seconds.
KEY_TTL: Final = 86_400.0
#: Payloads of one statement; larger calls are cut, inside one transaction.
CHUNK: Final = 2_000
_NOBODY: Final = uuid.UUID(int=0)


class Stored(NamedTuple):
    id: uuid.UUID
    created: bool  # False: a key led to a run that was there already


class Item(NamedTuple):
    """One run of many that may differ in everything."""

    payload: str  # JSON text that `Task.encode_payload` made
    options: Options


def enqueue(task: Task[..., Any], payload: str, options: Options) -> Stored:
    """Stores one run of `task`. `payload` is JSON text that `Task.encode_payload` made."""
    check_size(payload)
    if options.idempotency_key is not None or options.debounce is not None:
        found = enqueue_items(task, [Item(payload, options)])[0]
        if isinstance(found, HoldfastError):
            raise found
        return found
    registration.ensure(task)
    return Stored(_store(task, [payload], options)[0], created=True)


def enqueue_many(task: Task[..., Any], payloads: list[str], options: Options) -> list[uuid.UUID]:
    """Stores a run for each payload, all or none."""
    for name in ("idempotency_key", "debounce"):
        if getattr(options, name) is not None:
            raise InvalidOption(
                f"options.{name}: one key cannot name many runs. Enqueue them one by one, each with its own key.",
                errors=[{"field": f"options.{name}", "message": "needs single enqueues, each with its own key"}],
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


def enqueue_items(task: Task[..., Any], items: Sequence[Item]) -> list[Stored | HoldfastError]:
    """Stores a run for each item, in one transaction. An item that cannot be stored (its key was used with another
    payload, its queue does not exist) has the error in its place; the caller decides whether the others stand."""
    registration.ensure(task)
    found: dict[int, Stored | HoldfastError] = {}
    with transaction.atomic():
        keys: dict[int, store.KeyRow] = {}
        for place, item in enumerate(items):
            if item.options.idempotency_key is not None:
                try:
                    keys[place] = _key(item)
                except InvalidOption as error:
                    found[place] = error
        firsts: dict[str, int] = {}
        for place, key in keys.items():
            firsts.setdefault(key.key, place)
        known: dict[str, tuple[uuid.UUID, bytes]] = {}
        if firsts:
            with db.callers() as conn:
                known = store.claim_keys(conn, task.id, [keys[place] for place in firsts.values()])
        fresh = [place for key, place in firsts.items() if known[key][0] == _NOBODY]
        left = [place for place in range(len(items)) if place not in keys and place not in found]
        unkeyed = [place for place in left if not items[place].options.debounce]
        found |= _store_groups(task, items, sorted(fresh + unkeyed))
        if fresh:
            _settle(task, {keys[place].key: found[place] for place in fresh})
        for place, key in keys.items():
            first = found.get(firsts[key.key]) or Stored(known[key.key][0], created=False)
            found[place] = _answer(task, items[place], key, first, known[key.key][1], created=place in fresh)
        for place in sorted(set(range(len(items))) - set(found), key=lambda p: _debounce(items[p]).key):
            found[place] = _debounced(task, items[place])
    return [found[place] for place in range(len(items))]


def _key(item: Item) -> store.KeyRow:
    """The key of an item as it is stored: one whose scope is a run has that run's id before it."""
    options = item.options
    key = options.idempotency_key or ""
    if options.idempotency_scope == "run":
        run = current.get()
        if run is None:
            message = "is 'run', but no run enqueues this; leave it away outside tasks"
            raise InvalidOption(
                f"options.idempotency_scope {message}",
                errors=[{"field": "options.idempotency_scope", "message": message}],
            )
        key = f"{run.id}/{key}"
    # The key compares what the payload means, not how it is spelled.
    digest = hashlib.sha256(json.dumps(json.loads(item.payload), sort_keys=True).encode()).digest()
    return store.KeyRow(key, digest, options.seconds("idempotency_ttl") or KEY_TTL)


def _store_groups(
    task: Task[..., Any], items: Sequence[Item], places: Sequence[int]
) -> dict[int, Stored | HoldfastError]:
    """Items with the same options go in one statement."""
    groups: dict[str, list[int]] = defaultdict(list)
    for place in places:
        groups[repr(replace(items[place].options, idempotency_key=None, idempotency_ttl=None))].append(place)
    found: dict[int, Stored | HoldfastError] = {}
    for group in groups.values():
        for at in range(0, len(group), CHUNK):
            part = group[at : at + CHUNK]
            keys = [items[place].options.idempotency_key for place in part]
            try:
                ids = _store(task, [items[p].payload for p in part], items[part[0]].options, keys)
            except UnknownQueue as error:
                found |= dict.fromkeys(part, error)
            else:
                found |= {p: Stored(run_id, created=True) for p, run_id in zip(part, ids, strict=True)}
    return found


def _settle(task: Task[..., Any], claimed: dict[str, Stored | HoldfastError]) -> None:
    runs = {key: stored.id for key, stored in claimed.items() if isinstance(stored, Stored)}
    with db.callers() as conn:
        store.settle_keys(conn, task.id, list(runs), list(runs.values()))
        if len(runs) < len(claimed):
            store.release_keys(conn, task.id, [key for key in claimed if key not in runs])


def _answer(
    task: Task[..., Any], item: Item, key: store.KeyRow, first: Stored | HoldfastError, known: bytes, *, created: bool
) -> Stored | HoldfastError:
    """What an item with a key comes to, whose key belongs to the run `first` with a payload of the hash `known`."""
    if isinstance(first, HoldfastError):
        return first
    if known != key.payload_hash:
        return IdempotencyConflict(
            f"Idempotency key {item.options.idempotency_key!r} of task {task.id} was used with another payload, for "
            f"run {first.id}. Send the same payload again, or use a new key.",
            run_id=str(first.id),
        )
    return Stored(first.id, created=created)


def _debounce(item: Item) -> Debounce:
    assert item.options.debounce is not None
    return item.options.debounce


def _debounced(task: Task[..., Any], item: Item) -> Stored | HoldfastError:
    """The run that this call belongs to, or begins."""
    wanted = _debounce(item)
    trailing = wanted.mode == "trailing"
    with db.callers() as conn:
        at = store.claim_debounce(conn, task=task.id, key=wanted.key, delay=wanted.seconds, longest=wanted.longest)
        if at.open and (
            not trailing
            or store.change_scheduled(conn, at.run_id, payload=item.payload, was=at.quiet_at, due_at=at.joined)
        ):
            store.join_debounce(conn, task=task.id, key=wanted.key, quiet_at=at.joined)
            return Stored(at.run_id, created=False)
    options = replace(item.options, run_after=at.begun) if trailing else item.options
    try:
        run_id = _store(task, [item.payload], options)[0]
    except UnknownQueue as error:
        return error
    with db.callers() as conn:
        store.begin_debounce(conn, task=task.id, key=wanted.key, run_id=run_id, quiet_at=at.begun)
    return Stored(run_id, created=True)


def _store(
    task: Task[..., Any], payloads: list[str], options: Options, keys: Sequence[str | None] = ()
) -> list[uuid.UUID]:
    new = new_runs(task, payloads, options, keys)
    with db.callers() as conn:
        ids, pool = store.enqueue(conn, new)
    if not ids:
        raise _unknown_queue(new.queue)
    transaction.on_commit(lambda: tickets.wake((pool,)))
    return ids


def new_runs(
    task: Task[..., Any], payloads: list[str], options: Options, keys: Sequence[str | None] = ()
) -> store.NewRuns:
    """What the store is to enqueue; runs that a run enqueues are its children.

    Args:
        keys: of each its idempotency key, where one has any.
    """
    run = current.get()
    return store.NewRuns(
        task=task.id,
        queue=options.queue_name or task.queue.name,
        lane=int(registration.lane_of(task)),
        payloads=payloads,
        max_attempts=options.max_attempts or task.retry.max_attempts,
        priority=options.priority or 0,
        concurrency_key=options.concurrency_key,
        units=options.units or 1,
        tags=options.tags or [],
        keys=list(keys) if any(keys) else None,
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


def payload_limit() -> int:
    """Bytes of JSON that a payload may have."""
    limit: int = settings.HOLDFAST_PAYLOAD_LIMIT
    return limit


def check_size(payload: str, path: str = "payload") -> None:
    """Raises PayloadTooLarge for a payload over HOLDFAST_PAYLOAD_LIMIT bytes of JSON."""
    limit = payload_limit()
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
