"""Tasks with hooks, middleware, progress and metadata. Loaded by path, like `tasks.py`."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any

from runs import Abort, Failure, Retry, current_run, step, task, usage, wait
from tests.support.ledger import gate, note


def started() -> None:
    note("on_start", current_run().id, current_run().attempt)


def succeeded(result: Any) -> None:
    note("on_success", current_run().id, result)


async def failed(failure: Failure) -> None:
    note("on_failure", current_run().id, failure.type, failure.message.replace(" ", "_"))


async def cancelled() -> None:
    note("on_cancel", current_run().id)


def waits(waiting_for: dict[str, Any]) -> None:
    note("on_wait", current_run().id, waiting_for["kind"])


async def resumes() -> None:
    note("on_resume", current_run().id)


ALL = {
    "on_start": started,
    "on_success": succeeded,
    "on_failure": failed,
    "on_cancel": cancelled,
    "on_wait": waits,
    "on_resume": resumes,
}
TWICE = Retry(max_attempts=2, min_delay=0.01, max_delay=0.02)


@step
async def work(how: str) -> str:
    note("work", how)
    if how == "fail":
        raise ConnectionError("no route")
    if how == "abort":
        raise Abort("not worth it")
    return how


@task(id="hooked", retry=TWICE, **ALL)
async def hooked(how: str) -> str:
    await work(how)
    if how == "wait":
        await wait.asignal("go")
    if how == "long":
        await asyncio.sleep(60)
    return how


@task(id="hooked-sync", retry=TWICE, **ALL)
def hooked_sync(how: str) -> str:
    note("work", how)
    if how == "fail":
        raise ConnectionError("no route")
    if how == "wait":
        wait.signal("go")
    if how == "long":
        for _ in range(600):
            time.sleep(0.1)
            tick()
    return how


@step
def tick() -> None:
    pass


@step(retry=TWICE)
async def always_fails() -> None:
    note("failing hook")
    raise ValueError("hook is broken")


@task(id="hooks-that-fail", on_start=always_fails, on_success=always_fails)
async def hooks_that_fail() -> str:
    return "done"


@task(id="hook-follows")
async def follows(after: str) -> None:
    note("follows", after)


def enqueues_and_fails() -> None:
    note("enqueuing hook")
    follows.using(idempotency_key="after", idempotency_scope="run").enqueue(str(current_run().id))
    raise ValueError("after it had enqueued")


@task(id="hook-enqueues", on_success=enqueues_and_fails)
async def hook_enqueues() -> None: ...


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


async def awaits_what_is_cancelled() -> None:
    note("odd", current_run().id)
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


def exits() -> None:
    note("odd", current_run().id)
    sys.exit(3)


async def exits_async() -> None:
    exits()


async def mute() -> None:
    note("odd", current_run().id)
    raise Mute


ODD = {"cancelled": awaits_what_is_cancelled, "exits": exits, "exits-async": exits_async, "mute": mute}
for name, hook in ODD.items():

    @task(id=f"odd-{name}", on_start=hook, on_success=hook, on_wait=hook, on_resume=hook)
    async def odd() -> str:
        await wait.asignal("go")
        return "done"

    @task(id=f"odd-{name}-sync", on_start=hook, on_success=hook)
    def odd_sync() -> str:
        return "done"

    @task(id=f"odd-{name}-isolated", isolation="process", on_success=hook)
    async def odd_isolated() -> str:
        return "done"


@task(id="odd-cancel", on_cancel=awaits_what_is_cancelled)
async def odd_cancel() -> None:
    note("work", current_run().id)
    await asyncio.sleep(60)


def gated(about: Any = None) -> None:
    name = f"{current_run().id}"
    note("hook begins", name)
    while not gate("hook").exists():
        time.sleep(0.02)
    note("hook ends", name)


@task(id="gated-hooks", on_success=gated, on_failure=gated, on_cancel=gated)
async def gated_hooks(how: str) -> str:
    note("work", current_run().id)
    if how == "fail":
        raise ConnectionError("no route")
    if how == "wait":
        await wait.asignal("go")
    return how


@task(id="late", on_failure=failed, run_timeout=3)
async def late(how: str) -> None:
    if how == "wait":
        await wait.asignal("never")
    await asyncio.sleep(60)


@task(id="poor", budget={"cost": 1}, on_cancel=cancelled)
async def poor() -> None:
    @step
    async def spend() -> None:
        usage(cost=1)

    await spend()
    await spend()


# ── middleware ───────────────────────────────────────────────────────────────────────────────────────────────────────

bound: ContextVar[str] = ContextVar("bound", default="")


@contextmanager
def binds(run: Any) -> Iterator[None]:
    token = bound.set(run.task_id)
    note("enters", run.task_id)
    try:
        yield
    except BaseException as error:
        note("leaves with", type(error).__name__)
        raise
    finally:
        bound.reset(token)
    note("leaves")


@asynccontextmanager
async def binds_async(run: Any) -> AsyncIterator[None]:
    note("enters async", bound.get())
    await asyncio.sleep(0)
    yield


@task(id="wrapped", middleware=[binds, binds_async])
async def wrapped(how: str = "") -> str:
    if how == "wait":
        await wait.asignal("go")
    if how == "fail":
        raise ConnectionError("no route")
    return bound.get()


@task(id="wrapped-sync", middleware=[binds])
def wrapped_sync(how: str = "") -> str:
    if how == "wait":
        wait.signal("go")
    return bound.get()


@contextmanager
def swallows(run: Any) -> Iterator[None]:
    try:
        yield
    except Exception:
        note("swallowed")


@task(id="swallowed", middleware=[swallows])
async def swallowed() -> str:
    raise ConnectionError("no route")


# ── progress ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@task(id="progresses")
async def progresses(count: int = 1_000) -> str:
    run = current_run()
    run.set_metadata({"document": "a.pdf", "pages": count})
    for number in range(count):
        run.progress((number + 1) / count, f"page {number + 1} of {count}")
    while not gate("progress").exists():
        await asyncio.sleep(0.02)
    run.set_metadata({"document": "b.pdf"})
    return "read"


@task(id="progresses-badly")
def progresses_badly(value: Any, words: Any = "", metadata: Any = None) -> None:
    if metadata is not None:
        current_run().set_metadata(metadata)
    current_run().progress(value, words)


@task(id="returns-bound")
async def returns_bound() -> str:
    return bound.get()
