"""The settings of a schedule beside its task and its timing, and what they may be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from runs.schedules.choices import CatchUp, Overlap
from runs.schedules.ticks import MAX_JITTER

#: What may be set, and what to write.
SETTINGS: Final = {
    "catch_up": f"write one of {', '.join(CatchUp.values)}",
    "overlap": f"write one of {', '.join(Overlap.values)}",
    "jitter": f"write seconds from 0 to {MAX_JITTER:,.0f}",
}
#: All that a person may edit.
EDITABLE: Final = ("task_id", "payload", "cron", "every", "timezone", *SETTINGS)


def problem(name: str, value: Any) -> str:
    """What is wrong with a setting; empty when nothing is."""
    if name == "jitter":
        number = isinstance(value, int | float) and not isinstance(value, bool)
        fits = number and 0 <= value <= MAX_JITTER
    else:
        fits = isinstance(value, str) and value in (CatchUp.values if name == "catch_up" else Overlap.values)
    return "" if fits else f"is {value!r:.60}; {SETTINGS[name]}"


def checked(values: Mapping[str, Any]) -> None:
    """Raises ValueError for the first that does not fit."""
    for name, value in values.items():
        if said := problem(name, value):
            raise ValueError(f"{name} {said}")
