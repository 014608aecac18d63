"""Events that Holdfast emits: the public contract between what happens and who counts, logs or shows it.

| event | fields |
|---|---|
| `worker.started`, `worker.stopped` | worker |
| `worker.lost` | worker, silent (true: its heartbeat was too old; false: its lock was free) |
| `worker.fenced` | worker, runs: it came back after it had been declared lost, holding so many runs |
| `runs.stuck` | runs, lost_heartbeat: runs that do not get on, and how many of them for their worker's silence |
| `runs.moved_on` | runs: runs that were stuck and are no more |
| `runs.recovered` | worker, runs, queued: runs taken from a lost worker, and how many of them were queued again |
| `runs.promoted` | runs, late: timers that fell due, and how many seconds ago the first of them did |
| `runs.swept` | pool: work was found whose wake-up had been lost |

`subscribe` adds a receiver; the standard one writes the event to the logger `holdfast.events`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

logger = logging.getLogger("holdfast.events")

Receiver = Callable[[str, dict[str, Any]], None]
_receivers: list[Receiver] = []


def subscribe(receiver: Receiver) -> Callable[[], None]:
    """Adds a receiver of (event, fields); returns how to take it out again."""
    _receivers.append(receiver)
    return lambda: _receivers.remove(receiver)


def emit(event: str, **fields: Any) -> None:
    """Something happened."""
    for receiver in tuple(_receivers):
        receiver(event, fields)


def _log(event: str, fields: dict[str, Any]) -> None:
    logger.info("%s %s", event, " ".join(f"{name}={value}" for name, value in fields.items()))


subscribe(_log)
