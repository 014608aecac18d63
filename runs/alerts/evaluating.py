"""The scheduler's part: each rule is looked at once a minute. Any number of schedulers may do this side by side.

A rule's row is locked; its state, its firing and the runs that tell of it are written and its next time is set in one
transaction: whoever dies in the middle has done nothing, and whoever comes second finds nothing due.
"""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction

from holdfast.access.selectors import database_now
from holdfast.telemetry import emit
from runs.alerts import delivering, words
from runs.alerts.choices import Ended, State
from runs.alerts.links import examples, page_of
from runs.alerts.measuring import MINUTE, Point, TooSlow, measure
from runs.alerts.model import Alert, Firing
from runs.alerts.rules import move

logger = logging.getLogger("holdfast.alerts")

#: After the end of a minute its last rollups are written.
SETTLE: Final = timedelta(seconds=5)
#: Seconds after which a turn begins with no other rule: timers wait for it.
TURN: Final = 0.5
#: Milliseconds for which a statement may hold up the scheduler.
PATIENCE: Final = 2_000
#: Firings that a rule remembers.
REMEMBERED: Final = 1_000
MAX_NOTE, MAX_SUMMARY, MAX_LINK = 300, 500, 1_000


def evaluate_due() -> bool:
    """Looks at rules that are due. True: there may be more."""
    until = time.monotonic() + TURN
    while _evaluate_one():
        if time.monotonic() >= until:
            return True
    return False


def _evaluate_one() -> bool:
    with transaction.atomic():
        now = database_now()
        due = Alert.objects.filter(enabled=True, due_at__lte=now).order_by("due_at", "id")
        rule = due.select_for_update(skip_locked=True).first()
        if rule is None:
            return False
        end = (now - SETTLE).replace(second=0, microsecond=0)
        try:
            point = measure(rule, end, patience=PATIENCE)
        except TooSlow as error:
            logger.warning("alert %s: %s", rule.name, error)
            point = Point(end, None, why=str(error))
        rule.due_at = end + MINUTE + SETTLE
        _settle(rule, point, now)
    return True


def _settle(rule: Alert, point: Point, now: datetime) -> None:
    """Moves the rule on, and tells of it."""
    before = rule.state
    after = move(rule.standing, point.value, point.at, threshold=rule.threshold, hold=rule.held)
    rule.state, rule.since = after.state, after.since
    rule.calm_since, rule.blind_since = after.calm_since, after.blind_since
    rule.value, rule.note, rule.evaluated_at = point.value, words.note(rule, point)[:MAX_NOTE], now
    rule.save()
    if after.state == State.FIRING:
        firing = _begin(rule, point) if before != State.FIRING else _go_on(rule, point)
        if firing is not None:
            tell(rule, firing, now)
    elif before == State.FIRING:
        end(rule, Ended.RECOVERED if after.state == State.OK else Ended.UNMEASURED, point.at)
    if before != after.state:
        emit("alert.moved", alert=rule.name, state=str(after.state), before=str(before))


def _begin(rule: Alert, point: Point) -> Firing:
    value, link = point.value or 0.0, examples(rule, point.at)
    firing = Firing.objects.create(
        alert=rule,
        since=point.at,
        threshold=rule.threshold,
        value=value,
        peak=value,
        peak_at=point.at,
        summary=words.summary(rule, value, rule.note)[:MAX_SUMMARY],
        link=link if len(link) <= MAX_LINK else page_of(rule.name),  # a part of one leads nowhere
    )
    last = rule.firings.values_list("id", flat=True)[REMEMBERED : REMEMBERED + 1].first()
    if last is not None:
        rule.firings.filter(id__lte=last).delete()
    return firing


def _go_on(rule: Alert, point: Point) -> Firing | None:
    firing = rule.firings.filter(until__isnull=True).first()
    if firing is not None and point.value is not None and point.value > firing.peak:
        firing.peak, firing.peak_at = point.value, point.at
        firing.save(update_fields=["peak", "peak_at"])
    return firing


def tell(rule: Alert, firing: Firing, now: datetime) -> None:
    """Tells of a firing, unless that was done, the rule is silenced, or somebody knows. In the caller's transaction."""
    silenced = rule.silenced_until is not None and rule.silenced_until > now
    if firing.told_at is not None or silenced or firing.acknowledged_at is not None:
        return
    if delivering.tell(rule, firing, delivering.FIRING):
        firing.told_at = now
        firing.save(update_fields=["told_at"])


def end(rule: Alert, why: str, at: datetime) -> None:
    """The firing is over; who was told of it is told so. In the caller's transaction, with the rule's row locked."""
    firing = rule.firings.filter(until__isnull=True).first()
    if firing is None:
        return
    firing.until, firing.ended = max(at, firing.since), why
    firing.save(update_fields=["until", "ended"])
    if firing.told_at is not None:
        delivering.tell(rule, firing, delivering.RESOLVED)
