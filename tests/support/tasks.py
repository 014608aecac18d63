"""Tasks for the tests. Worker processes load this file by HOLDFAST_TASKS; their side effects go into a ledger."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from pathlib import Path
from typing import Any

from queues import Queue
from runs import Abort, Retry, acheckpoint, checkpoint, current_run, log, step, task
from tests.support.ledger import first_time, hold, note

narrow = Queue("narrow", concurrency_limit=3)


@step
async def brick(run: str, number: int, seconds: float) -> int:
    note("begin", run, number)
    await asyncio.sleep(seconds)
    note("end", run, number)
    return number


@task(id="wall")
async def wall(bricks: int = 5, seconds: float = 0.1) -> list[int]:
    run = str(current_run().id)
    return [await brick(run, number, seconds) for number in range(bricks)]


@step
def stone(run: str, number: int, seconds: float) -> int:
    note("begin", run, number)
    time.sleep(seconds)
    note("end", run, number)
    return number


@task(id="dam")
def dam(stones: int = 5, seconds: float = 0.1) -> list[int]:
    run = str(current_run().id)
    return [stone(run, number, seconds) for number in range(stones)]


@task(id="gated")
def gated(gate: str) -> str:
    note("waiting", current_run().id)
    hold(gate)
    return gate


@task(id="narrow-job", queue=narrow)
async def narrow_job(seconds: float = 0.05) -> None:
    run = current_run().id
    note("enter", run)
    await asyncio.sleep(seconds)
    note("leave", run)


@task(id="echo")
async def echo(value: Any = None) -> Any:
    return value


@task(id="echo-sync")
def echo_sync(value: Any = None) -> Any:
    return value


@task(id="typed")
async def typed(count: int, name: str = "x") -> dict[str, int]:
    return {name: count}


@task(id="second-time-lucky", retry=Retry(max_attempts=3, min_delay=0.05, max_delay=0.1))
async def second_time_lucky() -> int:
    first = await brick(str(current_run().id), 1, 0)
    await acheckpoint({"first": first})
    if current_run().attempt == 1:
        raise ConnectionError("the first attempt fails on purpose")
    state = current_run().state
    assert state is not None
    return int(state["first"]) + 41


@task(id="never-lucky", retry=Retry(max_attempts=3, min_delay=0.05, max_delay=0.1))
async def never_lucky() -> None:
    note("attempt", current_run().attempt)
    raise ConnectionError("never")


@task(id="aborts", retry=Retry(max_attempts=5, min_delay=0.05, max_delay=0.1))
async def aborts() -> None:
    note("attempt", current_run().attempt)
    raise Abort("no use")


@step(retry=Retry(max_attempts=3, min_delay=0.01, max_delay=0.02))
async def wobbly(run: str, fail: int) -> int:
    with open(os.environ["TESTS_LEDGER"], encoding="utf-8") as ledger:
        tried = sum(f"wobbly {run}" in line for line in ledger) if os.path.exists(os.environ["TESTS_LEDGER"]) else 0
    note("wobbly", run)
    if tried < fail:
        raise TimeoutError(f"try {tried + 1} fails")
    return tried


@task(id="wobbles")
async def wobbles(fail: int) -> int:
    note("wobbles")
    return await wobbly(str(current_run().id), fail)


@step(retry=Retry(max_attempts=3, min_delay=3, max_delay=3, jitter=False))
async def patient(run: str) -> int:
    note("patient", run)
    if current_run().attempt == 1 and not Path(os.environ["TESTS_LEDGER"] + run).exists():
        Path(os.environ["TESTS_LEDGER"] + run).touch()
        raise TimeoutError("come back later")
    return current_run().attempt


@task(id="waits-for-its-step")
async def waits_for_its_step() -> int:
    return await patient(str(current_run().id))


@task(id="talks")
async def talks() -> None:
    log.info("by log", number=1)
    print("by print")
    logging.getLogger("library.of.theirs").warning("by logging %s", 3)
    await speaking_step()


@step
async def speaking_step() -> None:
    log.error("inside a step")


@task(id="talks-sync")
def talks_sync() -> None:
    print("one\ntwo")
    print("no newline", end="")


@task(id="remembers", retry=Retry(max_attempts=2, min_delay=0.01, max_delay=0.02))
def remembers() -> list[Any]:
    before = current_run().state
    checkpoint({"attempt": current_run().attempt})
    if current_run().attempt == 1:
        raise ValueError("again")
    return [before, current_run().state]


@task(id="gathers", retry=Retry(max_attempts=2, min_delay=0.01, max_delay=0.02))
async def gathers(width: int = 5) -> list[int]:
    run = str(current_run().id)
    found = await asyncio.gather(*(brick(run, number, 0.01) for number in range(width)))
    if current_run().attempt == 1:
        raise ValueError("again, and no brick twice")
    return list(found)


@task(id="too-long", max_duration=0.2)
async def too_long() -> None:
    await asyncio.sleep(30)


@task(id="unstorable")
async def unstorable() -> Any:
    return {"deep": [1, {"here": object()}]}


@task(id="unstorable-state")
def unstorable_state() -> None:
    checkpoint({"rows": [{"at": object()}]})


@step
def counted() -> list[dict[str, int]]:
    note("counted")
    return [{"n": 1}, {"n": "many"}]  # type: ignore[dict-item]  # as a service's answer might be


@step(transaction=True)
def counted_in_a_transaction() -> int:
    return "many"  # type: ignore[return-value]


@task(id="step-says-otherwise")
def step_says_otherwise(transaction: bool = False) -> None:
    counted_in_a_transaction() if transaction else counted()


@step(retry=Retry(max_attempts=2, min_delay=2.5, max_delay=2.5))
async def fails_first() -> int:
    note("tried")
    if first_time("fails-first"):
        raise ConnectionError("not yet")
    return 7


@task(id="has-a-loop-of-its-own")
def has_a_loop_of_its_own() -> int:
    async def work() -> int:
        return await fails_first()

    return asyncio.run(work())


@task(id="says-otherwise")
async def says_otherwise() -> int:
    return "many"  # type: ignore[return-value]


@task(id="killer", retry=Retry(max_attempts=1))
def killer() -> None:
    note("killed", current_run().attempt)
    os.kill(os.getpid(), 9)


@task(id="exits")
def exits() -> None:
    raise SystemExit(7)


@task(id="enqueues-keyed")
async def enqueues_keyed() -> list[str]:
    keyed = echo.using(idempotency_key="one", idempotency_scope="run")
    return [str((await keyed.aenqueue("x")).id) for _ in range(2)]


@task(id="prices")
async def prices(article: str) -> dict[str, Any]:
    return {"article": article, "price": len(article)}


@task(id="doubles")
def doubles(article: str, price: int, factor: int = 2) -> int:
    return price * factor


@task(id="announces", events=["order.paid", "order.shipped"])
async def announces(text: Any, loud: bool = False) -> str:
    return f"{text}!" if loud else f"{text}"


@task(id="counts-orders", events=["order.*"])
async def counts_orders(number: int) -> int:
    note("order", number)
    return number


@task(id="fails-once-by-hand")
async def fails_once_by_hand(value: int) -> int:
    note("link", value)
    if not Path(os.environ["TESTS_LEDGER"] + "-mended").exists():
        raise ConnectionError("not yet")
    return value + 1
