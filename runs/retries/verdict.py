"""Progress or burning: the rule, and nothing else.

    progress   the latest attempt to end, or the one that is at work, has finished something new
    burning    the latest attempt has finished nothing new, and met the error of the attempt before it; or three
               attempts in a row have finished nothing new, whatever their errors
    early      it is too early to say: one attempt has failed so far, or the latest one met an error of its own

New is what the run has for the first time: a finished step, what a wait brought, a checkpoint with another state.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

#: So many attempts in a row without anything new are burning, even if each met another error.
IDLE: Final = 3


class Verdict(StrEnum):
    """The names are part of the API."""

    PROGRESS = "progress"
    BURNING = "burning"
    EARLY = "early"

    @property
    def words(self) -> str:
        return "too early to say" if self is Verdict.EARLY else str(self)

    @property
    def mood(self) -> str:
        """The colour of its pill."""
        return {Verdict.PROGRESS: "good", Verdict.BURNING: "bad"}.get(self, "scheduled")


def streak(prints: Sequence[str | None]) -> int:
    """How many of the latest attempts have met one error. An attempt without a fingerprint is like no other.

    Args:
        prints: the fingerprints of attempts that have ended, the latest first.
    """
    same = 0
    for number in prints:
        if number is None or number != prints[0]:
            break
        same += 1
    return same


def idle(numbers: Sequence[int], made_in: int | None) -> int:
    """How many of the latest attempts have finished nothing new.

    Args:
        numbers: of attempts that have ended, the latest first.
        made_in: the attempt that finished the last new thing; None: none did, as far as was looked.
    """
    return sum(number > (made_in or 0) for number in numbers)


def verdict(numbers: Sequence[int], prints: Sequence[str | None], made_in: int | None) -> Verdict:
    """What the attempts of a run come to; the arguments are those of `streak` and `idle`."""
    latest = numbers[0] if numbers else 0
    if made_in is not None and made_in >= latest:
        began_again = made_in > latest or len(numbers) > 1
        return Verdict.PROGRESS if began_again else Verdict.EARLY
    if len(numbers) > 1 and (streak(prints) > 1 or idle(numbers, made_in) >= IDLE):
        return Verdict.BURNING
    return Verdict.EARLY
