"""What a test sees of an inline run."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from holdfast.testing.memory import Attempt, Kept
from holdfast.testing.memory import Wait as KeptWait
from holdfast.testing.post import Update
from runs import store
from runs.models import ChunkKind, SnapshotKind
from runs.states import Status


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A durable fact of the run. `kind`: step, checkpoint, wait, failure (of a try), intent, cleared."""

    sequence: int
    kind: str
    name: str
    key: str
    attempt: int
    input: Any
    output: Any
    state: Any
    error: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class LogLine:
    """`level` in words: info, warning, …; `step` is the identity of the step that said it, or empty."""

    level: str
    message: str
    fields: dict[str, Any]
    attempt: int
    step: str


@dataclass(frozen=True, slots=True)
class Wait:
    """A wait of the run. `outcome`: completed, timed_out, cancelled, or None while it is open."""

    kind: str
    name: str
    detail: dict[str, Any]
    outcome: str | None
    value: Any
    by: str
    due: datetime | None


@dataclass(frozen=True, slots=True, repr=False)
class InlineResult:
    """How a run ended, and all that it left behind. Values are as JSON holds them, except for `output`."""

    task_id: str
    status: Status
    #: What the task returned, of the type that it declares.
    output: Any
    #: {type, message, fingerprint, traceback} of the last failure.
    error: dict[str, Any] | None
    attempts: tuple[Attempt, ...]
    snapshots: tuple[Snapshot, ...]
    #: The names of the finished steps, in the order in which they finished.
    steps: tuple[str, ...]
    #: How often the function of each step was called, over all attempts.
    calls: Counter[str]
    #: The state that `checkpoint` stored last.
    state: Any
    logs: tuple[LogLine, ...]
    waits: tuple[Wait, ...]
    #: What it was asked by updates, each with `name`, `payload`, `outcome`, `reply`, `reason`.
    updates: tuple[Update, ...]
    #: What holds of each stream, in order: chunks of tries that failed are left out.
    streams: dict[str, list[Any]]
    #: What it has used, by unit.
    usage: dict[str, Decimal]
    #: How far it said that it is, 0 to 1, and what it said of itself.
    progress: float | None
    metadata: dict[str, Any] | None
    children: tuple[InlineResult, ...]
    #: Seconds that passed by the fake clock: waits, delays of retries.
    slept: float

    def __repr__(self) -> str:
        said = f": {self.error['type']}: {self.error['message']}" if self.error else ""
        tries = ", ".join(f"{a.number} {a.status}" for a in self.attempts)
        calls = ", ".join(f"{name}×{count}" for name, count in self.calls.items())
        return f"<run of {self.task_id} {self.status}{said}; attempts {tries}; steps called {calls or 'none'}>"

    @property
    def story(self) -> str:
        """The run in lines, for a report of a test that failed."""
        lines = [repr(self)]
        lines += [f"  {s.sequence:>3} {s.kind:<10} {s.key} (attempt {s.attempt})" for s in self.snapshots]
        lines += [f"  {line.level:>8} {line.message}" for line in self.logs]
        for child in self.children:
            lines += [f"    {line}" for line in child.story.splitlines()]
        return "\n".join(lines)


def result_of(run: Kept, slept: float) -> InlineResult:
    output = run.task.output.validate_json(run.output) if run.output is not None else None
    states = [s.state for s in run.snapshots if s.kind == SnapshotKind.CHECKPOINT]
    return InlineResult(
        task_id=run.task.id,
        status=run.status,
        output=output,
        error=run.error,
        attempts=tuple(run.attempts),
        snapshots=tuple(_snapshot(row) for row in run.snapshots),
        steps=tuple(s.name for s in run.snapshots if s.kind == SnapshotKind.STEP),
        calls=Counter(run.calls),
        state=_json(states[-1]) if states else None,
        logs=tuple(_line(row) for row in run.logs),
        waits=tuple(wait_of(wait) for wait in run.waits.values() if wait.row.kind != "retry"),
        updates=tuple(run.updates.values()),
        streams=_streams(run.chunks),
        usage=dict(run.usage),
        progress=run.progress.value if run.progress else None,
        metadata=_json(run.progress.metadata) if run.progress else None,
        children=tuple(result_of(child, slept) for child in run.children),
        slept=slept,
    )


def wait_of(wait: KeptWait) -> Wait:
    due = None if wait.due == float("inf") else datetime.fromtimestamp(wait.due, UTC)
    row = wait.row
    return Wait(str(row.kind), row.name, wait.detail or {}, wait.outcome, wait.output, wait.by, due)


def _snapshot(s: store.SnapshotRow) -> Snapshot:
    return Snapshot(
        s.sequence, str(s.kind), s.name, s.key, s.attempt, *map(_json, (s.input, s.output, s.state, s.error))
    )


def _line(row: store.LogRow) -> LogLine:
    level = logging.getLevelName(row.level).lower()
    return LogLine(level, row.message, _json(row.fields) or {}, row.attempt, row.step)


def _streams(rows: Iterable[store.ChunkRow]) -> dict[str, list[Any]]:
    """What readers keep, by the rule of `platform/docs/streams.md`."""
    kept: dict[str, list[store.ChunkRow]] = {}
    for row in rows:
        chunks = kept.setdefault(row.stream, [])
        if row.kind == ChunkKind.RESTART and not row.step:
            chunks[:] = [c for c in chunks if c.snapshot < row.snapshot]
        elif row.kind == ChunkKind.RESTART:
            chunks[:] = [c for c in chunks if c.step != row.step]
        elif row.kind == ChunkKind.CHUNK:
            chunks.append(row)
    return {stream: [_json(chunk.data) for chunk in chunks] for stream, chunks in kept.items()}


def _json(text: str | None) -> Any:
    return None if text is None else json.loads(text)
