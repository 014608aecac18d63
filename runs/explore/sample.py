"""Runs of a time, a bounded number of them, spread over it as all of them are: a stratified sample.

How many ended in each bin is known from the rollups; each bin gives its share, those that ended last in it. A sample of
the newest alone would compare a morning with the minute before it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

from runs import histogram
from runs.charts import COUNTED, Cell, Window
from runs.explore.asked import Asked, Box

#: Runs of a sample of each side, but for what rounding adds in each slice.
SAMPLE: Final = 2_000
#: Runs that are passed for each side in search of those that fit.
PASSED: Final = 50_000
INSIDE, BESIDE, OUTSIDE = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of a bin. `kind`: in the box, in its time but not as long or short, or at another time; `count` runs are
    in it, about, where the box cuts a bin."""

    start: datetime
    end: datetime
    kind: int
    count: float


def slices(cells: Iterable[Cell], window: Window, box: Box) -> list[Slice]:
    """The bins of a window, cut at the sides of a box."""
    counts = [[0, 0] for _ in range(window.bins)]
    for cell in cells:
        if cell.status in COUNTED and (place := window.place(cell.minute)) is not None:
            counts[place][0 if _is_as_long(cell.bucket, box) else 1] += cell.count
    since, until = box.since or window.start, box.until or window.end
    sides = [at for at in (since, until) if window.start < at < window.end]
    found = []
    for start, end in pairwise(sorted({*window.edges, *sides})):
        fitting, others = counts[window.place(start) or 0]
        part = (end - start) / window.size
        if since <= start < until:
            found += [Slice(start, end, INSIDE, fitting * part), Slice(start, end, BESIDE, others * part)]
        else:
            found.append(Slice(start, end, OUTSIDE, (fitting + others) * part))
    return [one for one in found if one.count]


def _is_as_long(bucket: int, box: Box) -> bool:
    low, high = histogram.bounds(bucket)
    middle = math.sqrt(low * high) if low > 0 and high != math.inf else low
    return (box.over is None or middle >= box.over.total_seconds()) and (
        box.under is None or middle < box.under.total_seconds()
    )


def parameters(found: Sequence[Slice], asked: Asked) -> dict[str, Any]:
    """What the statement `explore_sample` asks for."""
    takes, passes = [0] * len(found), [0] * len(found)
    for side in ((INSIDE,), (BESIDE, OUTSIDE)):
        numbers = [n for n, one in enumerate(found) if one.kind in side]
        total = sum(found[n].count for n in numbers)
        for n in numbers:
            whole = total <= SAMPLE  # then all of it, however it is cut
            takes[n] = SAMPLE if whole else max(1, round(SAMPLE * found[n].count / total))
            passes[n] = max(takes[n], PASSED // len(numbers))
    box = asked.box
    return {
        "starts": [one.start for one in found], "ends": [one.end for one in found],
        "kinds": [one.kind for one in found], "takes": takes, "passes": passes,
        "over": box.over.total_seconds() if box.over else 0.0,
        "under": None if box.under is None else box.under.total_seconds(),
        "counted": sorted(map(str, COUNTED)),
        "task": asked.task, "queue": asked.queue, "version": asked.version, "worker": asked.worker,
    }  # fmt: skip


def about(found: Iterable[Slice], *kinds: int) -> int:
    """How many runs there are in slices of these kinds, by the rollups."""
    return round(sum(one.count for one in found if one.kind in kinds))
