"""Runs that a worker has and that do not get on, in words."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings

from holdfast import db, words
from runs.store.statements import SQL


@dataclass(frozen=True, slots=True)
class Standstill:
    """`since`: when something new came last. `usual`: seconds that are usual for its step, or for an attempt of its
    task where `step` is empty; None of a run whose worker is silent."""

    since: datetime
    now: datetime
    step: str = ""
    usual: float | None = None
    lost: bool = False
    worker: str = ""
    beat: datetime | None = None  # the worker's last one

    @property
    def words(self) -> str:
        """One sentence, without its full stop."""
        if self.lost and self.beat is not None:
            silent = words.duration((self.now - self.beat).total_seconds())
            return f"lost heartbeat: {self.worker} has said nothing for {silent}"
        said = f"nothing new for {words.duration((self.now - self.since).total_seconds())}"
        if self.usual is None:
            return said
        of = f"step {self.step}" if self.step else "an attempt"
        return f"{said}; {of} usually takes {words.duration(self.usual)} at most (p99)"


def stuck_of(ids: Collection[uuid.UUID]) -> dict[uuid.UUID, Standstill]:
    """Those of these runs that do not get on now. One query; none for no runs."""
    if not ids:
        return {}
    asked = {"ids": list(ids), "timeout": settings.HOLDFAST_HEARTBEAT_TIMEOUT}
    with db.callers() as conn:
        rows = conn.execute(SQL.stuck_of, asked).fetchall()
    return {
        run_id: Standstill(since, now, step or "", usual, bool(lost), worker or "", beat)
        for run_id, step, since, usual, worker, lost, beat, now in rows
    }
