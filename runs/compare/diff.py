"""What differs between two texts, line by line, with some of what is the same around it. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final

#: Lines that are the same and stand around a difference.
AROUND: Final = 3
#: What differs between any two runs, and says nothing: addresses, ids, numbers, quoted texts.
VARIABLE: Final = re.compile(r"0x[0-9a-fA-F]+|[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}|\d+(?:\.\d+)?|'[^']*'|\"[^\"]*\"")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the difference: of both (`same`), of the first (`gone`), of the second (`new`), or how many that are
    the same are left out (`cut`)."""

    kind: str
    text: str


def lines(first: Sequence[str], second: Sequence[str], *, loosely: bool = False) -> list[Line]:
    """The difference; nothing when there is none.

    Args:
        loosely: numbers, ids and quoted texts do not count.
    """
    ours, theirs = (list(map(_shape, side)) if loosely else list(side) for side in (first, second))
    if ours == theirs:
        return []
    found: list[Line] = []
    done = 0
    for group in SequenceMatcher(None, ours, theirs).get_grouped_opcodes(AROUND):
        if cut := group[0][1] - done:
            found.append(_cut(cut))
        for tag, a, b, c, d in group:
            if tag == "equal":
                found += [Line("same", text) for text in first[a:b]]
            else:
                found += [Line("gone", text) for text in first[a:b]]
                found += [Line("new", text) for text in second[c:d]]
        done = group[-1][2]
    if cut := len(first) - done:
        found.append(_cut(cut))
    return found


def _shape(text: str) -> str:
    return VARIABLE.sub("#", text)


def _cut(number: int) -> Line:
    return Line("cut", f"{number:,} lines that are the same" if number > 1 else "1 line that is the same")
