"""How many workers there should be: decided from what is seen, without a clock, a database or a process.

Up fast: when runs that could start have waited for a second, and still do two seconds later, there are up to twice as
many. Down slowly: one worker fewer, each time that nothing has had to wait for a whole cooldown and the others have
room for what the surplus one does. Between the two nothing changes. Where a worker is missed soon after it was sent
away (slots are free, but the processor is busy), the next cooldown is twice as long: so the number does not swing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from holdfast.words import count, duration

#: Seconds that the first run waits before it counts as pressure. A free worker takes a run within milliseconds.
LATE: Final = 1.0
#: Seconds that pressure has to last. A queue at its limit has a free slot for a moment now and then, too.
LASTING: Final = 2.0
#: Seconds that workers get to start before their number is raised again.
STARTING: Final = 15.0
#: How full the remaining workers may become by a drain: 0.7 of their slots.
ROOM: Final = 0.7
#: How many times longer a cooldown becomes at most.
SLOWEST: Final = 8.0
#: The most workers of one command.
MOST_WORKERS: Final = 256


@dataclass(frozen=True, slots=True)
class Bounds:
    """Between how many workers, and how slowly down.

    Raises:
        ValueError: they cannot be; one line that says what to write.
    """

    least: int
    most: int
    cooldown: float = 30.0  # seconds

    def __post_init__(self) -> None:
        for name, number in (("--min", self.least), ("--max", self.most)):
            if not 1 <= number <= MOST_WORKERS:
                raise ValueError(f"{name} {number}: write a number of workers from 1 to {MOST_WORKERS}.")
        if self.least > self.most:
            raise ValueError(f"--min {self.least} is more than --max {self.most}: write the smaller number at --min.")
        if not 0 <= self.cooldown <= 86_400:
            raise ValueError(f"--cooldown {self.cooldown:g}: write seconds from 0 to 86400.")


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen at one moment."""

    now: float  # seconds of any clock that does not go back
    workers: int  # that are to stay
    starting: int = 0  # of these, those that take no work yet
    draining: int = 0  # besides: they finish what they have
    due: int = 0  # runs that could start if a worker had room
    head_wait: float = 0.0  # seconds that the first of them has waited
    load: float = 0.0  # slots taken, in whole workers: 1.5 is one full and one half full
    suspended: bool = False  # by `rq suspend`: nothing starts, however many workers there are


@dataclass(frozen=True, slots=True)
class Decision:
    """How many workers there are to be, and why."""

    target: int
    why: str


class Scaler:
    """Remembers since when what it saw has been so."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._pressed_since: float | None = None
        self._calm_since: float | None = None
        self._raised_at = self._drained_at = float("-inf")
        self._slower = 1.0  # how many times longer the cooldown is now
        self._at_most = False  # and that was said

    def decide(self, look: Look) -> Decision | None:
        """Called for every look, in their order. None: as many as there are."""
        pressed = look.due > 0 and look.head_wait >= LATE
        if look.suspended or not pressed:
            self._pressed_since = None
        elif self._pressed_since is None:
            self._pressed_since = look.now
        if look.suspended or pressed or look.load > ROOM * (look.workers - 1):
            self._calm_since = None
        elif self._calm_since is None:
            self._calm_since = look.now
        return self._up(look) or self._down(look)

    def _up(self, look: Look) -> Decision | None:
        if self._pressed_since is None:
            self._at_most = False
            return None
        if look.now - self._pressed_since < LASTING or (look.starting and look.now - self._raised_at < STARTING):
            return None
        room = self._bounds.most - look.workers - look.draining
        more = min(look.workers, look.due, room)
        runs = "run" if look.due == 1 else "runs"
        seen = f"{count(look.due)} {runs} due, the first waits for {duration(look.head_wait)}"
        if more > 0:
            self._learn(look.now)
            self._raised_at = self._pressed_since = look.now
            return Decision(look.workers + more, f"{_step(look.workers, look.workers + more)}: {seen}")
        if self._at_most or look.draining:
            return None
        self._at_most = True
        return Decision(look.workers, f"{_workers(look.workers)}, and --max allows no more: {seen}")

    def _down(self, look: Look) -> Decision | None:
        if self._calm_since is None or look.workers <= self._bounds.least:
            return None
        cooldown = self._slower * self._bounds.cooldown
        if look.now - self._calm_since < cooldown:
            return None
        self._calm_since = self._drained_at = look.now
        said = f"nothing has had to wait for {duration(cooldown)}"
        return Decision(look.workers - 1, f"{_step(look.workers, look.workers - 1)}: {said}")

    def _learn(self, now: float) -> None:
        """More are needed: was the last one sent away too soon?"""
        cooldown = self._slower * self._bounds.cooldown
        if now - self._drained_at < cooldown:
            self._slower = min(2 * self._slower, SLOWEST)
        elif now - self._raised_at > cooldown:
            self._slower = 1.0


def _step(before: int, after: int) -> str:
    return f"{before} → {_workers(after)}"


def _workers(number: int) -> str:
    return f"{number} {'worker' if number == 1 else 'workers'}"
