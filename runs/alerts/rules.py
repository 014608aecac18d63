"""When a rule fires: a value each minute in, a state out. Pure: no clock is read here, and no table.

    unmeasured ──▶ ok ──above──▶ pending ──for `hold`──▶ firing ──at or below, for `hold`──▶ ok
         ▲          │              │ back at once            │
         └──────────┴──no value────┘                         └──no value for a day──▶ unmeasured

Above is above the threshold. A rule that fires and has no value goes on firing: that nothing ran is no sign that all is
well again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from runs.alerts.choices import State

#: After this long without a value a rule does not fire any more.
GIVE_UP: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Standing:
    """What a rule says."""

    state: str
    since: datetime
    calm_since: datetime | None = None  # while it fires: since when the value is at or below the threshold
    blind_since: datetime | None = None  # while it fires: since when there is no value


@dataclass(frozen=True, slots=True)
class Span:
    """A firing, as a preview finds it."""

    since: datetime
    until: datetime | None
    peak: float


def move(now: Standing, value: float | None, at: datetime, *, threshold: float, hold: timedelta) -> Standing:
    """What a rule says after one more look.

    Args:
        value: None where nothing could be measured.
        at: the end of what was measured.
        hold: how long it has to be above the threshold to fire, and at or below it not to fire any more.
    """
    if now.state == State.FIRING:
        return _firing(now, value, at, threshold, hold)
    if value is None:
        return now if now.state == State.UNMEASURED else Standing(State.UNMEASURED, at)
    if value <= threshold:
        return now if now.state == State.OK else Standing(State.OK, at)
    pending = now if now.state == State.PENDING else Standing(State.PENDING, at)
    return Standing(State.FIRING, at) if at - pending.since >= hold else pending


def _firing(now: Standing, value: float | None, at: datetime, threshold: float, hold: timedelta) -> Standing:
    if value is None:
        blind = now.blind_since or at
        if at - blind >= GIVE_UP:
            return Standing(State.UNMEASURED, at)
        return replace(now, blind_since=blind, calm_since=None)
    if value > threshold:
        return Standing(State.FIRING, now.since)
    calm = now.calm_since or at
    return Standing(State.OK, at) if at - calm >= hold else Standing(State.FIRING, now.since, calm)


def spans(points: Iterable[tuple[datetime, float | None]], *, threshold: float, hold: timedelta) -> list[Span]:
    """How often a rule would have fired, had it looked at these values, a minute apart."""
    standing: Standing | None = None
    found: list[Span] = []
    for at, value in points:
        before = standing or Standing(State.UNMEASURED, at)
        standing = move(before, value, at, threshold=threshold, hold=hold)
        if standing.state == State.FIRING:
            if before.state != State.FIRING:
                found.append(Span(at, None, value or 0.0))
            elif value is not None and value > found[-1].peak:
                found[-1] = replace(found[-1], peak=value)
        elif before.state == State.FIRING:
            found[-1] = replace(found[-1], until=at)
    return found
