"""The process of one stay of an isolated run: the same context and the same calls as in a worker, with a writer whose
rows go to the worker's."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import signal
import socket
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, Final, NoReturn, cast

from django.db import connections

from runs import store
from runs.engine import failure, hooks, memory
from runs.engine.breakers import Breakers
from runs.engine.context import ActiveRun
from runs.engine.execute import execute_async, execute_sync
from runs.engine.frames import stack_of
from runs.engine.loop import end_tasks, remember_task
from runs.engine.outcome import Fenced, Outcome
from runs.engine.port import Port
from runs.engine.spending import Accounts
from runs.engine.tail import LogTail
from runs.engine.wire import Begin, Done, HandingOver, Inbox, LetIn, Look, Put, Receipt, Seen, Settled, pack
from runs.engine.writer import Writer
from runs.sdk.context import current, set_executing
from runs.sdk.task import registry

#: Exit code of a child that lost its worker, or the thread that hears it.
CUT_OFF: Final = 71
#: Threads for the steps with transaction=True of one `async def` run.
STEP_THREADS: Final = 8
_BLOCK: Final = 65_536


class Terminated(BaseException):
    """SIGTERM: the process is to end. The run's code gets the chance to tidy up."""


class Link:
    """The child's end of the socket to its worker."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._inbox = Inbox()
        self._lock = threading.Lock()
        self._receipts: dict[int, Future[None] | asyncio.Future[None]] = {}
        self._last = 0
        self.handing_over = False
        self.run: ActiveRun | None = None

    def first(self) -> Begin:
        """The first message; nothing follows it before we answer."""
        while True:
            for message in self._inbox.feed(self._receive()):
                assert isinstance(message, Begin)
                return message

    def send(self, message: object) -> None:
        data = pack(message)
        with self._lock:
            self._sock.sendall(data)

    def put(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A call of the worker's writer; acknowledgements become numbers."""
        sent = tuple(self._numbered(value) for value in args)
        named = {name: self._numbered(value) for name, value in kwargs.items()}
        self.send(Put(method, sent, named))

    def _numbered(self, value: Any) -> Any:
        if not isinstance(value, Future | asyncio.Future):
            return value
        with self._lock:
            self._last += 1
            self._receipts[self._last] = value
            return Receipt(self._last)

    def hear(self) -> None:
        """A thread's work: what the worker says."""
        data = b""  # something may have come behind the first message
        try:
            while True:
                for message in self._inbox.feed(data):
                    if isinstance(message, Settled):
                        for number, error in message.receipts:
                            _settle(self._receipts.pop(number), error)
                    elif isinstance(message, HandingOver):
                        self.handing_over = True
                    elif isinstance(message, Look) and self.run is not None:
                        self.send(Seen(stack_of(self.run, threading.main_thread().ident, alone=True)))
                data = self._receive()
        finally:
            os._exit(CUT_OFF)

    def _receive(self) -> bytes:
        data = self._sock.recv(_BLOCK)
        if not data:
            os._exit(CUT_OFF)
        return data


class RemoteWriter:
    """Stands in for the worker's `Writer`: whatever `put_…` it has, called here, is called there."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def put_log(self, row: store.LogRow, tail: LogTail) -> None:
        """The worker has the run's queue of lines."""
        del tail
        self._link.put("put_log", (row,), {})

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("put_") and name != "count":
            raise AttributeError(f"an isolated run's writer has no {name}")

        def call(*args: Any, **kwargs: Any) -> None:
            self._link.put(name, args, kwargs)

        return call


