"""Schedules as code declares them: `Schedule("daily-report", report, cron="0 6 * * *", timezone="Europe/Berlin")`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from queues.naming import NAME
from runs.errors import DeclarationError, HoldfastError
from runs.schedules.settings import SETTINGS, checked
from runs.schedules.ticks import Timing
from runs.sdk.task import Task


@dataclass(frozen=True)
class Schedule:
    """Begins runs of a task by the clock. What is written here are defaults: a person's edit overrides a setting.

    Args:
        name: 1 to 100 letters, digits, dots, dashes, underscores.
        task: What to run.
        payload: Its parameters.
        cron: Five fields, in `timezone`; or
        every: Seconds between ticks, 1 to 366 days, counted from 1970 on.
        timezone: A name such as Europe/Berlin.
        catch_up: Which of the ticks that no scheduler was there for begin a run: "none", "latest", or "all" (the last
            hundred).
        overlap: What a tick does while the run of an earlier one goes on: "allow", "skip", "queue" or "cancel_old".
        jitter: Seconds by which a run begins later at most, the same for the same tick.

    Raises:
        DeclarationError: one of them is not so, or another schedule has this name.
    """

    name: str
    task: Task[..., Any]
    payload: Mapping[str, Any] = field(default_factory=dict, hash=False)
    cron: str | None = None
    every: float | None = None
    timezone: str = "UTC"
    catch_up: str = "latest"
    overlap: str = "allow"
    jitter: float = 0.0

    declared: ClassVar[dict[str, Schedule]] = {}

    def __post_init__(self) -> None:
        where = f"schedule {self.name!r:.120}"
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise DeclarationError(
                f"{where}: use 1 to 100 letters, digits, dots, dashes or underscores, beginning with a letter or digit"
            )
        if not isinstance(self.task, Task):
            raise DeclarationError(f"{where}: task is {self.task!r:.60}; give a function that @task has made a task")
        try:
            Timing(self.cron, self.every, self.timezone)
            checked({name: getattr(self, name) for name in SETTINGS})
            self.task.encode_payload(dict(self.payload))
        except (HoldfastError, ValueError) as error:
            raise DeclarationError(f"{where}: {error}") from None
        other = Schedule.declared.get(self.name)
        if other is not None and other != self:
            raise DeclarationError(f"{where} is declared twice. Declare it once.")
        Schedule.declared[self.name] = self

    @property
    def settings(self) -> dict[str, Any]:
        """What it declares, as JSON."""
        return {
            "task_id": self.task.id,
            "payload": json.loads(self.task.encode_payload(dict(self.payload))),
            "cron": self.cron,
            "every": self.every,
            "timezone": self.timezone,
            **{name: getattr(self, name) for name in SETTINGS},
        }
