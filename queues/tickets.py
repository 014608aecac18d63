"""Tickets: how work wakes workers. A ticket is an RQ job that says "there is work for this pool" (DESIGN D2).

A worker at work on a ticket listens on the pool's channel, so waking costs one PUBLISH; only when nobody listens is a
ticket pushed. Nothing here is needed for correctness: work whose wake-up was lost is found by the sweeper, and a
worker without Redis polls PostgreSQL.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq import Queue as RQQueue
from rq.suspension import is_suspended

logger = logging.getLogger("holdfast.tickets")

#: Tickets that may wait in one pool: more would only wake workers to find nothing.
MAX_WAITING: Final = 4

#: Seconds for which "nobody listens, and enough tickets wait in this pool" is believed without asking again: whoever
#: takes one of those tickets looks for work then. (One taken just now has looked already; its worker's poll remains.)
ENOUGH: Final = 0.02
_enough_until: dict[str, float] = {}

#: Seconds for which a Redis that took a wake-up and did not answer is left alone: callers must not each wait for it.
FROZEN: Final = 5.0
_frozen_until = 0.0

#: What a worker process does with a ticket; set by the worker when it starts.
on_ticket: Callable[[str], None] | None = None


@lru_cache(maxsize=1)
def connection() -> redis.Redis:
    """This process's Redis client for waking; short timeouts, because a caller's request waits for it."""
    return redis.Redis.from_url(url(), socket_timeout=2, socket_connect_timeout=1, retry=no_retry())


def no_retry() -> Retry:
    """One more try at once, for a connection that was cut while it was idle. (redis-py's own way waits for seconds.)"""
    return Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))


def channel(pool: str) -> str:
    """Where a pool is woken. Redis' publications know no database numbers, so the name has to: installations that
    share a server must not take each other's listeners for their own."""
    number = connection().connection_pool.connection_kwargs.get("db") or 0
    return f"holdfast:{number}:wake:{pool}"


def blocking_connection() -> redis.Redis:
    """A client for a worker's main loop, which blocks on its queues; rq sets how long an answer may take."""
    return redis.Redis.from_url(url(), socket_connect_timeout=2, retry=no_retry())


def url() -> str:
    """Where Redis is."""
    found: str = settings.HOLDFAST_REDIS_URL
    return found


def wake(pools: Iterable[str]) -> None:
    """Tells each pool that there is work: one round trip where a worker listens, none where tickets enough are waiting.
    Never raises: with Redis away, the sweeper or a poll finds the work."""
    global _frozen_until
    if time.monotonic() < _frozen_until:
        return
    try:
        for pool in pools:
            if time.monotonic() < _enough_until.get(pool, 0.0):
                continue
            if not connection().publish(channel(pool), b""):
                push(pool)
    except redis.RedisError as error:
        if isinstance(error, redis.TimeoutError):
            _frozen_until = time.monotonic() + FROZEN
        logger.warning("Redis did not take a wake-up (%s); workers find the work by polling", error)


def push(pool: str) -> bool:
    """Puts a ticket into RQ unless enough are waiting there already. True when one was put."""
    if _queue(pool).count >= MAX_WAITING:
        _enough_until[pool] = time.monotonic() + ENOUGH
        return False
    _put(pool)
    return True


@lru_cache(maxsize=256)
def _queue(pool: str) -> RQQueue:
    return RQQueue(pool, connection=connection())


def _put(pool: str) -> None:
    _queue(pool).enqueue(redeem, pool, job_timeout=-1, result_ttl=0, failure_ttl=60, description=f"shift for {pool}")


def push_safely(pool: str) -> bool:
    """`push` that takes a silent Redis for "not put"."""
    try:
        return push(pool)
    except redis.RedisError:
        return False


def answer_time() -> float | None:
    """Seconds after which Redis answered; None when it did not."""
    global _frozen_until
    if (began := time.monotonic()) < _frozen_until:
        return None
    try:
        connection().ping()
    except redis.RedisError as error:
        if isinstance(error, redis.TimeoutError):
            _frozen_until = time.monotonic() + FROZEN
        return None
    return time.monotonic() - began


def suspended() -> bool:
    """Whether `rq suspend` holds all workers back. False when Redis does not say."""
    global _frozen_until
    if time.monotonic() < _frozen_until:
        return False
    try:
        return bool(is_suspended(connection()))
    except redis.RedisError as error:
        if isinstance(error, redis.TimeoutError):
            _frozen_until = time.monotonic() + FROZEN
        return False


def redeem(pool: str) -> None:
    """The RQ job itself: hands the ticket to this process's worker."""
    if on_ticket is None:
        raise RuntimeError("A Holdfast ticket reached a plain RQ worker. Start workers with: manage.py work")
    on_ticket(pool)
