"""`manage.py` whose calls of the store fail now and then: before they are executed, or afterwards; with the connection,
or without; and commits whose acknowledgement is lost.

Tests start workers and schedulers by this file. Settings come in the environment: TESTS_STORE_ERRORS is the share of
calls that fail, TESTS_STORE_SEED makes the choice repeatable for each process.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import django
import psycopg

RATE = float(os.environ["TESTS_STORE_ERRORS"])
DICE = random.Random(f"{os.environ['TESTS_STORE_SEED']} {sys.argv[1:]}")
#: Whether the process is at work. (A start that fails is a supervisor's matter.)
at_work = sys.argv[1] == "schedule"

#: What a process calls again and again.
FLOW = ("peek", "lease", "release", "promote", "next_due", "pools_with_entries", "worker_hold", "begin_batch")
FLOW += ("last_batch", "suspects", "lock_is_free", "declare_lost", "end_frozen", "orphans", "seize", "held")
RUNS = ("start", "history", "add_snapshots", "add_logs", "finish", "add_rollups", "crash", "ready", "trim_logs")


def fail(target: Any) -> None:
    """As PostgreSQL or the network would."""
    conn = target if isinstance(target, psycopg.Connection) else target.connection
    kind = DICE.randrange(3)
    if kind == 0:
        raise psycopg.errors.DeadlockDetected("injected: deadlock detected")
    if kind == 1:
        raise psycopg.errors.SerializationFailure("injected: could not serialize access")
    conn.close()
    raise psycopg.OperationalError("injected: server closed the connection unexpectedly")


def injured(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def call(target: Any, *args: Any, **kwargs: Any) -> Any:
        at = DICE.random() if at_work else 0.5
        if at < RATE / 2:
            fail(target)
        found = function(target, *args, **kwargs)
        if at > 1 - RATE / 2:
            fail(target)
        return found

    return call


class Lossy(psycopg.Connection[Any]):
    """Commits, and then may be cut before it hears so."""

    @contextmanager
    def transaction(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        with super().transaction(*args, **kwargs) as inner:
            yield inner
        if at_work and DICE.random() < RATE:
            if self._pipeline is not None:
                self._pipeline.sync()
            self.close()
            raise psycopg.OperationalError("injected: the acknowledgement of the commit was lost")


def begin(event: str, fields: dict[str, Any]) -> None:
    global at_work
    at_work = at_work or event == "worker.started"


def install() -> None:
    from holdfast import db, telemetry
    from queues import store as queue_store
    from runs import store

    for module, names in ((queue_store, FLOW), (store, RUNS)):
        for name in names:
            setattr(module, name, injured(getattr(module, name)))
    telemetry.subscribe(begin)
    connect = db.connect

    def lossy(name: str) -> psycopg.Connection[Any]:
        conn = connect(name)
        conn.__class__ = Lossy
        return conn

    db.connect = lossy


if __name__ == "__main__":
    sys.path.pop(0)  # this folder, whose modules are nobody's packages
    setup = django.setup

    def setup_and_install(*args: Any, **kwargs: Any) -> None:
        setup(*args, **kwargs)
        install()

    django.setup = setup_and_install

    from holdfast.cli import main

    main()
