"""The scheduler's look at what people have said of causes. Otherwise only pages that are read would know whether a
cause went away in between, and reading changes nothing."""

from __future__ import annotations

from typing import Final

from django.db.models import Q

from runs.causes.model import CauseNote
from runs.causes.notes import AWAY, why_over
from runs.causes.selectors import MAX_NOTES, story
from runs.causes.services import end_notes

#: Seconds between two looks.
EVERY: Final = 15.0


def look() -> None:
    """Notes that are over are dropped, with an audit row each: their time has come, their cause is worse, or has been
    away for AWAY. One query when nobody has said anything."""
    notes = list(CauseNote.objects.order_by("key")[:MAX_NOTES])
    if not notes:
        return
    found = story()
    sizes = {said.cause.key: said.cause.size for said in found.said}
    over: dict[str, str] = {}
    for note in notes:
        if note.key in sizes:
            why = why_over(note, sizes[note.key], found.at)
        else:
            why = "its cause is gone" if found.at - note.seen_at >= AWAY and not found.facts.unread else ""
        if why:
            over[note.key] = why
    there = Q(key__in=sizes, seen_at__lt=found.at)
    CauseNote.objects.filter(there).update(seen_at=found.at)
    end_notes(over)