def live(sock: socket.socket) -> NoReturn:
    """From the fork to the end of the process."""
    set_executing(True)
    link = Link(sock)
    begin = link.first()
    accounts = Accounts()
    known = accounts.learn(begin.balances)  # kept by the run from now on
    port = Port(
        cast(Writer, RemoteWriter(link)),
        begin.clock,
        lambda: link.handing_over,
        watch=lambda run: None,  # a run at rest always leaves its process, and finds the answers when it comes back
        worker_id=begin.worker_id,
        touch=lambda run_id: None,
        step_threads=ThreadPoolExecutor(STEP_THREADS, thread_name_prefix="holdfast-step"),
        accounts=accounts,
        breakers=Breakers({begin.started.queue_id: begin.guard} if begin.guard else {}),
        let_in=lambda passed: link.send(LetIn(passed)),
        hold=0.0,
    )
    task = registry.get(begin.started.task_id)
    assert task is not None, "the server was forked when all tasks were known"
    run = ActiveRun(port, task, begin.started, begin.facts, begin.waits, begin.beats)
    run.said.pace = run.beats.pace = 0.0
    link.run = run
    del known
    threading.Thread(target=link.hear, name="holdfast-link", daemon=True).start()
    termination = _Termination()
    try:
        if begin.memory_limit is not None:
            run.memory_limit = begin.memory_limit
            memory.limit(begin.memory_limit)
        outcome = _execute(run, termination)
    except (Fenced, Terminated):
        outcome = None
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    memory.lift()
    _tidy(run)
    if termination.came:
        # An honest end: whoever asks how it died is told by which signal.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
    link.send(Done(outcome))
    os._exit(0)


class _Termination:
    """The handler of SIGTERM."""

    def __init__(self) -> None:
        self.came = False
        self.main: asyncio.Task[Outcome] | None = None
        signal.signal(signal.SIGTERM, self._handle)

    def _handle(self, *_: Any) -> None:
        self.came = True
        if self.main is not None:
            self.main.get_loop().call_soon_threadsafe(self.main.cancel)
        raise Terminated  # out of whatever Python code computes; in a coroutine that waits, the cancellation comes


def _execute(run: ActiveRun, termination: _Termination) -> Outcome:
    context = copy_context()
    context.run(current.set, run)
    if not run.is_async:
        return context.run(_drive_sync, run, termination)
    loop = asyncio.new_event_loop()  # asyncio's own, not uvloop: the handler's exception gets out of it
    loop.set_task_factory(remember_task)  # type: ignore[arg-type]  # `context` by name is 3.11's way
    asyncio.set_event_loop(loop)
    run.main = main = termination.main = loop.create_task(_drive_async(run, termination), context=context)
    while True:
        try:
            return loop.run_until_complete(main)
        except Terminated:
            if main.done():
                raise


async def _drive_async(run: ActiveRun, termination: _Termination) -> Outcome:
    outcome = hooks.decided(run) or await execute_async(run)
    if run.tasks:
        await end_tasks(run)
    # The end of a process that is to end is not the run's outcome: its worker knows that.
    return outcome if termination.came else await hooks.conclude_async(run, outcome)


def _drive_sync(run: ActiveRun, termination: _Termination) -> Outcome:
    outcome = hooks.decided(run) or execute_sync(run)
    return outcome if termination.came else hooks.conclude_sync(run, outcome)


def _tidy(run: ActiveRun) -> None:
    with contextlib.suppress(Fenced, OSError):
        run.flush_print()
    run.close()
    if run._port.breakers is not None:
        run._port.breakers.close()
    with contextlib.suppress(Exception):
        connections.close_all()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()


def _settle(waiting: Future[None] | asyncio.Future[None], error: BaseException | None) -> None:
    if isinstance(waiting, Future):
        if error is None:
            waiting.set_result(None)
        else:
            waiting.set_exception(error)
        return

    def settle() -> None:
        if waiting.done():
            return
        if error is None:
            waiting.set_result(None)
        else:
            waiting.set_exception(error)

    with contextlib.suppress(RuntimeError):  # its loop is closed: nobody waits any more
        waiting.get_loop().call_soon_threadsafe(settle)


def sendable(error: BaseException | None) -> BaseException | None:
    """An error as it can cross a process's border."""
    if error is None:
        return None
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - what we have pickled ourselves
    except Exception:
        return RuntimeError(failure.brief(error))
    return error
