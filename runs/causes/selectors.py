"""What pages, API and command line show of the verdict: its causes, what is said of them, and what was ruled out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from holdfast.access.selectors import database_now
from runs.causes import checks, judging
from runs.causes.checks import Check
from runs.causes.facts import Facts, facts
from runs.causes.judging import Cause, Verdict
from runs.causes.model import KEY_LENGTH, CauseNote
from runs.causes.notes import Standing, standing, why_over
from runs.charts import COUNTED, FAILED
from runs.errors import HoldfastError

_FAILED: Final = sorted(FAILED)
_COUNTED: Final = sorted(COUNTED)
#: Notes that are read: there are as many as people have written, and they are gone with their causes.
MAX_NOTES: Final = 1_000


class UnknownCause(HoldfastError):
    """There is no cause of this name now."""

    status, code = 404, "unknown_cause"


@dataclass(frozen=True, slots=True)
class Said:
    """A cause, and what somebody says of it."""

    cause: Cause
    standing: Standing
    note: CauseNote | None  # also one that is over, until the scheduler drops it
    over: str = ""  # why the note is over


@dataclass(frozen=True, slots=True)
class Story:
    """The verdict, why it is so, and what was looked at."""

    verdict: Verdict
    facts: Facts
    said: Sequence[Said]
    checks: Sequence[Check]
    at: datetime

    @property
    def shown(self) -> list[Said]:
        """Those in sight, the worst first."""
        return [said for said in self.said if said.standing != Standing.SNOOZED]

    @property
    def snoozed(self) -> list[Said]:
        return [said for said in self.said if said.standing == Standing.SNOOZED]

    @property
    def well(self) -> int:
        """Checks that found all well."""
        return sum(check.state == "good" for check in self.checks)

    @property
    def unmade(self) -> int:
        """Checks that could not be made."""
        return sum(check.state == "unmade" for check in self.checks)

    def cause(self, key: str) -> Said:
        """Raises UnknownCause with those that there are."""
        for said in self.said:
            if said.cause.key == key:
                return said
        known = ", ".join(said.cause.key for said in self.said[:5])
        hint = f"There are: {known}." if known else "There is none at all."
        raise UnknownCause(f"There is no cause {key!r:.110} now. {hint}", known=known)


def story() -> Story:
    """How things stand now. In so many queries, however much there is."""
    found = facts(_FAILED, _COUNTED)
    notes, now = _notes()
    said = [_said(cause, notes.get(cause.key), now) for cause in judging.causes(found, now)]
    snoozed = {one.cause.key for one in said if one.standing == Standing.SNOOZED}
    return Story(judging.verdict(found, now, snoozed), found, said, checks.checks(found, now), now)


def is_key(text: str) -> bool:
    """Whether a cause could have this key."""
    return 0 < len(text) <= KEY_LENGTH and text.isprintable()


def _said(cause: Cause, note: CauseNote | None, now: datetime) -> Said:
    return Said(cause, standing(note, cause.size, now), note, why_over(note, cause.size, now) if note else "")


def _notes() -> tuple[dict[str, CauseNote], datetime]:
    """All notes by their key, and the database's clock."""
    return {note.key: note for note in CauseNote.objects.order_by("key")[:MAX_NOTES]}, database_now()


# ── as JSON, by the names of the API ─────────────────────────────────────────────────────────────────────────────


def as_json(found: Story) -> dict[str, Any]:
    """The whole of it."""
    verdict = found.verdict
    return {
        "kind": verdict.kind,
        "words": verdict.words,
        "well": verdict.is_well,
        "down": verdict.is_down,
        "hint": verdict.hint,
        "at": found.at,
        "causes": [said_as_json(said) for said in found.said],
        "ruled_out": [{"name": c.name, "state": c.state, "words": c.words} for c in found.checks],
    }


def said_as_json(said: Said) -> dict[str, Any]:
    """One cause with what is said of it. A note that is over is none."""
    cause, note = said.cause, said.note if said.standing != Standing.OPEN else None
    return {
        "key": cause.key,
        "kind": cause.kind,
        "mood": cause.mood,
        "words": cause.words,
        "size": cause.size,
        "page": cause.address,
        "hint": cause.hint,
        "standing": str(said.standing),
        "noted_at": note.noted_at if note else None,
        "noted_by": note.noted_by if note else "",
        "reason": note.reason if note else "",
        "snoozed_until": note.until if note else None,
    }
