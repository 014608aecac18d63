"""How long is usual: learned from the rollups, by the rule that `platform/docs/stuck.md` tells.

A step's time is the 99th percentile of its tries that completed in the last DAYS days, all queues, versions and workers
together. Of a step that is not known well enough, the task's is taken: that of its attempts that completed, without
their waits. Neither known: nobody knows, and such a run never counts as stuck for its silence.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from queues.store import Conn
from runs import histogram, store

#: Days that are learned from, tries or attempts that are needed to know, and the percentile that is taken.
DAYS, SAMPLES, PERCENTILE = 7, 20, 0.99
#: By what the silence has to exceed it.
FACTOR: Final = 3.0
#: Hours that one call of `learn` reads beside the latest; after a start, the others follow.
HOURS: Final = 24
_HOUR: Final = timedelta(hours=1)
#: The name under which a task's attempts stand.
_ATTEMPTS: Final = ""

_Key = tuple[str, str]


class Patience(NamedTuple):
    """How long silence is usual, and when it is too long. Seconds."""

    usual: float
    limit: float
    step: str = ""  # empty: it is the task's


class Usual:
    """What has been learned. Kept hour by hour, so that each hour's rollups are read once; only the latest two change.

    Args:
        floor: Seconds of silence that are always allowed.
    """

    def __init__(self, floor: float) -> None:
        self._floor = floor
        self._hours: dict[datetime, dict[_Key, Counter[int]]] = {}
        self._totals: defaultdict[_Key, Counter[int]] = defaultdict(Counter)
        self._names: defaultdict[str, set[str]] = defaultdict(set)
        self._known: dict[_Key, float | None] = {}
        #: All hours have been read.
        self.complete = False

    def learn(self, conn: Conn) -> None:
        """Reads the latest hours anew, and some of those that have not been read."""
        latest = store.this_hour(conn)
        wanted = [latest - number * _HOUR for number in range(DAYS * 24 + 1)]
        for hour in [hour for hour in self._hours if hour < wanted[-1]]:
            self._put(hour, {})
            del self._hours[hour]
        missing = [hour for hour in wanted[2:] if hour not in self._hours][:HOURS]
        for hour in (*wanted[:2], *missing):
            found: dict[_Key, Counter[int]] = {}
            for task, kind, name, bucket, number in store.usual_of_hour(conn, hour):
                key = (task, name if kind == "step" else _ATTEMPTS)
                found.setdefault(key, Counter())[bucket] = number
            self._put(hour, found)
        self.complete = len(self._hours) == len(wanted)

    def _put(self, hour: datetime, found: dict[_Key, Counter[int]]) -> None:
        before = self._hours.get(hour, {})
        for key in {*before, *found}:
            self._totals[key].subtract(before.get(key, ()))
            self._totals[key].update(found.get(key, ()))
            self._known.pop(key, None)
            self._names[key[0]].add(key[1])
        self._hours[hour] = found

    def of(self, task: str, step: str) -> Patience | None:
        """For a task's step, or (empty) for what is between its steps. None: unknown."""
        for name in dict.fromkeys((step, _ATTEMPTS)):
            if (usual := self._percentile((task, name))) is not None:
                return Patience(usual, max(self._floor, FACTOR * usual), name)
        return None

    def least(self, task: str) -> float | None:
        """Seconds: the shortest silence that is too long anywhere in the task. None: unknown."""
        known = [found.limit for name in self._names.get(task, ()) if (found := self.of(task, name)) is not None]
        return min(known, default=None)

    def _percentile(self, key: _Key) -> float | None:
        if key not in self._known:
            counts = self._totals.get(key, Counter())
            enough = counts.total() >= SAMPLES
            self._known[key] = histogram.percentile(counts, PERCENTILE) if enough else None
        return self._known[key]


def patience(usual: Usual, task: str, steps: list[str], *, waits: bool) -> Patience | None:
    """How long a run of a task may be silent that is in these steps, the longest of them counting. None: for as long as
    it likes, because it waits for something else, or because it is unknown how long one of them takes."""
    if not steps:
        return None if waits else usual.of(task, "")
    found = [usual.of(task, step) for step in steps]
    known = [one for one in found if one is not None]
    return max(known, key=lambda one: one.limit) if len(known) == len(found) else None
