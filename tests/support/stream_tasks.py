"""Tasks that stream. Loaded by path, like `tasks.py`."""

from __future__ import annotations

import os
from typing import Any

from runs import Retry, acheckpoint, current_run, step, stream, task
from tests.support.ledger import first_time, hold


@task(id="counts-aloud")
async def counts_aloud(count: int, name: str = "numbers") -> int:
    out = stream(name)
    for number in range(count):
        out.send(number)
    out.close()
    return count


@task(id="counts-aloud-sync")
def counts_aloud_sync(count: int) -> int:
    with stream("numbers") as out:
        for number in range(count):
            out.send(number)
    return count


@task(id="says-in-turns")
def says_in_turns(words: list[Any], gate: str = "") -> None:
    """Sends the first word, and each other one when the test opens its gate."""
    out = stream("answer")
    for number, word in enumerate(words):
        if number and gate:
            hold(f"{gate}-{number}")
        out.send(word)


@step
async def writes(text: str) -> str:
    out = stream("answer")
    for letter in text:
        out.send(letter)
    return text


@step(retry=Retry(max_attempts=3, min_delay=0.01, max_delay=0.02))
async def stammers(text: str) -> str:
    out = stream("answer")
    out.send(text[:2])
    if first_time(f"stammers-{current_run().id}"):
        raise ConnectionError("the first try breaks off")
    out.send(text[2:])
    return text


@task(id="tells-twice", retry=Retry(max_attempts=2, min_delay=0.01, max_delay=0.02))
async def tells_twice() -> None:
    """Streams inside and between steps; the first attempt fails in the middle."""
    out = stream("answer")
    out.send("[")
    await writes("ab")
    out.send("|")
    await writes("cd")
    out.send(f"lost{current_run().attempt}" if current_run().attempt == 1 else "kept")
    if current_run().attempt == 1:
        raise ConnectionError("the first attempt fails on purpose")
    await writes("ef")
    out.send("]")
    out.close()


@task(id="stammering")
async def stammering() -> None:
    stream("answer").send("<")
    await stammers("hello")
    stream("answer").send(">")


@task(id="keeps-its-place", retry=Retry(max_attempts=2, min_delay=0.01, max_delay=0.02))
async def keeps_its_place() -> None:
    """Checkpoints instead of steps."""
    out = stream("answer")
    begin = current_run().state or 0
    for number in range(begin, 6):
        out.send(str(number))
        if number == 4 and current_run().attempt == 1:
            raise ConnectionError("again from the last checkpoint")
        if number % 2:
            await acheckpoint(number + 1)


@task(id="checkpoints-between-steps", retry=Retry(max_attempts=2, min_delay=0.01, max_delay=0.02))
async def checkpoints_between_steps() -> None:
    """A checkpoint is saved again while the run replays, and must not end its silence."""
    out = stream("answer")
    await writes("a")
    out.send("-")
    await acheckpoint("half way")
    await writes("b")
    out.send("+")
    await writes("c")
    out.send("!")
    if current_run().attempt == 1:
        raise ConnectionError("the first attempt fails on purpose")


@step(retry=Retry(max_attempts=2, min_delay=2.5, max_delay=2.5, jitter=False))
async def much_later(text: str) -> str:
    if first_time(f"later-{current_run().id}"):
        stream("answer").send("broken")
        raise ConnectionError("come back later")
    stream("answer").send(text)
    return text


@task(id="comes-back")
async def comes_back() -> None:
    """Is put down and entered again within one attempt."""
    stream("answer").send("before ")
    await much_later("after")


@task(id="sends-too-much")
async def sends_too_much() -> None:
    stream("answer").send("x" * 100_000)


@step
def dies_once(text: str) -> str:
    out = stream("answer")
    out.send(text[:3])
    if first_time(f"dies-{current_run().id}"):
        hold(f"dies-{current_run().id}")  # until the test has seen what was sent
        os.kill(os.getpid(), 9)
    out.send(text[3:])
    return text


@task(id="dies-while-it-writes")
def dies_while_it_writes() -> None:
    stream("answer").send("<")
    dies_once("kelp holds")
    stream("answer").send(">")
