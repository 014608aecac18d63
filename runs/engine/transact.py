"""`@step(transaction=True)`: what the step writes with Django's ORM and its snapshot are one transaction (DESIGN D9).

    BEGIN · the step's function · fence (worker and lease are still ours) · snapshot · COMMIT

A crash before the COMMIT leaves neither, one after it both. When the answer to the COMMIT is lost with the connection,
the transaction's own id tells what became of it. The snapshot goes by the thread's Django connection, past the group
commit of the writer: only steps that ask for it pay for a commit of their own.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final

import psycopg
from django.db import DEFAULT_DB_ALIAS, Error, connection, connections, transaction

from holdfast import db
from queues import store as queue_store
from runs import store
from runs.engine import failure
from runs.engine.database import tidy
from runs.engine.outcome import Fenced
from runs.engine.tryrows import try_row, try_sample
from runs.errors import StepMisuse
from runs.models import SnapshotKind
from runs.sdk import codec
from runs.sdk.context import current_step

if TYPE_CHECKING:
    from runs.engine.context import ActiveRun
    from runs.sdk.step import Step

#: Times that a try whose connection was cut is made again without counting as failed: it left nothing behind.
MAX_CUTS: Final = 5
#: Seconds before a connection that was cut is tried again, and between looks for what became of a commit.
RECONNECT: Final = 0.2
#: Seconds between the fence and the COMMIT after which PostgreSQL rolls back: a frozen process must not keep the locks
#: that the rescuer of its runs waits for.
QUIET: Final = 4.0


class GivenUp(Exception):
    """Whoever waited for the step waits no more: its transaction is rolled back."""


def call(run: ActiveRun, step: Step[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The step's result; to be awaited where the task is `async def`, but not in threads of its own."""
    return (_call_async if is_awaited(run) else _call_sync)(run, step, args, kwargs)


