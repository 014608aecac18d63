"""Admission, slow and obvious: who may start, in what order, by the rules that `platform/docs/queues.md` states."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count

#: Seconds that a point of priority counts for.
POINT = 60.0


@dataclass
class Waiting:
    """An entry that waits."""

    name: int
    key: str | None
    priority: int
    units: int
    ready: float
    order: int  # of two that count from the same moment, the first to come


@dataclass
class Key:
    """A key with entries that wait: its turn."""

    left: int
    served: float | None = None


@dataclass
class Model:
    """One queue."""

    limit: int | None = None
    key_limit: int | None = None
    rate: tuple[int, float, bool] | None = None  # amount, seconds, whether units are counted
    key_rate: tuple[int, float, bool] | None = None
    weights: dict[str, int] = field(default_factory=dict)
    waiting: list[Waiting] = field(default_factory=list)
    running: dict[int, Waiting] = field(default_factory=dict)
    starts: list[tuple[float, str | None, int]] = field(default_factory=list)
    keys: dict[str, Key] = field(default_factory=dict)
    _order: count[int] = field(default_factory=count)

    def add(self, name: int, key: str | None, priority: int, units: int, now: float) -> None:
        self.waiting.append(Waiting(name, key, priority, units, now, next(self._order)))
        if key is not None:
            self.keys.setdefault(key, Key(self.weight(key)))

    def weight(self, key: str) -> int:
        return self.weights.get(key, 1)

    def start(self, now: float) -> int | None:
        """The one entry that starts next, or None when none may."""
        found = self.next(now)
        return None if found is None else self.take(found[1], now)

    def next(self, now: float) -> tuple[float, Waiting] | None:
        """What may start next, and the moment from which it counts."""
        for at, entry in sorted(self._line(), key=lambda pair: (pair[0], pair[1].order)):
            if self._may(entry, now):
                return at, entry
            if entry.key is None or not self._key_holds(entry, now):
                return None  # it is the queue that holds it, and nobody passes
        return None

    def _line(self) -> list[tuple[float, Waiting]]:
        """The first of each key, and all without one, with the moment from which each counts."""
        found = [(e.ready - POINT * e.priority, e) for e in self.waiting if e.key is None]
        for name, key in self.keys.items():
            own = [e for e in self.waiting if e.key == name]
            if own:
                head = min(own, key=lambda e: (e.ready - POINT * e.priority, e.order))
                since = head.ready if key.served is None else max(head.ready, key.served)
                found.append((since - POINT * head.priority, head))
        return found

    def _may(self, entry: Waiting, now: float) -> bool:
        if self._key_holds(entry, now):
            return False
        if self.limit is not None and len(self.running) >= self.limit:
            return False
        return self.rate is None or self._fits(self.rate, None, entry, now)

    def _key_holds(self, entry: Waiting, now: float) -> bool:
        if entry.key is None:
            return False
        same = sum(1 for e in self.running.values() if e.key == entry.key)
        if self.key_limit is not None and same >= self.key_limit:
            return True
        return self.key_rate is not None and not self._fits(self.key_rate, entry.key, entry, now)

    def _fits(self, rate: tuple[int, float, bool], key: str | None, entry: Waiting, now: float) -> bool:
        amount, period, by_units = rate
        counted = sum(
            min(units, amount) if by_units else 1
            for at, of, units in self.starts
            if at > now - period and (key is None or of == key)
        )
        return counted + (min(entry.units, amount) if by_units else 1) <= amount

    def take(self, entry: Waiting, now: float) -> int:
        """It starts."""
        self.waiting.remove(entry)
        self.running[entry.name] = entry
        self.starts.append((now, entry.key, entry.units))
        if entry.key is not None:
            key = self.keys[entry.key]
            key.left -= 1
            if not key.left:
                key.left, key.served = self.weight(entry.key), now
            if not any(e.key == entry.key for e in self.waiting):
                del self.keys[entry.key]
        return entry.name

    def end(self, name: int) -> None:
        del self.running[name]


@dataclass
class Pool:
    """Queues that share workers: the one that runs least is next, and of those that run as many the first in line."""

    queues: list[Model]

    def start(self, now: float) -> int | None:
        """The one entry that starts next, or None when none may."""
        found = [(len(q.running), *ready, q) for q in self.queues if (ready := q.next(now))]
        if not found:
            return None
        _, _, entry, queue = min(found, key=lambda one: one[:2])
        return queue.take(entry, now)
