"""Tasks that call a service which may be away. Loaded by path, like `tasks.py`."""

from __future__ import annotations

import asyncio
import os

from queues import Breaker, Queue
from runs import Abort, Retry, step, task

AGAIN = Retry(max_attempts=50, min_delay=0.2, max_delay=1.0)
supplier = Breaker("supplier", failure_rate=0.2, min_calls=10, window=2, cooldown=1.5, probes=3)
thrifty = Breaker("thrifty", failure_rate=1.0, min_calls=10_000, window=60, cooldown=4.0, retry_budget=0.2)
sluggish = Breaker("sluggish", min_calls=5, window=30, slow=0.05, slow_rate=0.5, cooldown=60)


async def ask(path: str) -> str:
    """The service's answer. Raises ConnectionError when it is away."""
    host, port = os.environ["TESTS_SERVICE"].split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(f"{path}\n".encode())
        answer = (await reader.readline()).decode().strip()
    finally:
        writer.close()
    if answer != "ok":
        raise ConnectionError(f"the service says {answer!r}")
    return answer


@step(breaker=supplier, retry=AGAIN)
async def call(path: str) -> str:
    return await ask(path)


@step(retry=AGAIN)
async def call_unprotected(path: str) -> str:
    return await ask(path)


@task(id="calls-supplier")
async def calls_supplier(number: int) -> str:
    return await call(f"guarded {number}")


@task(id="calls-unprotected")
async def calls_unprotected(number: int) -> str:
    return await call_unprotected(f"bare {number}")


@step(breaker=supplier, retry=AGAIN)
def call_sync(path: str) -> str:
    return asyncio.run(ask(path))


@task(id="calls-supplier-sync")
def calls_supplier_sync(number: int) -> str:
    return call_sync(f"sync {number}")


@task(id="calls-supplier-apart", isolation="process")
async def calls_supplier_apart(number: int) -> str:
    return await call(f"apart {number}")


@step(breaker=thrifty, retry=Retry(max_attempts=50, factor=10, min_delay=0.2, max_delay=1.9))
async def call_thriftily(path: str) -> str:
    return await ask(path)


@task(id="calls-thriftily")
async def calls_thriftily(number: int) -> str:
    return await call_thriftily(f"thrifty {number}")


@step(breaker=sluggish)
async def call_slowly(seconds: float) -> None:
    await asyncio.sleep(seconds)


@task(id="calls-slowly")
async def calls_slowly(seconds: float) -> None:
    await call_slowly(seconds)


@step(breaker="aborting")
async def refuse() -> None:
    raise Abort("the input is wrong")


@task(id="calls-and-aborts")
async def calls_and_aborts() -> None:
    await refuse()


guarding = Breaker("guarding", failure_rate=0.2, min_calls=5, window=5, cooldown=1.5, probes=3)
guarded = Queue("guarded", breaker=guarding)


@task(id="guarded", queue=guarded, retry=AGAIN)
async def of_a_guarded_queue(number: int) -> str:
    return await ask(f"queue {number}")


@task(id="guarded-sync", queue=guarded, retry=AGAIN)
def of_a_guarded_queue_sync(number: int) -> str:
    return asyncio.run(ask(f"queue {number}"))


@task(id="guarded-apart", queue=guarded, retry=AGAIN, isolation="process")
def of_a_guarded_queue_apart(number: int) -> str:
    return asyncio.run(ask(f"queue {number}"))


@task(id="aborts-in-a-guarded-queue", queue=guarded)
async def aborts_in_a_guarded_queue() -> None:
    raise Abort("it says something of the run")


@task(id="dies-in-a-guarded-queue", queue=guarded, isolation="process", retry=Retry(max_attempts=1))
def dies_in_a_guarded_queue() -> None:
    os._exit(3)
