"""A planned run as the rows that the engine would have left of it, and what it adds to the rollups."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from holdfast.demo.history.catalog import TAG
from holdfast.demo.history.incidents import DAY, HOUR
from holdfast.demo.history.plan import Plan, PlannedRun, StepTry, Try
from runs.errorgroups.fingerprint import normal
from runs.histogram import bucket
from runs.store.errors import NOBODY

#: Runs of the last seconds have their log lines still.
LOGGED: Final = 3 * DAY
INFO, ERROR = 20, 40

#: What is written, in this order, table by table.
COLUMNS: Final = {
    "runs_run": (
        "id", "task_id", "queue_id", "status", "payload", "output", "error", "attempt", "failures", "max_attempts",
        "concurrency_key", "tags", "worker_id", "trace_id", "parent_id", "parent_wait", "version", "created_at",
        "started_at", "finished_at",
    ),
    "runs_attempt": ("run_id", "number", "status", "worker_id", "error", "started_at", "finished_at", "active"),
    "runs_snapshot": (
        "run_id", "sequence", "kind", "name", "key", "attempt", "input", "output", "error", "started_at",
        "finished_at", "usage",
    ),
    "runs_wait": (
        "id", "run_id", "key", "kind", "name", "sequence", "detail", "created_at", "resolved_at", "outcome",
    ),
    "runs_usage": ("run_id", "attempt", "unit", "amount"),
    "runs_logline": ("run_id", "at", "level", "message", "fields", "attempt", "step"),
    "runs_rollup": (
        "minute", "kind", "task_id", "queue_id", "worker_id", "name", "version", "status", "bucket", "count",
        "seconds",
    ),
    "runs_usagerollup": ("minute", "task_id", "unit", "worker_id", "amount"),
    "runs_errorcount": ("fingerprint", "hour", "task_id", "step", "version", "worker_id", "count", "ended"),
}  # fmt: skip


@dataclass(slots=True)
class Group:
    """Failed tries that are the same failure, in all tasks."""

    type: str
    message: str
    first: float
    last: float
    example: UUID
    tasks: set[str] = field(default_factory=set)


class Rows:
    """The rows of a batch of runs, by table, and the rollups of all that were added since these were taken."""

    def __init__(self, plan: Plan, queues: dict[str, int], workers: Sequence[int]) -> None:
        self._queues = queues
        self._workers = workers
        self._logged_from = plan.end - LOGGED
        self._tables: dict[str, list[tuple[Any, ...]]] = {}
        self._rollups: dict[tuple[Any, ...], list[float]] = {}
        self._usage: dict[tuple[Any, ...], Decimal] = {}
        self._errors: dict[tuple[Any, ...], list[int]] = {}
        #: By fingerprint, of all that was added.
        self.groups: dict[str, Group] = {}
        self.clear()

    def clear(self) -> None:
        self._tables = {table: [] for table in COLUMNS}

    def take(self) -> dict[str, list[tuple[Any, ...]]]:
        """The rows but for rollups, which are taken anew from here on."""
        found = self._tables
        self.clear()
        return found

    def take_rollups(self) -> dict[str, list[tuple[Any, ...]]]:
        """One row for each minute and what it counts, as the statement `rollups` adds them up."""
        counted = [(moment(key[0]), *key[1:], int(n), seconds) for key, (n, seconds) in self._rollups.items()]
        used = [(moment(key[0]), *key[1:], amount) for key, amount in self._usage.items()]
        failed = [(key[0], moment(key[1]), *key[2:], NOBODY, *n) for key, n in self._errors.items()]
        self._rollups, self._usage, self._errors = {}, {}, {}
        return {"runs_rollup": counted, "runs_usagerollup": used, "runs_errorcount": failed}

    def add(self, run: PlannedRun) -> None:
        self._add_run(run)
        sequence = 0
        for number, attempt in enumerate(run.tries, 1):
            self._begin_attempt(run, number, attempt)
            for step in attempt.steps:
                if run.children and step.start >= run.waited_until:
                    sequence = self._add_wait(run, number, sequence)
                sequence += 1
                self._add_step(run, number, attempt, step, sequence)
            self._end_attempt(run, number, attempt)
        self._count("run", run, run.tries[-1], run.end, run.status, run.end - run.created)

    def _add_run(self, run: PlannedRun) -> None:
        last = run.tries[-1]
        self._tables["runs_run"].append(
            (
                run.id,
                run.task.id,
                self._queues[run.task.queue],
                run.status,
                json.dumps({"tenant": run.tenant, "number": run.number}),
                json.dumps({"number": run.number}) if run.status == "completed" else None,
                _json(last.error),
                len(run.tries),
                run.failures,
                run.task.retry.max_attempts,
                run.key,
                [TAG, f"tenant:{run.tenant}"],
                self._workers[last.worker],
                (run.parent or run).id.hex,
                run.parent.id if run.parent else None,
                _wait_key(run.parent) if run.parent else None,
                last.version,
                moment(run.created),
                moment(run.tries[0].starts[0].at),
                moment(run.end),
            )
        )

    def _begin_attempt(self, run: PlannedRun, number: int, attempt: Try) -> None:
        started = attempt.starts[0].at
        for start in attempt.starts:
            self._count("delay", run, attempt, start.at, "started", start.waited, worker=start.worker)
        self._log(run, started, number, f"{run.task.name} {run.number} of {run.tenant}", tenant=run.tenant)

    def _end_attempt(self, run: PlannedRun, number: int, attempt: Try) -> None:
        self._tables["runs_attempt"].append(
            (
                run.id,
                number,
                attempt.status,
                self._workers[attempt.worker],
                _json(attempt.error),
                moment(attempt.starts[0].at),
                moment(attempt.end),
                attempt.active,
            )
        )
        self._count("attempt", run, attempt, attempt.end, attempt.status, attempt.active)
        if attempt.error is not None:
            said = f"{attempt.error['type']}: {attempt.error['message']}"
            self._log(run, attempt.end, number, said, ERROR)
            ended = int(attempt is run.tries[-1])
            self._count_error(run, attempt, attempt.end, attempt.error, int("step" not in attempt.error), ended)

    def _add_step(self, run: PlannedRun, number: int, attempt: Try, step: StepTry, sequence: int) -> None:
        key = f"{step.name}#1"
        kind, output, error = ("failure", None, attempt.error) if step.failed else ("step", {"ok": run.number}, None)
        # Amounts are numbers in JSON, spelled as they are.
        usage = "{" + ", ".join(f'"{unit}": {n}' for unit, n in step.usage.items()) + "}" if step.usage else None
        self._tables["runs_snapshot"].append(
            (run.id, sequence, kind, step.name, key, number, json.dumps({"number": run.number}), _json(output),
             _json(error), moment(step.start), moment(step.end), usage)
        )  # fmt: skip
        status = "failed" if step.failed else "completed"
        self._count("step", run, attempt, step.end, status, step.end - step.start, step.name, step.worker)
        for unit, spelled in (step.usage or {}).items():
            amount = Decimal(spelled)
            self._tables["runs_usage"].append((run.id, number, unit, amount))
            of = (step.end // 60 * 60, run.task.id, unit, self._workers[step.worker])
            self._usage[of] = self._usage.get(of, Decimal()) + amount
        if step.failed and attempt.error is not None:
            self._count_error(run, attempt, step.end, attempt.error, 1, 0)
        if not step.failed:
            self._log(run, step.end, number, f"{step.name} took {step.end - step.start:.2f} s", step=key)

    def _add_wait(self, run: PlannedRun, number: int, sequence: int) -> int:
        """What the run's children brought. Returns the number of the snapshot."""
        key, child = _wait_key(run), run.children[0].task.id
        brought = [{"id": str(c.id), "status": c.status, "output": {"number": c.number}} for c in run.children]
        since, until = moment(run.waited_from), moment(run.waited_until)
        detail = json.dumps({"count": len(run.children)})
        self._tables["runs_wait"].append(
            (uuid.uuid5(run.id, key), run.id, key, "children", child, 1, detail, since, until, "completed")
        )
        output = json.dumps({"outcome": "completed", "value": brought})
        self._tables["runs_snapshot"].append(
            (run.id, sequence + 1, "wait", child, key, number, None, output, None, since, until, None)
        )
        return sequence + 1

    def _count(
        self,
        kind: str,
        run: PlannedRun,
        attempt: Try,
        at: float,
        status: str,
        seconds: float,
        name: str = "",
        worker: int | None = None,
    ) -> None:
        by = self._workers[attempt.worker if worker is None else worker]
        queue = self._queues[run.task.queue]
        key = (at // 60 * 60, kind, run.task.id, queue, by, name, attempt.version, status, bucket(seconds))
        counted = self._rollups.setdefault(key, [0, 0.0])
        counted[0] += 1
        counted[1] += seconds

    def _count_error(
        self, run: PlannedRun, attempt: Try, at: float, error: dict[str, str], tries: int, ended: int
    ) -> None:
        """A failed try, or a run that ended so, as the engine's tally counts them."""
        name = error.get("step", "").partition("#")[0]
        counted = self._errors.setdefault(
            (error["fingerprint"], at // HOUR * HOUR, run.task.id, name, attempt.version), [0, 0]
        )
        counted[0] += tries
        counted[1] += ended
        group = self.groups.setdefault(
            error["fingerprint"], Group(error["type"], normal(error["message"]), at, at, run.id)
        )
        group.tasks.add(run.task.id)
        group.first = min(group.first, at)
        if at >= group.last:
            group.last, group.example = at, run.id

    def _log(
        self, run: PlannedRun, at: float, number: int, message: str, level: int = INFO, step: str = "", **fields: str
    ) -> None:
        if run.created < self._logged_from:
            return
        told = json.dumps(fields) if fields else None
        self._tables["runs_logline"].append((run.id, moment(at), level, message, told, number, step))


def moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _wait_key(run: PlannedRun) -> str:
    return f"children:{run.children[0].task.id}#1"


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value)
