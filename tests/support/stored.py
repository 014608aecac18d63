"""Rows as the engine would have left them, for tests of what reads them."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import F
from django.utils import timezone

from holdfast import db
from queues.models import Entry, Lease, Queue, Worker
from runs import histogram
from runs.engine.waiting import wait_id
from runs.errorgroups.model import ErrorCount, ErrorGroup
from runs.models import Attempt, Chunk, LogLine, Rollup, Run, Snapshot, Task, Wait
from runs.states import FINAL
from runs.stuck.model import Stack

_number = itertools.count(1)


def queue(name: str = "default", **fields: Any) -> Queue:
    return Queue.objects.get_or_create(name=name, defaults=fields)[0]


def task(name: str = "sums", queue_name: str = "default", **fields: Any) -> Task:
    defaults = {"module": "shop.tasks", "queue": queue(queue_name), "version": "1", "lane": 0, **fields}
    return Task.objects.get_or_create(id=name, defaults=defaults)[0]


def uuid7(at: datetime) -> UUID:
    """An id as PostgreSQL would have made it at that moment; later calls give later ids."""
    milliseconds, number = int(at.timestamp() * 1000), next(_number)
    return UUID(
        int=milliseconds << 80
        | 7 << 76
        | (number >> 12 & 0xFFF) << 64
        | 2 << 62
        | (number & 0xFFF) << 50
        | int.from_bytes(secrets.token_bytes(6))
    )


def run(status: str = "completed", name: str = "sums", *, age: float = 60.0, took: float = 1.0, **fields: Any) -> Run:
    """A run that was created `age` seconds ago, with an entry when it is queued."""
    at = timezone.now() - timedelta(seconds=age)
    of = task(name)
    started = None if status in {"queued", "scheduled", "expired"} else at
    values = {
        "task": of,
        "queue": of.queue,
        "payload": {},
        "attempt": 1 if started else 0,
        "max_attempts": 3,
        "trace_id": secrets.token_hex(16),
        "created_at": at,
        "started_at": started,
        "finished_at": at + timedelta(seconds=took) if status in FINAL else None,
        **fields,
    }
    found = Run.objects.create(id=uuid7(at), status=status, **values)
    if status == "queued":
        Entry.objects.create(entry_id=found.id, queue=found.queue, lane=0, ready_at=at, counts_from=at)
    return found


def error(message: str = "no route to shop.example", kind: str = "builtins.ConnectionError") -> dict[str, str]:
    return {"type": kind, "message": message, "fingerprint": kind[:4] + message[:4], "traceback": "Traceback …"}


def worker(name: str = "kelp", *, silent: bool = False, **fields: Any) -> Worker:
    beat = timezone.now() - timedelta(minutes=5 if silent else 0)
    values = {"pools": ["default"], "hostname": "reef", "pid": 7, "coroutines": 10, "threads": 4, **fields}
    return Worker.objects.create(name=name, heartbeat_at=beat, server_started_at=beat, **values)


def attempt(of: Run, number: int = 1, status: str = "running", **fields: Any) -> Attempt:
    ended = None if status == "running" else of.created_at + timedelta(seconds=number)
    return Attempt.objects.create(
        run=of, number=number, status=status, started_at=of.created_at, **{"finished_at": ended, **fields}
    )


def wait(of: Run, kind: str = "approval", name: str = "Publish?", *, age: float = 30.0, **fields: Any) -> Wait:
    """What a run began to wait for `age` seconds ago. `detail` goes into the wait as the engine would have put it."""
    number = next(_number)
    key = f"{kind}:{name}#{number}"
    at = timezone.now() - timedelta(seconds=age)
    values = {"sequence": number, "detail": {}, "created_at": at, **fields}
    return Wait.objects.create(id=wait_id(of.id, key), run=of, key=key, kind=kind, name=name, **values)


def snapshots(of: Run, first: int, last: int, **fields: Any) -> None:
    """Steps with these sequences."""
    at = of.created_at
    values = {"kind": "step", "name": "add", "attempt": 1, "started_at": at, "finished_at": at, **fields}
    Snapshot.objects.bulk_create(
        Snapshot(run=of, sequence=n, **{"key": f"add#{n}", **values}) for n in range(first, last + 1)
    )


def lines(of: Run, *messages: str, level: int = 20, **fields: Any) -> list[int]:
    """Log lines; their sequences."""
    values = {"at": timezone.now(), "level": level, "attempt": 1, "step": "", **fields}
    made = LogLine.objects.bulk_create(LogLine(run=of, message=message, **values) for message in messages)
    return [line.sequence for line in made]


def failures(
    count: int = 1,
    *,
    fingerprint: str = "f00d",
    name: str = "sums",
    step: str = "",
    version: str = "1",
    hours_ago: float = 0.0,
    ends: int = 0,
    **fields: Any,
) -> ErrorGroup:
    """So many failed tries in an hour, and their group; `first_seen` is the earliest unless it is said."""
    at = timezone.now() - timedelta(hours=hours_ago)
    hour = at.replace(minute=0, second=0, microsecond=0)
    counted, made = ErrorCount.objects.get_or_create(
        fingerprint=fingerprint, hour=hour, task_id=name, step=step, version=version, worker_id=1,
        defaults={"count": count, "ended": ends},
    )  # fmt: skip
    if not made:
        ErrorCount.objects.filter(pk=counted.pk).update(count=F("count") + count, ended=F("ended") + ends)
    defaults = {"type": "builtins.ValueError", "message": "no order #", "tasks": [name], "first_seen": at}
    group, _ = ErrorGroup.objects.get_or_create(fingerprint=fingerprint, defaults={**defaults, "last_seen": at})
    group.first_seen, group.last_seen = min(group.first_seen, at), max(group.last_seen, at)
    group.tasks = sorted({*group.tasks, name})
    for field, value in fields.items():
        setattr(group, field, value)
    group.save()
    return group


def ended(
    count: int, status: str = "completed", name: str = "sums", *, minutes_ago: int = 5, seconds: float = 1.0
) -> None:
    """A rollup: so many runs ended that way, then."""
    of = task(name)
    by = Worker.objects.first() or worker()
    minute = (datetime.now(UTC) - timedelta(minutes=minutes_ago)).replace(second=0, microsecond=0)
    Rollup.objects.create(
        minute=minute,
        kind="run",
        task=of,
        queue=of.queue,
        worker=by,
        status=status,
        bucket=histogram.bucket(seconds),
        count=count,
        seconds=seconds * count,
    )


@contextmanager
def locked(table: str) -> Iterator[None]:
    """Whoever reads the table waits."""
    with db.connect("test") as conn, conn.transaction():
        conn.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        conn.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield


def chunks(of: Run, *data: Any, name: str = "answer", **fields: Any) -> list[int]:
    """Chunks of a stream; their sequences."""
    values = {"kind": "chunk", "at": timezone.now(), "attempt": 1, "step": "", "snapshot": 0, **fields}
    made = Chunk.objects.bulk_create(Chunk(run=of, stream=name, data=item, **values) for item in data)
    return [chunk.sequence for chunk in made]


def held(of: Run, by: Worker, *, since: float = 60.0, token: int = 1) -> Run:
    """The run is in a worker's hands, for so many seconds."""
    at = timezone.now() - timedelta(seconds=since)
    values = {"queue": of.queue, "lane": 0, "priority": 0, "ready_at": at, "leased_at": at}
    Lease.objects.create(entry_id=of.id, worker=by, token=token, concurrency_key=of.concurrency_key, **values)
    Run.objects.filter(pk=of.pk).update(lease_token=token, worker=by)
    of.refresh_from_db()
    return of


