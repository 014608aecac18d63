"""How queues stood at each minute of a planned history, as the scheduler would have sampled them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Any, Final

from holdfast.demo.history import catalog
from holdfast.demo.history.incidents import MINUTE
from holdfast.demo.history.plan import Plan, PlannedRun
from holdfast.demo.history.rows import moment

#: What is written, in this order.
COLUMNS: Final = ("minute", "queue_id", "depth", "running", "concurrency_limit", "paused")


def samples(plan: Plan, queue: str, queue_id: int, runs: Iterable[PlannedRun]) -> Iterator[tuple[Any, ...]]:
    """One row a minute of a queue of which these are all runs."""
    first, last = math.ceil(plan.start / MINUTE), math.floor(plan.end / MINUTE)
    waiting, running = [0] * (last - first + 2), [0] * (last - first + 2)

    def count(into: list[int], start: float, end: float) -> None:
        """One more in the minutes that begin from then to then."""
        places = (min(max(math.ceil(at / MINUTE) - first, 0), last - first + 1) for at in (start, end))
        for step, place in zip((1, -1), places, strict=True):
            into[place] += step

    for run in runs:
        for attempt in run.tries:
            for number, start in enumerate(attempt.starts, 1):
                count(waiting, start.at - start.waited, start.at)
                count(running, start.at, attempt.end if number == len(attempt.starts) else run.waited_from)
    stopped = plan.incidents.pause if queue == plan.incidents.bad_deploy.queue else (0.0, 0.0)
    levels = zip(accumulate(waiting), accumulate(running), strict=True)
    for minute, (depth, busy) in zip(range(first, last + 1), levels, strict=False):
        at = minute * MINUTE
        yield moment(at), queue_id, depth, busy, catalog.QUEUES[queue], stopped[0] <= at < stopped[1]
