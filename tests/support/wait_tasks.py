"""Tasks that wait: for time, signals, tokens, people and other runs. Loaded by path, like `tasks.py`."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import BaseModel

from queues import Queue
from runs import MiB, Retry, RunFailed, WaitTimeout, continue_as_new, current_run, step, task, wait
from tests.support.ledger import first_time, note

one = Queue("one-at-a-time", concurrency_limit=1)


@step
async def did(what: str) -> str:
    note("did", what)
    return what


@step
def did_sync(what: str) -> str:
    note("did", what)
    return what


class Edits(BaseModel):
    title: str
    words: int = 100


@task(id="answered-in-the-nick-of-time")
async def answered_in_the_nick_of_time(kind: str, seconds: float) -> str:
    """What it got is noted in two stays: when it comes, and when its history answers."""
    try:
        if kind == "signal":
            got = str(await wait.asignal("news", timeout=seconds))
        else:
            decision = await wait.aapproval("Now?", timeout=seconds, default="reject")
            got = "in time" if decision.approved else f"rejected by {decision.by}"
    except WaitTimeout:
        got = "nothing"
    note("got", current_run().id, got)
    await wait.asleep(3.5)
    return got


@task(id="sleeps")
async def sleeps(seconds: float) -> float:
    await did("before")
    await wait.asleep(seconds)
    return await wakes()


@step
async def wakes() -> float:
    return time.time()


@task(id="sleeps-sync")
def sleeps_sync(seconds: float) -> str:
    did_sync("before")
    wait.sleep(timedelta(seconds=seconds))
    return did_sync("after")


@task(id="until-past")
async def until_past() -> str:
    await wait.auntil(datetime(2001, 1, 1, tzinfo=UTC))
    return "at once"


@task(id="listens")
async def listens(count: int = 1, timeout: float | None = None) -> list[Any]:
    note("listening")
    found = []
    for _ in range(count):
        try:
            found.append(await wait.asignal("news", type=int, timeout=timeout))
        except WaitTimeout:
            found.append(None)
    return found


@task(id="listens-sync")
def listens_sync() -> Any:
    return wait.signal("news")


@task(id="asks")
async def asks(timeout: float | None = None, default: Any = None, assignee: str | None = None) -> Any:
    decision = await wait.aapproval("Publish?", form=Edits, timeout=timeout, default=default, assignee=assignee)
    return [decision.approved, decision.form and decision.form.title, decision.by, decision.comment]


@task(id="has-token")
async def has_token(timeout: float | None = None) -> Any:
    token = await wait.atoken("payment", type=int, timeout=timeout)
    note("token", token.id, token.url)
    return await token


@task(id="has-token-sync")
def has_token_sync() -> Any:
    token = wait.token("payment")
    note("token", token.id, token.url)
    return token.wait()


@task(id="waits-side-by-side")
async def waits_side_by_side(seconds: float) -> list[Any]:
    async def branch(name: str, pause: float) -> str:
        await did(f"{name}-before")
        await wait.asleep(pause)
        return await did(f"{name}-after")

    return list(
        await asyncio.gather(branch("a", seconds), branch("b", seconds + 0.5), wait.asignal("news"), did("alone"))
    )


@task(id="waits-beside-a-step")
async def waits_beside_a_step() -> list[Any]:
    @step
    async def long() -> str:
        note("long")
        await asyncio.sleep(3)
        return "long"

    return list(await asyncio.gather(wait.asignal("news"), long()))


@task(id="races")
async def races(seconds: float) -> list[Any]:
    won = await wait.afirst(wait.asignal("stop"), wait.asignal("go"), wait.asleep(seconds))
    note("won", won.index)
    later = await wait.asignal("go") if won.index == 0 else None
    return [won.index, won.value, later]


@task(id="races-sync")
def races_sync() -> list[Any]:
    won = wait.first(wait.asignal("stop"), wait.asleep(3600))
    return [won.index, won.value]


@task(id="adds")
async def adds(a: int, b: int) -> int:
    if a == 13:
        raise ValueError("unlucky")
    return a + b


@task(id="parent")
async def parent(count: int, unlucky: bool = False, collect: bool = False) -> Any:
    payloads = [{"a": n, "b": 1} for n in range(count) if unlucky or n != 13]
    found = await adds.aenqueue_many_and_wait(payloads, return_exceptions=collect)
    await did("children are back")
    return [str(x)[:8] if isinstance(x, RunFailed) else x for x in found]


@task(id="parent-sync")
def parent_sync() -> int:
    return adds.enqueue_and_wait(1, 2) + adds.enqueue_and_wait(a=3, b=4)


@task(id="same-queue-child", queue=one)
async def same_queue_child(depth: int) -> int:
    return depth if depth == 0 else 1 + await same_queue_child.aenqueue_and_wait(depth - 1)


@task(id="parent-of-nobody-sync")
def parent_of_nobody_sync() -> int:
    return adds.using(queue_name="no-such-queue").enqueue_and_wait(1, 2)


@task(id="parent-of-nobody")
async def parent_of_nobody() -> int:
    return await adds.using(queue_name="no-such-queue").aenqueue_and_wait(1, 2)


@task(id="parent-of-waiters")
async def parent_of_waiters() -> Any:
    return await asyncio.gather(listens.aenqueue_and_wait(), sleeps.aenqueue_and_wait(3600))


@task(id="works-on")
async def works_on(seconds: float = 30) -> str:
    note("at work", current_run().id)
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        note("cancelled")
        raise
    return "done"


@task(id="works-on-sync")
def works_on_sync(seconds: float = 30) -> str:
    note("at work", current_run().id)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.05)
        did_sync("a bit")
    return "done"


@task(id="active-time", max_duration=2.5)
async def active_time(waits: int) -> str:
    for _ in range(waits):
        await asyncio.sleep(1)
        await wait.asleep(3.5)
    return "in time"


@task(id="bounded", run_timeout=2)
async def bounded(waiting: bool) -> None:
    if waiting:
        await wait.asignal("never")
    note("at work", current_run().id)
    await asyncio.sleep(30)


@task(id="misuses-waits")
def misuses_waits(how: str) -> Any:
    from django.db import transaction

    if how == "transaction":
        with transaction.atomic():
            wait.sleep(100)

    @step
    def inside() -> None:
        wait.sleep(100)

    if how == "step":
        inside()
    if how == "async":
        return "no"
    return None


@task(id="misuses-waits-async")
async def misuses_waits_async() -> None:
    wait.sleep(100)


@task(id="asks-again", retry=Retry(max_attempts=1))
async def asks_again(timeout: float) -> str:
    await did("before")
    answer = await wait.asignal("go", timeout=timeout)
    return f"{await did('after')} {answer}"


@task(id="asks-again-sync", retry=Retry(max_attempts=2, min_delay=0.1, max_delay=0.2))
def asks_again_sync(timeout: float) -> str:
    if current_run().attempt > 1:
        note("again", current_run().attempt)
    first = wait.first(wait.asignal("go", timeout=timeout), wait.aapproval("Go?", timeout=timeout + 60))
    return f"{did_sync('after')} {first.index}"


@task(id="handles-silence", retry=Retry(max_attempts=2, min_delay=0.1, max_delay=0.2))
async def handles_silence() -> str:
    try:
        await wait.asignal("go", timeout=0.2)
    except WaitTimeout:
        await did("escalated")
    if current_run().attempt == 1:
        raise ValueError("once")
    return await did("after")


@task(id="swaps-children")
async def swaps_children() -> list[float]:
    order = (2.5, 5) if first_time(f"order-{current_run().id}") else (5, 2.5)
    return list(await asyncio.gather(*(sleeps.aenqueue_and_wait(seconds=seconds) for seconds in order)))


@task(id="fails-until", retry=Retry(max_attempts=1))
async def fails_until(path: str) -> str:
    if not os.path.exists(path):
        raise ValueError("not yet")
    return "there"


@task(id="needs-a-child", retry=Retry(max_attempts=1))
async def needs_a_child(path: str) -> str:
    await did("before")
    return await fails_until.aenqueue_and_wait(path=path)


@task(id="waits-beside-trouble", retry=Retry(max_attempts=1))
async def waits_beside_trouble(path: str) -> list[Any]:
    async def trouble() -> str:
        await wait.asleep(0.2)
        if not os.path.exists(path):
            raise ValueError("not yet")
        return "there"

    return list(await asyncio.gather(trouble(), wait.asignal("go")))


@task(id="counts-on", retry=Retry(max_attempts=1))
async def counts_on(left: int, total: int = 0) -> int:
    assert total == await kept(total), "a step of another round is not its answer"
    if left:
        continue_as_new(left - 1, total=total + left)
    return total


@step
async def kept(total: int) -> int:
    note("round", total)
    return total


@task(id="counts-on-apart", isolation="process", memory_limit=400 * MiB)
async def counts_on_apart(left: int, total: int = 0) -> int:
    assert total == await kept(total)
    if left:
        continue_as_new(left=left - 1, total=total + left)
    return total


@task(id="counts-on-sync")
def counts_on_sync(left: int, total: int = 0) -> int:
    did_sync(f"round-{left}")
    if left:
        continue_as_new(left=left - 1, total=total + left)
    return total


@task(id="continues-badly")
async def continues_badly(how: str) -> None:
    if how == "payload":
        continue_as_new(how=5)

    @step
    async def inside() -> None:
        continue_as_new(how="never")

    @step
    async def long() -> None:
        await asyncio.sleep(30)

    if how == "branch":
        branch = asyncio.ensure_future(long())
        await asyncio.sleep(0)
        assert not branch.done()
        continue_as_new(how="never")
    await inside()


@task(id="continues-in-a-transaction")
def continues_in_a_transaction() -> None:
    from django.db import transaction

    with transaction.atomic():
        continue_as_new()


@task(id="waits-for-a-count")
async def waits_for_a_count() -> int:
    return await counts_on.aenqueue_and_wait(left=3)


@task(id="hears-on")
async def hears_on(left: int, heard: list[int]) -> list[int]:
    """Each round takes two words, and begins to wait for a third that is for the next one."""
    if left:
        heard = [*heard, *await asyncio.gather(wait.asignal("word"), wait.asignal("word"))]
        branch = asyncio.ensure_future(wait.asignal("word"))
        await asyncio.sleep(0)
        assert not branch.done()
        continue_as_new(left=left - 1, heard=heard)
    return heard


@task(id="tokens-on")
async def tokens_on(left: int, tokens: list[str]) -> list[str]:
    token = await wait.atoken("next")
    note("token", token.id, left)
    await token
    if left:
        continue_as_new(left=left - 1, tokens=[*tokens, str(token.id)])
    return [*tokens, str(token.id)]


@task(id="loops-on", run_timeout=3)
async def loops_on(seconds: float, left: int = 5) -> str:
    """Each round takes some of the time that the first has for itself."""
    await asyncio.sleep(seconds)
    if left:
        continue_as_new(seconds=seconds, left=left - 1)
    return "over"


@task(id="fails-on", retry=Retry(max_attempts=2, min_delay=0.01, max_delay=0.02))
async def fails_on(left: int) -> str:
    if current_run().attempt % 2:
        raise ValueError("once in each round")
    if left:
        continue_as_new(left=left - 1)
    return "over"


async def noted(*_: object) -> None:
    note("hook", current_run().id)


@task(id="hooked-on", on_start=noted, on_success=noted)
async def hooked_on(left: int) -> str:
    if left:
        continue_as_new(left=left - 1)
    return "over"


@task(id="declares-signals", signals=["paid"])
async def declares_signals() -> Any:
    return await wait.asignal("paid")
