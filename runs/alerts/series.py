"""From counts of minutes to a value each minute. Pure.

A grid is a list with an item for each minute. Value number n of a sliding window of `width` minutes covers the items
n to n + width - 1 and stands at the end of the last one; so there are `width - 1` fewer values than minutes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

from runs import histogram

Values = list[float | None]


def sums(grid: Sequence[float], width: int) -> list[float]:
    """The sum of each window."""
    totals = [0, *accumulate(grid)]
    return [totals[n + width] - totals[n] for n in range(len(grid) - width + 1)]


def rates(failed: Sequence[int], ended: Sequence[int], width: int, least: int) -> Values:
    """Which percent of the runs of each window failed; None where fewer than `least` ended."""
    pairs = zip(sums(failed, width), sums(ended, width), strict=True)
    return [100 * bad / number if number >= max(least, 1) else None for bad, number in pairs]


def percentiles(grid: Sequence[Mapping[int, int]], width: int, least: int, q: float) -> Values:
    """The percentile `q` (0 to 1) of the durations of each window, in seconds; None where fewer than `least` ended.

    Args:
        grid: of each minute, bucket (`runs.histogram`) → runs.
    """
    window: dict[int, int] = {}
    number = 0
    found: Values = []
    for place, cells in enumerate(grid):
        for bucket, count in cells.items():
            window[bucket] = window.get(bucket, 0) + count
            number += count
        if place >= width:
            for bucket, count in grid[place - width].items():
                number -= count
                window[bucket] -= count
                if not window[bucket]:
                    del window[bucket]
        if place >= width - 1:
            found.append(histogram.percentile(window, q) if number >= max(least, 1) else None)
    return found


def head_waits(longest: Sequence[float | None], waiting: float | None = None) -> list[float]:
    """How long the first in line had waited at the end of each minute, in seconds.

    Args:
        longest: of each minute, the seconds that the one of its starts had waited which had waited longest.
        waiting: seconds that the first in line has waited at the end of the last minute; None: nothing waits.
    """
    found: list[float] = []
    # Whatever was there earlier and started later was in line meanwhile: from the end, the earliest beginning so far.
    ready = 60.0 * len(longest) - waiting if waiting is not None else float("inf")
    for place in range(len(longest) - 1, -1, -1):
        found.append(max(0.0, 60.0 * (place + 1) - ready))
        wait = longest[place]
        if wait is not None:
            ready = min(ready, 60.0 * place + 30.0 - wait)
    return found[::-1]


def standstills(completed: Sequence[bool], active: Sequence[bool], gap: int) -> list[float]:
    """For how long nothing has been completed at the end of each minute although something ran or waited, in seconds.

    It is counted from the first minute with work after the last completion. Work that is followed by more than `gap`
    minutes without any is over.
    """
    found: list[float] = []
    since = last = -1
    for place, (done, works) in enumerate(zip(completed, active, strict=True)):
        if done:
            since = -1
        elif works:
            if since < 0 or place - last > gap:
                since = place
            last = place
        found.append(60.0 * (place + 1 - since) if since >= 0 and place - last <= gap else 0.0)
    return found


def covered(length: int, intervals: Iterable[tuple[int, int]]) -> list[bool]:
    """Which of so many minutes lie in one of these intervals, both ends included."""
    steps = [0] * (length + 1)
    for first, last in intervals:
        if last >= 0 and first < length:
            steps[max(first, 0)] += 1
            steps[min(last, length - 1) + 1] -= 1
    return [depth > 0 for depth in accumulate(steps[:-1])]
