"""What a rule says, in words: the same on pages, in messages and on the command line. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from holdfast.words import duration
from runs.alerts.choices import Kind
from runs.search.values import duration as duration_of
from runs.search.values import duration_text

if TYPE_CHECKING:
    from runs.alerts.measuring import Point
    from runs.alerts.model import Alert

SECONDS: Final = (Kind.LATENCY, Kind.HEAD_WAIT, Kind.NO_PROGRESS)
#: Digits of an amount that are shown.
DIGITS: Final = 6
#: Characters of a number that is written.
MAX_NUMBER: Final = 20


def span(seconds: float) -> str:
    """`5m`, `1h30m`, as searches write it."""
    return duration_text(timedelta(seconds=seconds))


def seconds(text: str) -> float:
    """`90`, `90s`, `5m`, `1h30m` as seconds. Raises ValueError."""
    text = text.strip().replace(",", "")
    if text.replace(".", "", 1).isdecimal() and text.isascii() and len(text) <= MAX_NUMBER:
        return float(text)
    return duration_of(text).total_seconds()


def shown(rule: Alert, value: float | None) -> str:
    """A value with its unit: `34.5 %`, `2 m 05 s`, `3 ticks`, `12.5 cost`."""
    if value is None:
        return "unmeasured"
    if rule.kind == Kind.FAILURE_RATE:
        return f"{value:.1f} %"
    if rule.kind in SECONDS:
        return duration(value) if value else "0 s"
    if rule.kind == Kind.MISSED_SCHEDULE:
        return "1 tick" if value == 1 else f"{value:,.0f} ticks"
    return f"{_number(value)} {rule.unit}"


def limit(rule: Alert) -> str:
    """The threshold with its unit, as it was written."""
    if rule.kind == Kind.FAILURE_RATE:
        return f"{rule.threshold:g} %"
    return span(rule.threshold) if rule.kind in SECONDS else shown(rule, rule.threshold)


def scope(rule: Alert) -> str:
    """What it looks at."""
    if rule.kind == Kind.HEAD_WAIT:
        return f"queue {rule.queue}" if rule.queue else "any queue"
    if rule.kind == Kind.MISSED_SCHEDULE:
        return f"schedule {rule.schedule}" if rule.schedule else "any schedule"
    return rule.task or (f"queue {rule.queue}" if rule.queue else "all tasks")


def condition(rule: Alert) -> str:
    """`failure rate of seeded-invoice over 1h above 10 %, for 5m`."""
    over = f" over {span(rule.window)}"
    text = {
        Kind.FAILURE_RATE: f"failure rate of {scope(rule)}{over} above {limit(rule)}",
        Kind.LATENCY: f"p{rule.percentile:g} duration of {scope(rule)}{over} above {limit(rule)}",
        Kind.HEAD_WAIT: f"first in line of {scope(rule)} waits longer than {limit(rule)}",
        Kind.MISSED_SCHEDULE: f"more than {limit(rule)} of {scope(rule)} missed{over}",
        Kind.NO_PROGRESS: f"no run of {scope(rule)} completed for {limit(rule)} although some ran or wait",
        Kind.SPEND: f"{scope(rule)} used more than {limit(rule)}{over}",
    }[Kind(rule.kind)]
    return f"{text}, for {span(rule.hold)}" if rule.hold else text


def note(rule: Alert, point: Point) -> str:
    """What was measured last, or why nothing was."""
    if point.why:
        return point.why
    if rule.kind in (Kind.FAILURE_RATE, Kind.LATENCY):
        ran = f"{_runs(point.of)} ended in {span(rule.window)}"
        return f"{ran}; {rule.min_runs:,} are needed" if point.value is None else ran
    return ""


def summary(rule: Alert, value: float | None, why: str) -> str:
    """`34.5 % (29 runs ended in 1h): failure rate of … above 10 %`."""
    measured = f"{shown(rule, value)} ({why})" if why else shown(rule, value)
    return f"{measured}: {condition(rule)}"


def _runs(number: int) -> str:
    return "1 run" if number == 1 else f"{number:,} runs"


def _number(value: float) -> str:
    text = f"{value:,.{DIGITS}f}" if abs(value) < 1_000_000 else f"{value:,.0f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
