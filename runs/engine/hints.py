"""Hints to open pages: "something changed, look". What changed is read from PostgreSQL, so a lost hint loses nothing.

Only runs that somebody watches are announced: pages keep their run's id in the sorted set `holdfast:watched`.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterable
from typing import Any
from uuid import UUID

import redis
from channels.layers import get_channel_layer

from queues import tickets
from runs.watched import LISTS, WATCHED, group_of

logger = logging.getLogger("holdfast.hints")

#: Seconds between two hints of one run, and of lists.
RUN_PACE, LIST_PACE = 0.1, 0.25


class Hints(threading.Thread):
    """Collects touched runs and announces them at a bounded pace."""

    def __init__(self) -> None:
        super().__init__(name="holdfast-hints", daemon=True)
        self._touched: set[UUID] = set()
        self._lists = False
        self._pools: set[str] = set()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = False

    def touch(self, runs: Iterable[UUID], *, lists: bool) -> None:
        with self._lock:
            self._touched.update(runs)
            self._lists = self._lists or lists
        self._wake.set()

    def rouse(self, pools: Iterable[str]) -> None:
        """There is work for these pools: tells their workers."""
        with self._lock:
            self._pools.update(pools)
        self._wake.set()

    def close(self) -> None:
        self._closing = True
        self._wake.set()
        self.join(5)

    def run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        lists_at = 0.0
        while not self._closing:
            await asyncio.to_thread(self._wake.wait)
            self._wake.clear()
            with self._lock:
                pools, self._pools = self._pools, set()
            if pools:
                await asyncio.to_thread(tickets.wake, pools)
            await asyncio.sleep(RUN_PACE)
            with self._lock:
                touched, self._touched = self._touched, set()
                due = self._lists and time.monotonic() >= lists_at
                if due:
                    self._lists, lists_at = False, time.monotonic() + LIST_PACE
                elif self._lists:
                    self._wake.set()
            try:
                await self._announce(touched, due)
            except (redis.RedisError, OSError) as error:
                logger.debug("nobody could be told: %s", error)
            except Exception:
                logger.exception("hints failed; pages poll meanwhile")

    async def _announce(self, touched: set[UUID], lists: bool) -> None:
        layer: Any = get_channel_layer()
        if touched:
            watched = await asyncio.to_thread(_watched)
            for run_id in touched & watched:
                await layer.group_send(group_of(run_id), {"type": "hint"})
        if lists:
            await layer.group_send(LISTS, {"type": "hint"})


def _watched() -> set[UUID]:
    # Whoever marks takes out what is over; this worker's clock may be wrong, and has no say.
    members: Any = tickets.connection().zrange(WATCHED, 0, -1)
    return {UUID(member.decode()) for member in members}
