"""What a group of errors is to whoever looks: new, back again, growing, or known. Pure: judged when it is read.

resolved  a person said so, and no version has met it since in which it had not been seen before
snoozed   a person wants no word of it until a time, or until it has failed so often again
regressed it was resolved, and a version has met it since in which it had not been seen before
new       first seen within a day, or since the last deploy of one of its tasks, of the last week
growing   it fails more often now than it did in the day before
steady    it has failed within the last day
quiet     it has not
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

DAY: Final = timedelta(days=1)
#: Deploys that are remembered for what is new since.
DEPLOYS: Final = timedelta(days=7)
#: "Growing" from so many failed tries in this hour and the one before, and so many times the rate of the day before.
LEAST, TIMES = 5, 3.0
#: The day before, in hours.
BASELINE: Final = 24


class State(StrEnum):
    NEW = "new"
    REGRESSED = "regressed"
    GROWING = "growing"
    STEADY = "steady"
    QUIET = "quiet"
    SNOOZED = "snoozed"
    RESOLVED = "resolved"

    @property
    def is_open(self) -> bool:
        return self not in (State.SNOOZED, State.RESOLVED)

    @property
    def look(self) -> str:
        """The status whose colour it has."""
        return _LOOKS[self][0]

    @property
    def icon(self) -> str:
        return _LOOKS[self][1]


_LOOKS: Final = {
    State.NEW: ("bad", "errors"),
    State.REGRESSED: ("bad", "retries"),
    State.GROWING: ("warn", "explore"),
    State.STEADY: ("idle", "step"),
    State.QUIET: ("idle", "waiting"),
    State.SNOOZED: ("idle", "scheduled"),
    State.RESOLVED: ("good", "completed"),
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What a state is judged by. Counts are of failed tries."""

    first_seen: datetime
    resolved_at: datetime | None
    snoozed_at: datetime | None
    snoozed_until: datetime | None
    snoozed_for: int | None
    lately: int  # in this hour and the one before
    before: int  # in the BASELINE hours before those
    today: int  # within a day
    since: int  # since it was snoozed
    relapsed: bool  # met since it was resolved by a version in which it had not been seen until then


def state_of(facts: Facts, now: datetime, deployed: datetime | None = None) -> State:
    """The state of a group; `deployed` is when one of its tasks had its last deploy, as far as that is remembered."""
    if facts.resolved_at is not None and not facts.relapsed:
        return State.RESOLVED
    if is_snoozed(facts, now):
        return State.SNOOZED
    if facts.resolved_at is not None:
        return State.REGRESSED
    if now - facts.first_seen < DAY or (deployed is not None and facts.first_seen >= deployed >= now - DEPLOYS):
        return State.NEW
    if is_growing(facts, now):
        return State.GROWING
    return State.STEADY if facts.today else State.QUIET


def is_snoozed(facts: Facts, now: datetime) -> bool:
    """Until what comes first: its time, or its count."""
    if facts.snoozed_at is None:
        return False
    timely = facts.snoozed_until is None or now < facts.snoozed_until
    return timely and (facts.snoozed_for is None or facts.since < facts.snoozed_for)


def is_growing(facts: Facts, now: datetime) -> bool:
    """By rates: of this hour, as far as it is over, and the one before, against those of the day before."""
    hours = 1 + (now - now.replace(minute=0, second=0, microsecond=0)) / timedelta(hours=1)
    known = min(BASELINE, max(1.0, (now - facts.first_seen) / timedelta(hours=1) - hours))
    return facts.lately >= LEAST and facts.lately / hours >= TIMES * facts.before / known
