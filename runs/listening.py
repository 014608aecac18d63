"""How readers of a run learn that there is something to read: hints by Channels, and the mark that asks for them.

A hint says no more than "look". Without Redis there are none, and readers look every POLL seconds all the same.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from typing import Any, Final

import redis
from channels.layers import get_channel_layer

from queues import tickets
from runs.watched import WATCHED

logger = logging.getLogger("holdfast.live")

#: Seconds until Redis is tried again.
RETRY: Final = 2.0
#: Seconds between two marks "somebody watches"; that such a mark holds.
MARK, MARK_HOLDS = 5.0, 15.0


class Listener:
    """Somebody who waits for hints."""

    def __init__(self) -> None:
        self.hint = asyncio.Event()
        #: True while hints can arrive.
        self.listening = False

    async def wait(self, seconds: float) -> bool:
        """Until a hint arrives, `seconds` at most. True when one did."""
        try:
            async with asyncio.timeout(seconds):
                await self.hint.wait()
        except TimeoutError:
            return False
        self.hint.clear()
        return True

    async def listen(self, group: str) -> None:
        """Sets `hint` for each message of the group, through losses of Redis."""
        layer: Any = get_channel_layer()
        while True:
            channel = None
            try:
                channel = await layer.new_channel()
                await layer.group_add(group, channel)
                _heed_cancellation()
                self.listening = True
                self.hint.set()  # what came before is not lost either
                while True:
                    await layer.receive(channel)
                    self.hint.set()
            except (redis.RedisError, OSError) as error:
                logger.debug("no hints: %s", error)
            finally:
                self.listening = False
                if channel is not None:
                    await _leave(layer, group, channel)
            _heed_cancellation()
            await asyncio.sleep(RETRY)


async def keep_marked(run_id: uuid.UUID) -> None:
    """Keeps the run among those that somebody watches: only these are announced."""
    while True:
        try:
            await asyncio.to_thread(_mark, run_id)
        except redis.RedisError as error:
            logger.debug("a watched run could not be marked: %s", error)
        await asyncio.sleep(MARK)


def _mark(run_id: uuid.UUID) -> None:
    now = time.time()
    with tickets.connection().pipeline(transaction=False) as pipe:
        pipe.zadd(WATCHED, {str(run_id): now + MARK_HOLDS})
        pipe.zremrangebyscore(WATCHED, "-inf", now)
        pipe.execute()


def _heed_cancellation() -> None:
    """Redis' client waits by `asyncio.wait_for`, which on Python 3.11 forgets a cancellation that comes in the same
    moment as the answer: the task would go on for ever, and its page with it."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def _leave(layer: Any, group: str, channel: str) -> None:
    try:
        await layer.group_discard(group, channel)
    except (redis.RedisError, OSError) as error:
        logger.debug("could not leave %s: %s", group, error)