def frame(function: str, source: str = "", *, own: bool = True, line: int = 12) -> dict[str, Any]:
    """A call as a worker tells of it."""
    return {"file": f"/srv/shop/{function}.py", "line": line, "function": function, "source": source, "own": own}


def stack(of: Run, *frames: dict[str, Any], steps: Any = ("fetch#1",), age: float = 5.0, **told: Any) -> Stack:
    """What its worker said `age` seconds ago when it was asked where the run is."""
    at = timezone.now() - timedelta(seconds=age)
    parts = [{"kind": "task", "name": of.task_id, "frames": list(frames)}] if frames else []
    value = {"parts": parts, "steps": list(steps), "waits": False, "more": 0, **told}
    fields = {"worker": of.worker, "token": of.lease_token, "wanted": False, "asked_at": at, "captured_at": at}
    return Stack.objects.update_or_create(run=of, defaults={**fields, "stack": value})[0]


def usual(task_id: str, step: str = "", *, seconds: float = 0.01, count: int = 20, minutes_ago: int = 90) -> None:
    """Rollups: so many tries of a step, or attempts of the task, completed then and took so long."""
    of = Task.objects.get(pk=task_id)
    minute = (timezone.now() - timedelta(minutes=minutes_ago)).replace(second=0, microsecond=0)
    Rollup.objects.create(
        minute=minute,
        kind="step" if step else "attempt",
        name=step,
        task=of,
        queue=of.queue,
        worker_id=1,
        status="completed",
        bucket=histogram.bucket(seconds),
        count=count,
        seconds=seconds * count,
    )
