"""The settings of a rule, and what they may be. Nothing of it writes."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from math import isfinite
from typing import Any, Final

from django.db.models import Model

from queues.models import Queue
from runs.alerts.choices import DEFAULTS, USES, Kind
from runs.alerts.model import Alert, Channel
from runs.models import Task
from runs.schedules.model import Schedule
from runs.sdk.options import is_word

#: What a rule measures; what of it may be changed is EDITABLE.
MEASURES: Final = ("kind", *DEFAULTS, "threshold", "hold")
EDITABLE: Final = (*MEASURES, "channels", "enabled")
DAY: Final = 86_400
MAX_CHANNELS: Final = 20
#: Names that are compared with one that does not exist.
MOST_NAMES: Final = 1_000

#: Of each kind: the lowest and the highest threshold, and what to write.
THRESHOLDS: Final[dict[str, tuple[float, float, str]]] = {
    Kind.FAILURE_RATE: (0, 99.999, "percent from 0 to below 100"),
    Kind.LATENCY: (0.001, 30 * DAY, f"seconds from 0.001 to {30 * DAY:,}"),
    Kind.HEAD_WAIT: (1, 30 * DAY, f"seconds from 1 to {30 * DAY:,}"),
    Kind.MISSED_SCHEDULE: (0, 10_000, "a number of ticks from 0 to 10,000"),
    Kind.NO_PROGRESS: (60, DAY, f"seconds from 60 to {DAY:,}"),
    Kind.SPEND: (0, 1e15, "an amount from 0 on"),
}
Fault = tuple[str, str]


def put(row: Alert, changes: dict[str, Any]) -> list[Fault]:
    """Puts settings but for channels into a row that is not saved. Returns what does not fit: (field, message)."""
    faults = [
        (name, f"is no setting; there are {', '.join(EDITABLE)}") for name in sorted(set(changes) - set(EDITABLE))
    ]
    kind = changes.get("kind", row.kind)
    if kind not in Kind.values:
        return [*faults, ("kind", f"is {kind!r:.60}; write one of {', '.join(Kind.values)}")]
    for name, value in changes.items():
        said = _problem(name, value, kind)
        if said:
            faults.append((name, said))
        elif name in MEASURES or name == "enabled":
            setattr(row, name, value)
    for name in set(DEFAULTS) - set(USES[kind]):  # what the kind before had, or was left empty
        setattr(row, name, DEFAULTS[name])
    return faults + (_together(row) if not faults else [])


def channels_of(value: Any) -> tuple[list[Channel], list[Fault]]:
    """The channels of these names, and what does not fit."""
    how = f"must be a list of at most {MAX_CHANNELS} names of channels"
    if not isinstance(value, list) or len(value) > MAX_CHANNELS or not all(is_word(name, 80) for name in value):
        return [], [("channels", how)]
    found = {row.name: row for row in Channel.objects.filter(name__in=value)}
    unknown = [name for name in value if name not in found]
    return list(found.values()), [("channels", f"has {name!r}, which is no channel") for name in unknown[:1]]


def _problem(name: str, value: Any, kind: str) -> str:
    if name in DEFAULTS and name not in USES[kind] and value not in (None, "", DEFAULTS[name]):
        used = ", ".join(USES[kind])
        return f"is nothing that a rule of kind {kind} asks for; it has {used} and threshold"
    check = _CHECKS.get(name)
    return check(value, kind) if check else ""


def _threshold(value: Any, kind: str) -> str:
    low, high, how = THRESHOLDS[kind]
    return "" if _number(value) and low <= value <= high else f"is {value!r:.60}; write {how}"


def _window(value: Any, kind: str) -> str:
    fits = _whole(value) and 60 <= value <= DAY and value % 60 == 0
    return "" if fits else f"is {value!r:.60}; write whole minutes as seconds, from 60 to {DAY:,}"


def _hold(value: Any, kind: str) -> str:
    return "" if _whole(value) and 0 <= value <= DAY else f"is {value!r:.60}; write seconds from 0 to {DAY:,}"


def _min_runs(value: Any, kind: str) -> str:
    fits = _whole(value) and 1 <= value <= 1_000_000
    return "" if fits else f"is {value!r:.60}; write a number of runs from 1 to 1,000,000"


def _percentile(value: Any, kind: str) -> str:
    return "" if _number(value) and 1 <= value <= 99.9 else f"is {value!r:.60}; write a number from 1 to 99.9"


def _unit(value: Any, kind: str) -> str:
    fits = value == "" or (is_word(value, 60) and value.isprintable())
    return "" if fits else f"is {value!r:.60}; write a unit that runs say they use, such as tokens_in or cost"


def _enabled(value: Any, kind: str) -> str:
    return "" if isinstance(value, bool) else "must be true or false"


def _named(model: type[Model], key: str, what: str) -> Callable[[Any, str], str]:
    """Checks that there is one of this name, or none is named."""

    def check(value: Any, kind: str) -> str:
        if value == "":
            return ""
        objects = model._default_manager
        if is_word(value, 200) and objects.filter(**{key: value}).exists():
            return ""
        names = objects.values_list(key, flat=True)[:MOST_NAMES]
        near = get_close_matches(value[:200], names, n=3, cutoff=0.5) if isinstance(value, str) else []
        hint = f"; did you mean {', '.join(near)}?" if near else f"; write the name of one, or nothing for all {what}s"
        return f"is {value!r:.60}, and there is no such {what}{hint}"

    return check


_CHECKS: Final[dict[str, Callable[[Any, str], str]]] = {
    "threshold": _threshold,
    "window": _window,
    "hold": _hold,
    "min_runs": _min_runs,
    "percentile": _percentile,
    "unit": _unit,
    "enabled": _enabled,
    "task": _named(Task, "id", "task"),
    "queue": _named(Queue, "name", "queue"),
    "schedule": _named(Schedule, "name", "schedule"),
}


def _together(row: Alert) -> list[Fault]:
    low, high, how = THRESHOLDS[row.kind]
    given: float | None = row.threshold  # of one that is being made, nothing yet
    if given is None:
        return [("threshold", f"is missing; write {how}")]
    if not low <= row.threshold <= high:
        return [("threshold", f"is {row.threshold:g}; write {how}")]
    if row.task and row.queue:
        return [("queue", "stands beside task; give one of the two")]
    if row.kind == Kind.NO_PROGRESS and not (row.task or row.queue):
        return [("task", "and queue are empty; give one of the two")]
    if row.kind == Kind.SPEND and not row.unit:
        return [("unit", "is missing; write a unit that runs say they use, such as tokens_in or cost")]
    return []


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300 and isfinite(value)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
