"""Django's connections in the threads that execute runs: healthy for the next run, whatever the last one did."""

from __future__ import annotations

import logging
from typing import Any

from asgiref.sync import SyncToAsync
from django.db import Error, connections

from runs.errors import StepMisuse

logger = logging.getLogger("holdfast.engine")


def in_transaction() -> bool:
    """Whether the code that calls has opened a transaction in this thread. One that a test case has opened around
    everything does not count, as it does not for Django's own durable blocks."""
    innermost: list[Any] = [block for w in connections.all(initialized_only=True) for block in w.atomic_blocks[-1:]]
    return not all(block._from_testcase for block in innermost)


def outside_transactions(what: str, instead: str) -> None:
    """Raises StepMisuse where `what` would be stored from inside a transaction of the task's."""
    if in_transaction():
        raise StepMisuse(
            f"{what} was called inside transaction.atomic(). It is stored by itself and at once: what the block rolls "
            f"back afterwards would be taken for done. {instead}"
        )


def tidy() -> None:
    """Between two runs a thread keeps a healthy Django connection, but no open transaction of somebody else's."""
    for wrapper in connections.all(initialized_only=True):
        try:
            if wrapper.in_atomic_block:
                # Its count of open blocks cannot be put right from outside: the next run gets a new wrapper.
                wrapper.close()
                del connections[wrapper.alias]
            elif wrapper.errors_occurred:
                wrapper.close()
            else:
                wrapper.close_if_unusable_or_obsolete()
        except Exception:
            logger.exception("a connection that a run left behind could not be closed")
            del connections[wrapper.alias]


def tidy_shared(error: BaseException) -> None:
    """After an error of the database in `async def` code: that code shares one thread for the ORM (asgiref's), and
    nobody else would replace a connection there that is broken."""
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, Error):
        seen = seen.__cause__
    if seen is not None:
        SyncToAsync.single_thread_executor.submit(tidy)
