"""When queues were paused, as the audit log tells it: for what looks back. A queue that is paused is not at fault."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from holdfast.access.models import AuditEntry
from queues.models import Queue

#: Changes that are looked at, the latest of them: more than a year of two a day.
MOST_CHANGES: Final = 1_000
#: What changes pauses. An undo may as well be one of settings.
ACTIONS: Final = ("queues.pause", "queues.resume", "queues.undo")
#: The end of a pause that goes on until somebody resumes the queue.
OPEN: Final = datetime.max.replace(tzinfo=UTC)


class Pause(NamedTuple):
    """A time in which a queue started no runs, or was drained. `end` is not in it."""

    start: datetime
    end: datetime

    def holds(self, at: datetime) -> bool:
        return self.start <= at < self.end


def pauses(queue: str | None = None) -> dict[str, list[Pause]]:
    """The pauses of a queue, or of all, by name and in order; queues without any are left out."""
    found = AuditEntry.objects.filter(object_type="queue", action__in=ACTIONS)
    rows = Queue.objects.filter(paused_at__isnull=False)
    if queue is not None:  # the index audit_by_object serves one, audit_by_action all
        found, rows = found.filter(object_id=queue), rows.filter(name=queue)
    changes: dict[str, list[tuple[datetime, Mapping[str, Any], Mapping[str, Any]]]] = {}
    latest = found.order_by("-id").values_list("object_id", "at", "before", "after")
    for name, at, before, after in latest[:MOST_CHANGES]:
        if after and "paused_at" in after:
            changes.setdefault(name, []).append((at, before or {}, after))
    told = {name: list(_told(reversed(of))) for name, of in changes.items()}
    for row in rows.only("name", "paused_at", "paused_until")[:MOST_CHANGES]:  # also what the log does not know
        if row.paused_at:
            told.setdefault(row.name, []).append(Pause(row.paused_at, row.paused_until or OPEN))
    return {name: merged for name, of in told.items() if (merged := _merged(of))}


def _told(changes: Iterable[tuple[datetime, Mapping[str, Any], Mapping[str, Any]]]) -> Iterable[Pause]:
    """What changes, the oldest first, say of a queue: one holds until the next."""
    now: tuple[datetime, datetime] | None = None
    for number, (at, before, after) in enumerate(changes):
        if not number and (start := _moment(before.get("paused_at"))):  # the change that began it is not looked at
            now = start, _moment(before.get("paused_until")) or OPEN
        if now:
            yield Pause(now[0], min(now[1], at))
        now = (at, _moment(after.get("paused_until")) or OPEN) if after.get("paused_at") else None
    if now:
        yield Pause(*now)


def _merged(found: Iterable[Pause]) -> list[Pause]:
    """In order, and those that meet as one."""
    merged: list[Pause] = []
    for pause in sorted(found):
        if pause.end <= pause.start:
            continue
        if merged and pause.start <= merged[-1].end:
            merged[-1] = Pause(merged[-1].start, max(merged[-1].end, pause.end))
        else:
            merged.append(pause)
    return merged


def _moment(text: Any) -> datetime | None:
    return datetime.fromisoformat(text) if isinstance(text, str) and text else None
