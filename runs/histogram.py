"""Durations in logarithmic buckets: four to an octave, from one millisecond up.

    bucket 0            [0, 1 ms)
    bucket b ≥ 1        [1 ms · 2^((b-1)/4), 1 ms · 2^(b/4))
    bucket LAST         everything from there (about 35 years) up

A percentile read from buckets is off by at most 2^(1/4) - 1 = 19 %, and histograms of any rows, workers and minutes
are added by adding counts. `Rollup.bucket` holds these numbers, so the bounds never change.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping

PER_OCTAVE = 4
SMALLEST = 0.001
LAST = PER_OCTAVE * 40 + 1

# The lower bound of bucket 1, 2, … LAST. Octaves are multiplied exactly, so that 1, 2, 4 ms stand on a bound.
_LOWER = tuple(SMALLEST * 2 ** (b // PER_OCTAVE) * 2 ** (b % PER_OCTAVE / PER_OCTAVE) for b in range(LAST))


def bucket(seconds: float) -> int:
    """Returns the bucket of a duration in seconds. A negative one (clocks may step back) counts as 0.

    Raises:
        ValueError: `seconds` is not a number.
    """
    if seconds != seconds:
        raise ValueError("seconds is NaN; give the duration as a number of seconds")
    return bisect_right(_LOWER, seconds)


def bounds(bucket: int) -> tuple[float, float]:
    """Returns the bounds of a bucket in seconds, the upper one excluded; the last bucket's is infinity.

    Raises:
        ValueError: there is no such bucket.
    """
    if not 0 <= bucket <= LAST:
        raise ValueError(f"bucket is {bucket}; buckets are numbered 0 to {LAST}")
    low = _LOWER[bucket - 1] if bucket else 0.0
    high = _LOWER[bucket] if bucket < LAST else float("inf")
    return low, high


def merge(rows: Iterable[tuple[int, int]]) -> dict[int, int]:
    """Adds up (bucket, count) pairs; the result is in order of bucket."""
    counts: dict[int, int] = {}
    for number, count in rows:
        counts[number] = counts.get(number, 0) + count
    return dict(sorted(counts.items()))


def percentile(counts: Mapping[int, int], q: float) -> float | None:
    """Returns the duration in seconds below which the part `q` (0 to 1) of the counted durations lies.

    Within its bucket the value is interpolated on the logarithmic scale. None when nothing was counted.

    Raises:
        ValueError: `q` is not between 0 and 1.
    """
    if not 0 <= q <= 1:
        raise ValueError(f"q is {q}; give a part between 0 and 1, such as 0.95")
    filled = sorted((number, count) for number, count in counts.items() if count > 0)
    rank = q * sum(count for _, count in filled)
    seen = 0
    value: float | None = None
    for number, count in filled:
        value = _within(number, min(1.0, max(0.0, (rank - seen) / count)))
        seen += count
        if seen >= rank:
            break
    return value


def _within(number: int, part: float) -> float:
    low, high = bounds(number)
    if number == 0:
        return high * part
    if number == LAST:
        return low
    return float(low * (high / low) ** part)
