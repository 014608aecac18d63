"""Runs of ticks that are over: what a schedule would have done before it was made, while it was paused, or without code
that worked."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from django.db import transaction

from holdfast.access.grants import Actor
from holdfast.access.selectors import database_now
from runs import enqueue, services
from runs.errors import HoldfastError, IdempotencyConflict
from runs.models import Run
from runs.schedules.choices import TickOutcome
from runs.schedules.model import Schedule, Tick
from runs.schedules.services import invalid, locked, record, schedule_tag, tags_of, tick_tag, timing_of
from runs.sdk.options import Options

#: Ticks of one backfill.
MOST: Final = 1_000
#: Seconds for which a tick is known to have been backfilled, though its schedule and its run are forgotten.
REMEMBERED: Final = 366 * 86_400.0
#: The years that a backfill may ask for.
YEARS: Final = range(1970, 9999)


class Backfilled(NamedTuple):
    """What came of it."""

    runs: int  # that were begun
    skipped: int  # ticks that had begun a run before


def backfill(name: str, start: Any, end: Any, actor: Actor, reason: str = "") -> Backfilled:
    """Begins a run for each tick from `start` to `end`, both included, that has not begun one; again, it begins none.

    The runs are tagged `backfill` and with their tick, as late ones are; `overlap` and `jitter` are not asked: they all
    begin as their queue lets them. Ticks that were skipped, missed or could begin no run have begun none, so they get
    one. Ticks that are still to be fired by a scheduler, or wait for the run before, are left to it.

    Args:
        start, end: times with a zone, or RFC 3339 text; not in the future.

    Raises:
        UnknownSchedule, UnknownTask, InvalidSchedule: a time does not fit, or there are more than MOST ticks.
    """
    first, last = _moment("from", start), _moment("to", end)
    with transaction.atomic():
        found = locked(name)
        now = database_now()
        faults = [
            (field, "is in the future; a backfill is of what is over")
            for field, at in (("from", first), ("to", last))
            if at > now
        ]
        if first > last:
            faults.append(("from", "is later than to"))
        if faults:
            raise invalid(faults)
        ticks = _ticks(found, first, last)
        records = {tick.due_at: tick for tick in found.ticks.filter(due_at__in=ticks)}
        begun = _begun(found, ticks, records)
        runs = _begin(found, [tick for tick in ticks if tick not in begun], records, now)
        result = Backfilled(runs, len(ticks) - runs)
        told = {"from": first.isoformat(), "to": last.isoformat(), **result._asdict()}
        record(actor, "backfill", name, reason, before={}, after=told)
    return result


def _ticks(found: Schedule, first: datetime, last: datetime) -> list[datetime]:
    ticks: list[datetime] = []
    for tick in timing_of(found).ticks(first - timedelta(microseconds=1)):
        if tick > last or (found.next_at is not None and tick >= found.next_at):
            break
        ticks.append(tick)
        if len(ticks) > MOST:
            raise invalid([("to", f"is more than {MOST:,} ticks after from; backfill in parts")])
    return ticks


def _begun(found: Schedule, ticks: list[datetime], records: dict[datetime, Tick]) -> set[datetime]:
    """Those of the ticks that have begun a run, or are about to: by their record, or, once that is forgotten, by their
    run's tags."""
    recorded = {due_at for due_at, tick in records.items() if tick.run_id or tick.outcome == TickOutcome.QUEUED}
    by_tag = {tick_tag(tick): tick for tick in ticks}
    tagged = Run.objects.filter(tags__overlap=list(by_tag), tags__contains=[schedule_tag(found)]).exclude(tags=[])
    tags = {tag for run_tags in tagged.values_list("tags", flat=True) for tag in run_tags}
    return recorded | {by_tag[tag] for tag in tags & by_tag.keys()}


def _begin(found: Schedule, ticks: list[datetime], records: dict[datetime, Tick], now: datetime) -> int:
    """Stores the runs and records their ticks. Returns how many are new."""
    task = services.task_get(found.task_id)
    text = task.encode_payload(found.payload, of_json=True)
    items = [
        enqueue.Item(
            text,
            Options(
                tags=[*tags_of(found, tick), "backfill"],
                idempotency_key=f"backfill:{found.pk}:{tick.isoformat()}",
                idempotency_ttl=REMEMBERED,
            ),
        )
        for tick in ticks
    ]
    new = 0
    for tick, stored in zip(ticks, enqueue.enqueue_items(task, items), strict=True):
        if isinstance(stored, IdempotencyConflict):
            continue  # it has begun a run, which is forgotten, as is its record; with the payload of then
        if isinstance(stored, HoldfastError):
            raise stored
        new += stored.created
        before = records[tick].why if tick in records else ""
        why = f"backfilled; before: {before}"[:500] if before else "backfilled"
        values = {"fired_at": now, "outcome": TickOutcome.STARTED, "run_id": stored.id, "why": why}
        Tick.objects.update_or_create(schedule=found, due_at=tick, defaults=values)
    return new


def _moment(field: str, value: Any) -> datetime:
    sent = value.isoformat() if isinstance(value, datetime) else f"{value!r:.60}"
    fault = [(field, f"is {sent}; write a time with its zone, like 2026-01-31T09:00:00Z")]
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise invalid(fault) from None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise invalid(fault)
    if value.year not in YEARS:
        raise invalid(
            [(field, f"is in the year {value.year}; write a time between {YEARS.start} and {YEARS.stop - 1}")]
        )
    return value
