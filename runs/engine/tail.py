"""The log lines of a run on their way to PostgreSQL, and how many of them stay there.

A run may say more than can be stored, or more than anybody wants to keep. Neither is a reason to slow down others, nor
for a process to grow: on the way, and in PostgreSQL, the oldest lines of that run give way, and a line says so.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Final
from uuid import UUID

import psycopg

from holdfast import db
from runs import store
from runs.engine.duty import Duty

logger = logging.getLogger("holdfast.writer")

#: Bytes of one run's lines that may wait to be written, and what a line costs beyond its text. Beyond that, threads
#: wait, and on the event loop, which must not, the oldest lines give way.
MAX_WAITING, COST = 8 * 1024 * 1024, 400
#: Lines of one run, and bytes of them, in one turn of the writer: its neighbours' steps do not wait behind all the
#: others.
TURN: Final = 500
TURN_BYTES: Final = 1024 * 1024
#: Bytes of one run's lines that are kept in PostgreSQL; they are looked at whenever so much has been added.
MAX_STORED: Final = 16 * 1024 * 1024
TRIM_EVERY: Final = MAX_STORED // 4
#: Bytes after which the first look comes for a run that is entered again: nobody knows what it has said before.
TRIM_FIRST: Final = 256 * 1024


class LogTail:
    """Lines of one stay of a run that wait to be written."""

    __slots__ = ("_bytes", "_closed", "_dropped", "_dropped_bytes", "_lock", "_room", "_rows", "_stored", "run_id")

    def __init__(self, run_id: UUID, *, again: bool = False) -> None:
        self.run_id = run_id
        self._rows: deque[store.LogRow] = deque()
        self._bytes = 0
        self._dropped = self._dropped_bytes = 0
        self._stored = TRIM_EVERY - TRIM_FIRST if again else 0
        self._lock = threading.Lock()
        self._room: threading.Event | None = None  # made when a thread has to wait
        self._closed = False

    def add(self, row: store.LogRow, *, may_wait: bool) -> bool:
        """Takes a line. True when the writer has to be told that there are some."""
        size = _size(row)
        while may_wait and self._is_full(size):
            assert self._room is not None
            self._room.wait()
        with self._lock:
            if self._closed:
                return False
            while self._rows and self._bytes + size > MAX_WAITING:
                oldest = self._rows.popleft()
                self._bytes -= _size(oldest)
                self._dropped += 1
                self._dropped_bytes += _size(oldest) - COST
            self._rows.append(row)
            self._bytes += size
            return len(self._rows) == 1

    def take(self) -> tuple[list[store.LogRow], bool]:
        """The next lines to write, and whether there are more."""
        with self._lock:
            rows: list[store.LogRow] = []
            size = 0
            while self._rows and len(rows) < TURN and size < TURN_BYTES:
                rows.append(self._rows.popleft())
                size += _size(rows[-1])
            self._bytes -= size
            self._stored += size - COST * len(rows)
            if rows and self._dropped:
                rows.insert(0, self._notice(rows[0]))
                self._dropped = self._dropped_bytes = 0
            if self._room is not None and self._bytes < MAX_WAITING // 2:
                self._room.set()
                self._room = None
            return rows, bool(self._rows)

    def is_due(self) -> bool:
        """Whether so much has been stored that the oldest may have to go."""
        if self._stored < TRIM_EVERY:
            return False
        self._stored = 0
        return True

    def close(self) -> None:
        """Nothing is written any more; nobody waits."""
        with self._lock:
            self._closed = True
            self._rows.clear()
            self._bytes = 0
            if self._room is not None:
                self._room.set()

    def _is_full(self, size: int) -> bool:
        with self._lock:
            if self._closed or not self._rows or self._bytes + size <= MAX_WAITING:
                return False
            if self._room is None:
                self._room = threading.Event()
            return True

    def _notice(self, before: store.LogRow) -> store.LogRow:
        message = (
            f"{self._dropped:,} lines ({self._dropped_bytes:,} bytes) before this one were dropped: they were said "
            "faster than they can be stored."
        )
        # As the trimmer counts: its own line takes over what this one says, when this one has to go.
        fields = json.dumps({"dropped_lines": self._dropped, "dropped_bytes": self._dropped_bytes})
        return before._replace(level=logging.WARNING, message=message, fields=fields, step="")


def _size(row: store.LogRow) -> int:
    return len(row.message) + len(row.fields or "") + COST


class Trimmer(Duty):
    """Takes the oldest lines of runs that say too much out of PostgreSQL. A thread and a connection of its own: it
    reads and deletes megabytes, and no step waits for that."""

    #: Seconds without work after which it lets go of its connection, and between tries to have one again.
    IDLE: Final = 30.0
    RECONNECT: Final = 1.0

    def __init__(self) -> None:
        super().__init__("trimmer")
        self._due: queue.SimpleQueue[UUID | None] = queue.SimpleQueue()
        self._conn: db.Conn | None = None
        self._ending = threading.Event()

    def trim(self, run_id: UUID) -> None:
        """Soon."""
        self._due.put(run_id)

    def close(self) -> None:
        self._ending.set()
        self._due.put(None)
        self.join(5)

    def serve(self) -> None:
        while not self._ending.is_set():
            try:
                run_id = self._due.get(timeout=self.IDLE)
            except queue.Empty:
                run_id = None
            if run_id is None:
                self._hang_up()
            else:
                self._trim(run_id)
        self._hang_up()

    def _trim(self, run_id: UUID) -> None:
        try:
            if self._conn is None:
                self._conn = db.connect("trimmer")
            store.trim_logs(self._conn, run_id, keep=MAX_STORED)
        except psycopg.Error as error:
            logger.warning("the log of run %s could not be trimmed (%s)", run_id, str(error).strip().splitlines()[0])
            broken = self._conn is None or self._conn.closed or self._conn.broken
            self._hang_up()
            if broken or db.is_passing(error):
                self._due.put(run_id)
                self._ending.wait(self.RECONNECT)

    def _hang_up(self) -> None:
        conn, self._conn = self._conn, None
        if conn is not None:
            conn.close()


Trim = Callable[[UUID], None]
