"""Failures of one commit, counted by fingerprint: what goes into the error groups (`runs.errorgroups`)."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Sequence
from typing import Any, Final
from uuid import UUID

from runs import store
from runs.engine.port import Sample
from runs.errorgroups.fingerprint import normal
from runs.models import RollupKind, SnapshotKind
from runs.states import Status

#: Seconds within which a worker says once that it has seen a group: the row is everybody's.
TELL: Final = 5.0
#: Kinds of failures of one task that a worker tells apart in a day. What comes after is one group: a message that
#: differs each time must not fill the table.
MAX_KINDS: Final = 200
_DAY: Final = 86_400.0
#: The key of a step that has none of its own: its name, its count, the branch that asked.
_COUNTED: Final = re.compile(r"(.*)#\d+(?:@[\w.]+)?", re.DOTALL)


class Known:
    """What a worker remembers of the groups that it has met: when it said so last, and how many kinds a task has."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told: dict[tuple[str, str], float] = {}
        self._kinds: dict[str, set[str]] = {}
        self._since = clock()

    def place(self, task: str, fingerprint: str) -> str:
        """The group of a failure: its fingerprint's, or that of all kinds beyond MAX_KINDS."""
        if self._clock() - self._since > _DAY:
            self._told, self._kinds, self._since = {}, {}, self._clock()
        kinds = self._kinds.setdefault(task, set())
        if fingerprint in kinds:
            return fingerprint
        if len(kinds) >= MAX_KINDS:
            return f"more-{hashlib.sha256(task.encode()).hexdigest()[:11]}"
        kinds.add(fingerprint)
        return fingerprint

    def is_due(self, fingerprint: str, task: str) -> bool:
        told = self._told.get((fingerprint, task))
        return told is None or self._clock() - told >= TELL

    def told(self, groups: Sequence[store.ErrorRow]) -> None:
        """These are committed."""
        now = self._clock()
        for group in groups:
            self._told.update({(group.fingerprint, task): now for task in group.tasks})


class Tally:
    """See the module."""

    __slots__ = ("_groups", "_known", "counts")

    def __init__(self, known: Known) -> None:
        self._known = known
        #: Failed tries, and runs that ended so.
        self.counts: dict[store.ErrorKey, tuple[int, int]] = {}
        self._groups: dict[str, store.ErrorRow] = {}

    @property
    def groups(self) -> list[store.ErrorRow]:
        return list(self._groups.values())

    def add(self, row: store.SnapshotRow | store.FinishRow, samples: Sequence[Sample]) -> None:
        """Counts what a row says of a failure; `samples` say whose it is. Hooks have none: they decide nothing."""
        if row.error is None or not samples:
            return
        error = json.loads(row.error)
        of = samples[0]
        if isinstance(row, store.SnapshotRow):
            if row.kind == SnapshotKind.FAILURE and of[0] == RollupKind.STEP:
                self._count(error, row.run_id, of, of[3], 1, 0)
        else:
            step = _step(error)
            # What a step has raised was counted with its last try, unless nobody knew yet whether it had failed.
            tries = int(not step or row.status == Status.UNKNOWN)
            self._count(error, row.run_id, of, step, tries, int(row.delay is None))

    def _count(self, error: dict[str, Any], run: UUID, of: Sample, step: str, tries: int, ended: int) -> None:
        fingerprint, task, version = str(error.get("fingerprint") or ""), of[1], of[4]
        if not fingerprint:
            return
        placed = self._known.place(task, fingerprint)
        key = store.ErrorKey(placed, task, step, version)
        before = self.counts.get(key, (0, 0))
        self.counts[key] = (before[0] + tries, before[1] + ended)
        if not self._known.is_due(placed, task):
            return
        group = self._groups.get(placed)
        if group is None:
            words = str(error.get("type") or "Error"), normal(str(error.get("message") or ""))
            if placed != fingerprint:
                words = "Errors of more kinds", f"{task} fails in more ways than are told apart"
            self._groups[placed] = store.ErrorRow(placed, *words, {task}, run)
        else:
            group.tasks.add(task)


def _step(error: dict[str, Any]) -> str:
    """The name of the step that has failed an attempt: its key without the count, or without its own key."""
    key = str(error.get("step") or "")
    counted = _COUNTED.fullmatch(key)
    return counted[1] if counted else key.partition(":")[0]
