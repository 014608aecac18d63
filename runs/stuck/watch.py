"""The scheduler's look at runs that do not get on.

A run in a worker's hands is *silent* while nothing new comes of it: no snapshot, log line, heartbeat, progress or chunk
of a stream. Which step it is in only its worker knows, so a run that is silent for too long for any step of its task is
asked where it is; by the answer it is judged, and the answer is the stack that its page shows.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Sequence
from typing import Final

from holdfast.telemetry import emit
from queues.store import Conn
from runs import store
from runs.stuck.usual import Usual, patience

#: Leases that one look passes, runs that it asks about at once, and runs that are called stuck at most.
PAGE, ASKED, MOST = 2_000, 100, 10_000
#: Seconds between two looks at all that is leased, a page at a time; while something is asked or stuck, a shorter one
#: at that alone.
ALL, SOON = 15.0, 1.0
#: Seconds after which is learned anew what is usual.
LEARN: Final = 60.0
#: Seconds for which a stack is good enough for a run that is found to be stuck.
FRESH: Final = 10.0
_FIRST: Final = uuid.UUID(int=0)


class Lookout:
    """See the module.

    Args:
        floor: Seconds of silence that are always allowed.
        timeout: Seconds after which a worker's heartbeat is lost.
    """

    def __init__(self, floor: float, timeout: float) -> None:
        self._floor, self._timeout = floor, timeout
        self._usual = Usual(floor)
        self._after = _FIRST
        self._all_at = self._learned_at = float("-inf")
        self._asked: set[uuid.UUID] = set()

    def look(self, conn: Conn) -> float | None:
        """Returns the seconds until the next look."""
        known = store.stuck_runs(conn, limit=MOST)
        ids = {*known, *self._asked}
        if time.monotonic() - self._all_at >= min(ALL, self._floor):
            self._learn(conn)
            ids |= self._page(conn)
        news = {one.id: one for one in store.news(conn, list(ids), timeout=self._timeout)} if ids else {}
        self._drop(conn, known, news)
        quiet = [one for one in news.values() if one.silence >= self._floor or one.lost]
        self._judge(conn, [one for one in quiet if one.id not in known], room=MOST - len(known))
        return SOON if known or self._asked or self._after != _FIRST else None

    def _learn(self, conn: Conn) -> None:
        if time.monotonic() - self._learned_at >= LEARN or not self._usual.complete:
            self._learned_at = time.monotonic()
            self._usual.learn(conn)

    def _page(self, conn: Conn) -> set[uuid.UUID]:
        found = store.leased_for(conn, after=self._after, seconds=self._floor, limit=PAGE)
        if len(found) < PAGE:  # that was the last: the next look begins anew, after a while
            self._after, self._all_at = _FIRST, time.monotonic()
        else:
            self._after = found[-1]
        return set(found)

    def _drop(self, conn: Conn, known: dict[uuid.UUID, store.StuckRow], news: dict[uuid.UUID, store.News]) -> None:
        """Those that have moved on: something new came, another worker has them, or none."""
        over = []
        for run_id, row in known.items():
            now = news.get(run_id)
            if now is None or now.token != row.token or now.since > row.since or (row.lost and not now.lost):
                over.append(run_id)
        for run_id in over:
            del known[run_id]
        if over:
            store.not_stuck(conn, over)
            emit("runs.moved_on", runs=len(over))

    def _judge(self, conn: Conn, quiet: Sequence[store.News], *, room: int) -> None:
        said = {s.id: s for s in store.stacks_said(conn, [one.id for one in quiet])} if quiet else {}
        stuck: list[store.StuckRow] = []
        ask: list[uuid.UUID] = []
        self._asked = set()
        for one in quiet:
            if one.lost:
                stuck.append(store.StuckRow(one.id, one.token, True, "", one.since, None))
                continue
            least = self._usual.least(one.task)
            if least is None or one.silence < least:
                continue
            told = said.get(one.id)
            if told is None or told.token != one.token or told.at is None or told.at < one.since:
                ask.append(one.id)
                continue
            found = patience(self._usual, one.task, told.names, waits=told.waits)
            if found is not None and one.silence >= found.limit:
                stuck.append(store.StuckRow(one.id, one.token, False, found.step, one.since, found.usual))
                if told.age > FRESH:
                    ask.append(one.id)
        self._ask(conn, ask)
        if new := stuck[:room]:
            store.call_stuck(conn, new)
            emit("runs.stuck", runs=len(new), lost_heartbeat=sum(row.lost for row in new))

    def _ask(self, conn: Conn, ids: Iterable[uuid.UUID]) -> None:
        self._asked = set(list(ids)[:ASKED])
        if self._asked:
            store.want_stacks(conn, sorted(self._asked))
