"""A small line of bars for a row of a list: places and heights, drawn as SVG. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

#: The box of the drawing, in its own units: the width of one bin, and the height.
STEP, HEIGHT, GAP = 4, 20, 1


class Bar(NamedTuple):
    x: int
    y: float
    width: int
    height: float


class Spark(NamedTuple):
    """Bars of the bins in which there was something, and what they say in words."""

    bars: list[Bar]
    width: int
    height: int
    words: str

    @property
    def path(self) -> str:
        """All bars as one path: a list has some thousands of them."""
        return "".join(f"M{bar.x} {HEIGHT}v-{bar.height:g}h{bar.width}V{HEIGHT}z" for bar in self.bars)


_EMPTY: Final = "none in this time"


def spark(bins: Sequence[int], unit: str) -> Spark:
    """The bars of counts; the highest is as high as the box, and one is seen, however high the others are."""
    highest = max(bins, default=0)
    bars = [
        Bar(place * STEP, round(HEIGHT - high, 2), STEP - GAP, high)
        for place, count in enumerate(bins)
        if count and (high := round(max(1.5, HEIGHT * count / highest), 2))
    ]
    words = f"at most {highest:,} in {unit}" if highest else _EMPTY
    return Spark(bars, STEP * len(bins), HEIGHT, words)
