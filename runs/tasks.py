"""Tasks of Holdfast itself. Their queue limits deliveries to one endpoint or channel, and nothing else."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, NoReturn

from typing_extensions import TypedDict

from queues import Queue
from runs.bulk import working
from runs.errors import HoldfastError
from runs.registration import find
from runs.sdk.chain import arguments, called_with, plain
from runs.sdk.context import current_run
from runs.sdk.log import log
from runs.sdk.retry import Abort, Retry
from runs.sdk.task import task

#: Deliveries at once to one endpoint or channel, over all workers: one that accepts and never answers must not hold all
#: that a worker may have under way.
TO_ONE = 100

own = Queue("holdfast", key_concurrency_limit=TO_ONE)


class LinkIn(TypedDict):
    """See `runs.sdk.chain.Link`."""

    task: str
    fixed: dict[str, Any]


#: Tries over three hours: 5 s, 15 s, 45 s, … after the first.
PATIENT = Retry(max_attempts=9, min_delay=5, factor=3, max_delay=3_600)


@task(id="holdfast.webhook", queue=own, retry=PATIENT)
async def webhook(endpoint: str, body: dict[str, Any], endpoint_id: int | None = None) -> dict[str, Any]:
    """Tells an endpoint how a run has ended."""
    from runs.outbound import sending

    try:
        request = await sending.asked(sending.request_of, endpoint, str(current_run().id), body, endpoint_id)
    except sending.Unwanted as why:
        await _call_off(why)
    return await sending.send(*request)


@task(id="holdfast.alert", queue=own, retry=PATIENT)
async def alert(channel: str, channel_id: int, news: dict[str, Any]) -> dict[str, Any]:
    """Tells a channel that an alert fires, or is over."""
    from runs.alerts import delivering
    from runs.outbound.sending import Unwanted

    try:
        return await delivering.deliver(channel, channel_id, news, str(current_run().id))
    except Unwanted as why:
        await _call_off(why)


async def _call_off(why: Exception) -> NoReturn:
    """Cancels this run and says why, rather than to fail: nobody need look into it."""
    from runs import services
    from runs.outbound import sending

    log.info(str(why))
    await sending.asked(partial(services.runs_cancel, actor=None), [current_run().id])
    await asyncio.Event().wait()  # the worker is told of it, and stops this
    raise AssertionError("an event that nobody sets")


@task(id="holdfast.chain", queue=own)
async def chain(links: list[LinkIn], payload: dict[str, Any]) -> Any:
    """Tasks one after the other, each with the result of the one before."""
    result: Any = None
    for number, link in enumerate(links):
        called = find(link["task"])
        if called is None:
            raise Abort(f"There is no task {link['task']!r} in the code of this worker; the chain cannot go on.")
        try:
            given = payload if number == 0 else arguments(called, link["fixed"], result)
            child = called_with(called, given)
        except HoldfastError as error:
            raise Abort(str(error)) from error
        result = plain(called, await child)
    return result


@task(id=working.WORKS, queue=own, retry=PATIENT)
def bulk(action: str, runs: int, pace: str, search: str, delay: float | None = None) -> dict[str, Any]:
    """Does something to many runs. What it is given is there to be seen: the job has the scope."""
    del action, runs, pace, search, delay
    return working.work(current_run().id)
