"""What if: the arrivals of a while, once more, under other limits. Pure, and the same for the same arrivals.

It goes by the rules of admission (`sql/lease.sql`): slots of the queue and of each key, sliding windows of rates, keys
that take turns by their weights, priority that ages. What it leaves out is said on the page: there is always a free
worker, each run starts once and holds its slot for as long as it was really worked on, nothing is paused, and units are
those that were said beforehand.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Final, NamedTuple

from queues.models import Queue
from queues.rate import Rate

#: Seconds that a point of priority counts for.
POINT: Final = 60.0
#: Seconds after which a wait counts as a delay.
DELAYED: Final = 1.0


class Arrival(NamedTuple):
    """A run that came into the queue. Times in seconds, of any clock."""

    at: float
    seconds: float  # how long it was worked on
    key: str | None = None
    priority: int = 0
    units: int = 1


@dataclass(frozen=True, slots=True)
class Limits:
    """What a queue lets through; None is no limit."""

    concurrency_limit: int | None = None
    key_concurrency_limit: int | None = None
    rate: Rate | None = None
    key_rate: Rate | None = None
    key_weights: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, queue: Queue) -> Limits:
        """Those that a queue has."""
        return cls(
            queue.concurrency_limit, queue.key_concurrency_limit, queue.rate, queue.key_rate, dict(queue.key_weights)
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """How long the arrivals wait, in seconds."""

    waits: list[float]  # of each, in their order
    p50: float
    p95: float
    longest: float
    delayed: float  # the share that waits longer than DELAYED

    @classmethod
    def of(cls, waits: list[float]) -> Outcome:
        ordered = sorted(waits)
        late = sum(wait > DELAYED for wait in ordered)
        longest = ordered[-1] if ordered else 0.0
        share = late / len(ordered) if ordered else 0.0
        return cls(waits, percentile(ordered, 0.5), percentile(ordered, 0.95), longest, share)


def simulate(arrivals: Sequence[Arrival], limits: Limits) -> Outcome:
    """Lets the arrivals, in order of their time, through a queue of these limits that is empty at first."""
    return Outcome.of(_Simulation(arrivals, limits).run())


def percentile(ordered: Sequence[float], q: float) -> float:
    """The value below which the part `q` of ordered values lies; 0 of none."""
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else 0.0


class _Window:
    """A sliding window: what started in it, and when there is room."""

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self.starts: deque[tuple[float, int]] = deque()
        self.sum = 0

    def counted(self, units: int) -> int:
        return min(units, self.rate.amount) if self.rate.unit else 1

    def opens(self, units: int, now: float) -> float:
        """When so many may start: `now`, or later."""
        while self.starts and self.starts[0][0] <= now - self.rate.period:
            self.sum -= self.starts.popleft()[1]
        over = self.sum + self.counted(units) - self.rate.amount
        for at, counted in self.starts:
            if over <= 0:
                break
            over -= counted
            now = max(now, at + self.rate.period)
        return now

    def add(self, units: int, now: float) -> None:
        self.starts.append((now, self.counted(units)))
        self.sum += self.counted(units)


@dataclass(slots=True)
class _Key:
    """A concurrency key: what waits in it, and whose turn it is."""

    weight: int
    window: _Window | None
    left: int
    waiting: list[tuple[float, int]] = field(default_factory=list)  # heap of (counts from, number)
    running: int = 0
    served: float | None = None
    version: int = 0  # of its place in line; an older one is stale


class _Simulation:
    def __init__(self, arrivals: Sequence[Arrival], limits: Limits) -> None:
        self.arrivals = arrivals
        self.limits = limits
        self.window = _Window(limits.rate) if limits.rate else None
        self.waits = [0.0] * len(arrivals)
        self.keys: dict[str, _Key] = {}
        self.running = 0
        self.order = count()
        self.line: list[tuple[float, int, str | None, int]] = []  # heap of (since, number, key, version)
        #: What is to come beside arrivals, a heap: (when, number, whether a run ends, its key or whose window opens).
        self.events: list[tuple[float, int, bool, str | None]] = []
        #: Whom the queue's own rate lets wait, and until when: nobody starts before.
        self.held = (-1, 0.0)

    def run(self) -> list[float]:
        arrivals, events, number = self.arrivals, self.events, 0
        while events or number < len(arrivals):
            now = arrivals[number].at if number < len(arrivals) else events[0][0]
            if events and events[0][0] < now:
                now = events[0][0]
            while events and events[0][0] <= now:
                _, _, ends, name = heapq.heappop(events)
                self._happen(ends, name)
            while number < len(arrivals) and arrivals[number].at <= now:
                self._arrive(number, arrivals[number])
                number += 1
            self._start(now)
        return self.waits

    def _arrive(self, number: int, arrival: Arrival) -> None:
        since = arrival.at - POINT * arrival.priority
        if arrival.key is None:
            heapq.heappush(self.line, (since, number, None, 0))
            return
        heapq.heappush(self._key(arrival.key).waiting, (since, number))
        self._list(arrival.key)

    def _happen(self, ends: bool, name: str | None) -> None:
        """A run ends, or a window has room again."""
        if ends:
            self.running -= 1
        if name is not None:
            self.keys[name].running -= ends
            self._list(name)

    def _key(self, name: str) -> _Key:
        found = self.keys.get(name)
        if found is None:
            weight = self.limits.key_weights.get(name, 1)
            window = _Window(self.limits.key_rate) if self.limits.key_rate else None
            found = self.keys[name] = _Key(weight, window, weight)
        return found

    def _list(self, name: str) -> None:
        """The first of a key takes its place in line."""
        key = self.keys[name]
        key.version += 1
        if key.waiting:
            number = key.waiting[0][1]
            head = self.arrivals[number]
            ready = head.at if key.served is None else max(head.at, key.served)
            place = (ready - POINT * head.priority, number, name, key.version)
            heapq.heappush(self.line, place)

    def _start(self, now: float) -> None:
        most = self.limits.concurrency_limit
        while self.line:
            _, number, name, version = self.line[0]
            key = None if name is None else self.keys[name]
            if key is not None and (version != key.version or self._key_holds(key, name, number, now)):
                heapq.heappop(self.line)
                continue
            if most is not None and self.running >= most:
                return
            if self.window is not None and self._holds(self.window, number, now):
                return
            heapq.heappop(self.line)
            self._take(number, name, now)

    def _holds(self, window: _Window, number: int, now: float) -> bool:
        if self.held[0] == number and now < self.held[1]:
            return True
        if (opens := window.opens(self.arrivals[number].units, now)) <= now:
            return False
        self.held = (number, opens)
        heapq.heappush(self.events, (opens, next(self.order), False, None))
        return True

    def _key_holds(self, key: _Key, name: str | None, number: int, now: float) -> bool:
        most = self.limits.key_concurrency_limit
        if most is not None and key.running >= most:
            return True  # it is listed again when one of it ends
        if key.window is None or (opens := key.window.opens(self.arrivals[number].units, now)) <= now:
            return False
        heapq.heappush(self.events, (opens, next(self.order), False, name))
        return True

    def _take(self, number: int, name: str | None, now: float) -> None:
        arrival = self.arrivals[number]
        self.waits[number] = now - arrival.at
        self.running += 1
        heapq.heappush(self.events, (now + arrival.seconds, next(self.order), True, name))
        if self.window is not None:
            self.window.add(arrival.units, now)
        if name is None:
            return
        key = self.keys[name]
        heapq.heappop(key.waiting)
        key.running += 1
        if key.window is not None:
            key.window.add(arrival.units, now)
        key.left -= 1
        if not key.left:
            key.left, key.served = key.weight, now
        if not key.waiting:
            key.left, key.served = key.weight, None
        self._list(name)
