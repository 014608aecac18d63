"""Workers that die at a chosen persistence call, and what is left of their runs.

The registry of persistence calls is the two stores themselves: each of their public functions that takes a connection
is one, so a new one cannot be forgotten. A worker here is a real engine in a forked process, which kills itself.
"""

from __future__ import annotations

import functools
import inspect
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import UUID

from asgiref.sync import SyncToAsync
from django.db import connections

from holdfast import db
from queues import store as queue_store
from queues import tickets
from queues.models import Entry, Lease, Timer
from runs import store
from runs.engine import recovery, upkeep
from runs.engine.engine import Engine
from runs.engine.limits import Limits
from runs.models import Attempt, Run, Snapshot, SnapshotKind
from tests.support.waiting import eventually

STORES = {"runs": store, "queues": queue_store}
#: Seconds that a worker of these tests may take.
PATIENCE = 60.0

#: A place to die at: a call's name, its how-manieth, and whether it has been carried out.
Point = tuple[str, int, bool]


def persistence_calls() -> dict[str, Callable[..., Any]]:
    """Every function of the stores that talks to PostgreSQL, by name: `runs.finish`, `queues.lease`."""
    found = {}
    for room, module in STORES.items():
        for name, function in inspect.getmembers(module, inspect.isfunction):
            takes = next(iter(inspect.signature(function).parameters), "")
            if not name.startswith("_") and _belongs(function.__module__, module) and takes in ("conn", "cur"):
                found[f"{room}.{name}"] = function
    return found


def _belongs(name: str, store: ModuleType) -> bool:
    """A store is a module, or a package of them."""
    return name == store.__name__ or name.startswith(f"{store.__name__}.")


def _replace(room: str, attribute: str, old: Callable[..., Any], new: Callable[..., Any]) -> None:
    """Wherever the store itself has it by this name."""
    for name, module in list(sys.modules.items()):
        if _belongs(name, STORES[room]) and getattr(module, attribute, None) is old:
            setattr(module, attribute, new)


@contextmanager
def watched(before: Callable[[str], None], after: Callable[[str], None]) -> Iterator[None]:
    """Calls `before` and `after` around each persistence call of this process."""

    def around(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            before(name)
            result = function(*args, **kwargs)
            after(name)
            return result

        return call

    calls = persistence_calls()
    instead = {name: around(name, function) for name, function in calls.items()}
    for name, function in calls.items():
        room, _, attribute = name.partition(".")
        _replace(room, attribute, function, instead[name])
    try:
        yield
    finally:
        for name, function in calls.items():
            room, _, attribute = name.partition(".")
            _replace(room, attribute, instead[name], function)


def worker(crash: Point | None = None, trace: Path | None = None) -> int:
    """Runs a worker until every run has ended, or it has died at `crash`. Returns its exit code, negative for a signal.

    Args:
        trace: a file for the names of the calls that it makes, one a line.
    """
    connections.close_all()
    tickets.connection().connection_pool.disconnect()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            # The one thread of asgiref did not come along; an executor that thinks it has it would never do anything.
            SyncToAsync.single_thread_executor = ThreadPoolExecutor(max_workers=1)
            _work(crash, trace)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    deadline = time.monotonic() + PATIENCE
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise AssertionError(f"the worker that was to die at {crash} did not end in {PATIENCE} s")
        time.sleep(0.005)


def _work(crash: Point | None, trace: Path | None) -> None:
    counts: dict[str, int] = {}
    lines = trace.open("a", buffering=1) if trace is not None else None

    def die_at(name: str, carried_out: bool) -> None:
        if crash is not None and (name, counts[name], carried_out) == crash:
            os.kill(os.getpid(), signal.SIGKILL)

    def before(name: str) -> None:
        counts[name] = counts.get(name, 0) + 1
        if lines is not None:
            lines.write(f"{name}\n")
        die_at(name, False)

    with watched(before, lambda name: die_at(name, True)):
        limits = Limits(coroutines=50, threads=8, processes=1, grace=0.2, heartbeat_timeout=15.0)
        engine = Engine(name="mortal", pools=["default"], limits=limits, on_fenced=lambda: os._exit(3))
        engine.start()
        conn = db.connect("test")

        def all_ended() -> bool:
            upkeep.promote_timers(conn)
            row = conn.execute("SELECT count(*) FROM runs_run WHERE finished_at IS NULL").fetchone()
            return row == (0,)

        engine.shift(all_ended, linger=float("inf"), look=0.01)  # and no goodbye: everything is stored


def recover() -> None:
    """What the others do about the dead, without the second that they take to be sure."""
    with db.connect("rescuer") as conn:
        certain, recovery.CERTAIN = recovery.CERTAIN, 0.0  # type: ignore[misc]
        try:
            watch = recovery.Watch(timeout=15.0)
            eventually(lambda: watch.look(conn) or not Lease.objects.exists(), "the dead worker's runs are taken")
        finally:
            recovery.CERTAIN = certain  # type: ignore[misc]


def finished_steps(ids: list[UUID]) -> set[tuple[str, str]]:
    """(run, name) of the steps whose results are stored."""
    found = Snapshot.objects.filter(run_id__in=ids, kind=SnapshotKind.STEP).values_list("run_id", "input")
    return {(str(run_id), (given or {}).get("name", "")) for run_id, given in found}


def final_state(run_id: UUID) -> dict[str, Any]:
    """What must not depend on who died when: statuses, results and snapshots of a run and of those it waited for."""
    run = Run.objects.get(pk=run_id)
    kept = list(Snapshot.objects.filter(run_id=run_id).order_by("sequence"))
    answers = [s for s in kept if s.kind in (SnapshotKind.STEP, SnapshotKind.WAIT)]
    # A checkpoint that is passed again is stored again: what counts is the last state.
    states = [s.state for s in kept if s.kind == SnapshotKind.CHECKPOINT]
    return {
        "status": run.status,
        "output": run.output,
        "error": run.error,
        "snapshots": sorted((s.kind, s.key, json.dumps(_nameless(s.output))) for s in answers),
        "state": states[-1] if states else None,
        "children": [final_state(c.pk) for c in Run.objects.filter(parent_id=run_id).order_by("id")],
    }


def _nameless(output: Any) -> Any:
    """Without the ids of children and updates, which are new each time."""
    if isinstance(output, dict) and isinstance(output.get("value"), dict):
        return {**output, "value": {k: v for k, v in output["value"].items() if k != "update"}}
    if isinstance(output, dict) and isinstance(output.get("value"), list):
        return {
            **output,
            "value": [{k: v for k, v in c.items() if k != "id"} if isinstance(c, dict) else c for c in output["value"]],
        }
    return output


def nothing_is_left() -> None:
    """No run is held, queued or timed, and no attempt is open."""
    for left in (Entry, Lease, Timer):
        assert not left.objects.exists(), left.__name__
    assert not Attempt.objects.filter(finished_at=None).exists()
