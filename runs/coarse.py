"""Rollups over long times: which sums of minutes are read instead of the minutes themselves."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

#: Minutes of the bins that the scheduler sums. A bin begins at a multiple of its size since 1970, UTC.
SIZES: Final = (15, 60, 360)
#: A time is read by bins of which it has at least so many: its ends are read by the minute.
LEAST_BINS: Final = 20
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def over(start: datetime, end: datetime, *, minutes: int = 0) -> dict[str, Any]:
    """What the statement `rollups_over` wants of the rollups from `start` to `end`.

    Args:
        minutes: of the bins in which a reader wants them, the first of which begins at `start`. 0: he does not mind.
    """
    size = _size(start, end, minutes)
    first = _bin(start, size, math.ceil) if size else start
    last = max(first, _bin(end, size, math.floor)) if size else start
    return {"start": start, "end": end, "size": size, "first": first, "last": last}


def _size(start: datetime, end: datetime, minutes: int) -> int:
    """The largest size that fits; 0: by the minute."""
    fitting = [0]
    for size in SIZES:
        long_enough = (end - start) / timedelta(minutes=size) >= LEAST_BINS
        aligned = minutes % size == 0 and (not minutes or _bin(start, size, math.floor) == start)
        if long_enough and aligned:
            fitting.append(size)
    return fitting[-1]


def _bin(at: datetime, size: int, rounded: Callable[[float], int]) -> datetime:
    return _EPOCH + timedelta(minutes=size) * rounded((at - _EPOCH) / timedelta(minutes=size))
