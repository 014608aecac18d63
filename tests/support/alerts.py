"""Looking at alerts, as a scheduler does."""

from __future__ import annotations

from runs.alerts import evaluating


def look_at_alerts() -> None:
    """At all that are due, turn by turn."""
    while evaluating.evaluate_due():
        pass
