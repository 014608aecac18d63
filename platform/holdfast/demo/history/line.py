"""A queue as it would have been: so many slots, and keys that take turns, as in `queues/sql/turns.sql`."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Hashable
from heapq import heappop, heappush
from itertools import count
from typing import Final, Generic, TypeVar

T = TypeVar("T")

RESUMED: Final = "\0resumed"  # no key

#: Takes what starts, when, and how long it had been ready; returns when its slot is free again.
Serve = Callable[[T, float, float], float]


class Line(Generic[T]):
    """Whoever was served last is last in line, however much of it waits. What has no key has a turn of its own."""

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._order = count()
        # Something is ready, or None: a slot of this key is free.
        self._events: list[tuple[float, int, T | None, Hashable]] = []
        self._turns: list[tuple[float, int, Hashable]] = []
        self._waiting: dict[Hashable, deque[tuple[float, T]]] = {}
        self._served: dict[Hashable, float] = {}
        self._paused = (0.0, 0.0)
        self._limited_from, self._most = float("inf"), 0
        self._running: Counter[Hashable] = Counter()
        # Turns of keys that have come while the key had all that it may run.
        self._held: dict[Hashable, tuple[float, int, Hashable]] = {}

    def pause(self, start: float, end: float) -> None:
        """Nothing starts from `start` to `end`."""
        self._paused = (start, end)
        heappush(self._events, (end, next(self._order), None, RESUMED))

    def limit_keys(self, start: float, most: int) -> None:
        """From `start` on, at most so many of a key at once."""
        self._limited_from, self._most = start, most

    def push(self, at: float, what: T, key: str | None = None) -> None:
        """`what` is ready at `at`. May be called while others are served, for a time that is not over."""
        number = next(self._order)
        heappush(self._events, (at, number, what, number if key is None else key))

    def drive(self, serve: Serve[T]) -> None:
        """Serves everything, in the order of time."""
        while self._events:
            at, _, what, key = heappop(self._events)
            if what is not None:
                self._queue_up(at, what, key)
            elif key != RESUMED:
                self._free += 1
                self._release(key)
            while self._free and self._turns and not self._paused[0] <= at < self._paused[1]:
                turn = heappop(self._turns)
                key = turn[2]
                if at >= self._limited_from and self._running[key] >= self._most:
                    self._held[key] = turn
                    continue
                self._free -= 1
                self._running[key] += 1
                ready, chosen = self._next(at, key)
                heappush(self._events, (serve(chosen, at, at - ready), next(self._order), None, key))

    def _release(self, key: Hashable) -> None:
        self._running[key] -= 1
        if not self._running[key]:
            del self._running[key]
        if (turn := self._held.pop(key, None)) is not None:
            heappush(self._turns, turn)

    def _queue_up(self, at: float, what: T, key: Hashable) -> None:
        if (waiting := self._waiting.get(key)) is not None:
            waiting.append((at, what))
            return
        self._waiting[key] = deque([(at, what)])
        heappush(self._turns, (max(at, self._served.get(key, at)), next(self._order), key))

    def _next(self, now: float, key: Hashable) -> tuple[float, T]:
        waiting = self._waiting[key]
        found = waiting.popleft()
        if isinstance(key, str):
            self._served[key] = now
        if waiting:
            heappush(self._turns, (now, next(self._order), key))
        else:
            del self._waiting[key]
        return found
