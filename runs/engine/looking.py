"""A worker is asked where its runs are. The heartbeat's thread answers: it goes on whatever the event loop is at."""

from __future__ import annotations

import json
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING
from uuid import UUID

from queues.store import Conn
from runs import store
from runs.engine.frames import Stack, stack_of

if TYPE_CHECKING:
    from runs.engine.engine import Engine

#: Runs that one look answers, and seconds that it waits for processes of isolated runs; a later look takes the rest.
MAX_ANSWERS, MOMENT = 50, 0.1


class Looks:
    """Of one worker."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._asked: dict[tuple[UUID, int], Future[Stack]] = {}  # of processes that have not answered yet

    def answer(self, conn: Conn) -> None:
        """Answers what is wanted of runs here. One statement when nothing is."""
        engine = self._engine
        if not engine.in_flight:
            return
        wanted = store.stacks_wanted(conn, engine.worker_id, limit=MAX_ANSWERS)
        self._asked = {key: self._asked[key] for key in wanted if key in self._asked}
        found: list[tuple[UUID, int, str]] = []
        for key in wanted:
            if (future := self._of_process(key)) is not None:
                self._asked[key] = future
            elif (stack := self._here(key)) is not None:
                found.append((*key, stack))
        if self._asked:
            wait(self._asked.values(), timeout=MOMENT)
            done = [key for key, future in self._asked.items() if future.done()]
            for key in done:
                future = self._asked.pop(key)
                if not future.cancelled():
                    found.append((*key, json.dumps(future.result())))
        if found:
            store.give_stacks(conn, engine.worker_id, found)

    def _of_process(self, key: tuple[UUID, int]) -> Future[Stack] | None:
        """The answer to come of a run in a process of its own."""
        if key in self._asked:
            return self._asked[key]
        wards = self._engine._wards
        return wards.look(*key) if wards is not None else None

    def _here(self, key: tuple[UUID, int]) -> str | None:
        run_id, token = key
        run = self._engine._runs.get(run_id)
        if run is None or run.started.token != token or run.task.isolation is not None:
            return None
        return json.dumps(stack_of(run, self._engine._loop_thread.ident))
