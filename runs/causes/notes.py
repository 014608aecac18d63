"""What an acknowledgement or a snooze is worth now. Pure: judged whenever it is read.

acknowledged  somebody works on it: it stays in sight, and is calm
snoozed       nobody wants a word of it until a time: it is folded away, and the verdict leaves it out
over          its time has come, or the cause has become worse: it counts as if nobody had said anything

Worse is a cause that is twice as large as it was when it was noted, and by WORSE_BY at least (runs that wait, or have
failed), or one that was away for AWAY and came back: `watch.py` ends the note of a cause that is away for so long.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from runs.causes.model import CauseNote

WORSE_TIMES: Final = 2
WORSE_BY: Final = 5
AWAY: Final = timedelta(minutes=5)


class Standing(StrEnum):
    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    SNOOZED = "snoozed"


def standing(note: CauseNote | None, size: int, now: datetime) -> Standing:
    """Of a cause that is so large now."""
    if note is None or is_over(note, size, now):
        return Standing.OPEN
    return Standing.ACKNOWLEDGED if note.until is None else Standing.SNOOZED


def is_over(note: CauseNote, size: int, now: datetime) -> bool:
    """Whether it is worth nothing any more, though its cause is there."""
    return why_over(note, size, now) != ""


def why_over(note: CauseNote, size: int, now: datetime) -> str:
    """Why a note of a cause of this size is over; empty while it is not."""
    if note.until is not None and now >= note.until:
        return "its time is over"
    if is_worse(note.size, size):
        return f"it has become worse: {size:,} instead of {note.size:,}"
    return ""


def is_worse(was: int, now: int) -> bool:
    return now >= WORSE_TIMES * was and now - was >= WORSE_BY