def is_awaited(run: ActiveRun) -> bool:
    """Whether the code that calls awaits the step."""
    if not run.is_async:
        return False
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _call_sync(run: ActiveRun, step: Step[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The step, in this thread and on its Django connection."""
    _must_be_outermost(step)
    key = run._identity(step, args, kwargs)
    if key in run._done:
        return run._replay(step, key)
    run.keep_input(step, key, args, kwargs)
    while True:
        if run.has_budget:
            run.waits.room_sync(key)
        run.boundary()
        began, token = run._port.clock.now(), current_step.set(key)
        run.executing[key] = step
        try:
            return _try(run, step, key, began, args, kwargs, threading.Event())
        except Exception as error:
            delay = run._tried(step, key, began, args, kwargs, error)
        finally:
            run.executing.pop(key, None)
            current_step.reset(token)
        time.sleep(delay)


async def _call_async(run: ActiveRun, step: Step[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The step, awaited by an `async def` task: in a thread for such steps, with the run's context variables."""
    key = run._identity(step, args, kwargs)
    if key in run._done:
        return run._replay(step, key)
    run.keep_input(step, key, args, kwargs)
    while True:
        if run.has_budget:
            await run.waits.room_async(key)
        run.boundary()
        began, token, given_up = run._port.clock.now(), current_step.set(key), threading.Event()
        run.executing[key] = step
        try:
            work = asyncio.get_running_loop().run_in_executor(
                run._port.step_threads, copy_context().run, _in_thread, run, step, key, began, args, kwargs, given_up
            )
            return await work
        except Exception as error:
            delay = run._tried(step, key, began, args, kwargs, error)
        finally:
            given_up.set()
            run.executing.pop(key, None)
            current_step.reset(token)
            run.step_left()
        await asyncio.sleep(delay)


def _in_thread(*arguments: Any) -> Any:
    # These threads are few and live as long as the worker does, so their connections may too.
    connection.close_if_unusable_or_obsolete()
    try:
        return _try(*arguments)
    finally:
        connection.close_at = None
        tidy()


def _try(
    run: ActiveRun,
    step: Step[Any, Any],
    key: str,
    began: float,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    given_up: threading.Event,
) -> Any:
    """One try. What it raises has rolled the transaction back."""
    cuts, called = 0, False
    while True:
        if given_up.is_set():
            raise GivenUp
        sealed: tuple[str, store.SnapshotRow] | None = None
        session: Any = None
        try:
            with transaction.atomic(), _default_only(step):
                session = connection.connection
                with db.callers() as conn:
                    store.transaction_begin(conn, run._port.worker_id)
                called = True
                value = step.function(*args, **kwargs)
                output = codec.dump_result(step.output, value, f"step {step.name!r}: result")
                if connection.needs_rollback:
                    raise StepMisuse(
                        f"Step {key} marked its transaction for rollback and returned a result all the same. Raise an "
                        "exception to undo what the step wrote, or keep what may fail in a transaction.atomic() of "
                        "its own within the step."
                    )
                if given_up.is_set():
                    raise GivenUp
                row = try_row(run, step, key, began, args, kwargs, SnapshotKind.STEP, output=output)
                sealed = _seal(run, row)
        except Exception as error:
            if sealed is not None and _is_committed(run, *sealed):
                if not _was_cut(session, error):
                    _hook_failed(run, key, error)
            elif (cuts < MAX_CUTS or not called) and _was_cut(session, error):
                cuts += called
                called = False
                logging.getLogger("holdfast.engine").warning(
                    "the connection of step %s was cut (%s); what it wrote is rolled back, it is called again",
                    key,
                    str(error).strip().split("\n")[0],
                )
                connection.close()
                time.sleep(RECONNECT)
                run.boundary()
                continue
            else:
                raise
        assert sealed is not None
        run._port.writer.count([try_sample(run, step, began, "completed", sealed[1].finished)])
        run._port.touch(run.id)
        run.remember(step, key, sealed[1].output)
        return value


def _seal(run: ActiveRun, row: store.SnapshotRow) -> tuple[str, store.SnapshotRow]:
    """The snapshot joins the transaction, on condition that the run is still ours. Lock order: worker, lease."""
    row = row._replace(sequence=run.next_sequence())
    with db.callers() as conn:
        xid = store.transaction_seal(conn, quiet=QUIET)
        mine = queue_store.fence(conn, worker=run._port.worker_id, entry_id=run.id, token=run.started.token)
        if not mine:
            raise Fenced
        store.add_snapshots(conn, [row])
    return xid, row


def _is_committed(run: ActiveRun, xid: str, row: store.SnapshotRow) -> bool:
    """What became of a COMMIT that raised. Asks until PostgreSQL answers: a guess would do the step twice or never."""
    while True:
        try:
            with db.connect("outcome") as conn:
                # The server of a connection that broke may not have noticed yet. It will: see QUIET.
                while store.transaction_status(conn, xid) == "in progress":
                    threading.Event().wait(RECONNECT / 10)
                return store.snapshot_is_stored(conn, row)
        except psycopg.Error:
            threading.Event().wait(RECONNECT)
            if run.over:
                raise Fenced from None


def _was_cut(session: Any, error: Exception) -> bool:
    """Whether the server, or the way to it, went away in the middle of the transaction (or before)."""
    return isinstance(error, Error) and (session is None or session.closed)


def _hook_failed(run: ActiveRun, key: str, error: Exception) -> None:
    text = failure.describe(error)["traceback"]
    run.say(
        logging.ERROR,
        f"step {key} is committed and will not be called again, but a hook of its transaction.on_commit() failed. What "
        f"must happen after a commit belongs into the next step, or into a run that this step enqueues.\n{text}",
        None,
    )


def _must_be_outermost(step: Step[Any, Any]) -> None:
    if connection.in_atomic_block or (connection.connection is not None and not connection.autocommit):
        raise StepMisuse(
            f"Step {step.name!r} has transaction=True and was called inside a transaction of the task, which could "
            "still roll back what the step commits. Call the step outside transaction.atomic(); or write inside the "
            f"block {step.name}.function(…), which is then no step."
        )


@contextmanager
def _default_only(step: Step[Any, Any]) -> Iterator[None]:
    """Refuses writes to other databases: they would not be part of the transaction."""
    with ExitStack() as stack:
        for alias in connections:
            if alias != DEFAULT_DB_ALIAS:
                stack.enter_context(connections[alias].execute_wrapper(_Refusal(step.name, alias)))
        yield


class _Refusal:
    """Lets statements that only read pass."""

    def __init__(self, step: str, alias: str) -> None:
        self._step = step
        self._alias = alias

    def __call__(self, execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        words = str(sql).lstrip(" (\n\t").upper()
        if not words.startswith(("SELECT", "SHOW", "EXPLAIN")) or " FOR UPDATE" in words:
            raise StepMisuse(
                f"Step {self._step!r} has transaction=True and writes to database {self._alias!r}. No transaction "
                "spans two databases: write there in another step, or make this one a step without transaction=True."
            )
        return execute(sql, params, many, context)
