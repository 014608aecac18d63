"""Acknowledgements of the writer: whom it tells that something is durable, or why it is not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runs.engine.batch import Operation

Ack = asyncio.Future[None] | Future[None] | None


def resolve(operations: Sequence[Operation], error: BaseException | None) -> None:
    """Tells everybody who waits: threads one by one, each event loop in one call."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[None], BaseException | None]]] = {}
    for operation in operations:
        ack, why = operation.ack, error or operation.refused
        if isinstance(ack, Future):
            if ack.done():
                continue  # whoever waited has left
            if why is None:
                ack.set_result(None)
            else:
                ack.set_exception(why)
        elif ack is not None:
            by_loop.setdefault(ack.get_loop(), []).append((ack, why))
    for loop, acks in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_settle, acks)


def _settle(acks: Sequence[tuple[asyncio.Future[None], BaseException | None]]) -> None:
    for ack, error in acks:
        if ack.done():
            continue
        if error is None:
            ack.set_result(None)
        else:
            ack.set_exception(error)
