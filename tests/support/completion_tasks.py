"""Tasks with steps that somebody outside finishes. Loaded by path, like `tasks.py`."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from pydantic import BaseModel

from runs import Abort, CompletionFailed, MiB, Retry, WaitTimeout, acompletion, completion, step, task, wait
from runs.sdk.completion import Completion

AGAIN = Retry(max_attempts=3, min_delay=0.05, max_delay=0.1)


class Film(BaseModel):
    seconds: int


def submit(scene: str, later: Completion) -> None:
    """Stands for the call of a render farm: the test is the farm, and reads the ledger."""
    line = f"{time.time():.4f} {os.getpid()} submit {scene} {later.id} {later.url}\n"
    with open(os.environ["TESTS_LEDGER"], "ab", buffering=0) as ledger:
        ledger.write(line.encode())


@step(retry=AGAIN)
async def render(scene: str, timeout: float | None = None) -> Film:
    later = await acompletion(timeout=timeout)
    assert (await acompletion(timeout=timeout)).id == later.id, "one try has one token"
    submit(scene, later)
    later.hand_over()


@step(retry=AGAIN)
def render_sync(scene: str, timeout: float | None = None) -> Film:
    later = completion(timeout=timeout)
    submit(scene, later)
    later.hand_over()


@task(id="renders")
async def renders(scene: str, timeout: float | None = None) -> int:
    return (await render(scene, timeout)).seconds


@task(id="renders-sync")
def renders_sync(scene: str, timeout: float | None = None) -> int:
    return render_sync(scene, timeout).seconds


@task(id="renders-apart", isolation="process", memory_limit=400 * MiB)
async def renders_apart(scene: str, timeout: float | None = None) -> int:
    return (await render(scene, timeout)).seconds


@task(id="renders-many")
async def renders_many(scenes: list[str]) -> list[int]:
    films = await asyncio.gather(*(render.using(key=scene)(scene) for scene in scenes), wait.asleep(3))
    return [film.seconds for film in films[:-1]]


@task(id="renders-and-tells")
async def renders_and_tells(scene: str, timeout: float) -> str:
    once = render.using(retry=Retry())
    try:
        return str((await once(scene, timeout)).seconds)
    except (CompletionFailed, WaitTimeout, Abort) as error:
        return f"{type(error).__name__}: {error}"


@step
async def knows_at_once(scene: str) -> Film:
    submit(scene, await acompletion())
    return Film(seconds=1)  # the farm had it in store


@task(id="renders-what-is-known")
async def renders_what_is_known(scene: str) -> int:
    return (await knows_at_once(scene)).seconds


@task(id="pays-by-token", retry=Retry(max_attempts=2, min_delay=0.05, max_delay=0.1))
async def pays_by_token() -> Any:
    token = await wait.atoken("payment", type=int)
    line = f"{time.time():.4f} {os.getpid()} submit payment {token.id} {token.url}\n"
    with open(os.environ["TESTS_LEDGER"], "ab", buffering=0) as ledger:
        ledger.write(line.encode())
    return await token


@task(id="misuses-completion")
def misuses_completion(how: str) -> Any:
    @step(safety="unsafe")
    def unsafe() -> None:
        completion()

    @step(transaction=True)
    def transacted() -> None:
        completion()

    @step
    def elsewhere() -> None:
        kept.append(completion())

    kept: list[Completion] = []
    if how == "outside a step":
        completion()
    elif how == "unsafe":
        unsafe()
    elif how == "transaction":
        transacted()
    elif how == "elsewhere":
        elsewhere()
        kept[0].hand_over()
