"""Tasks whose attempts fail: some come further each time, some do not. Loaded by path, like `tasks.py`."""

from __future__ import annotations

from typing import Any

from runs import Retry, checkpoint, current_run, step, task, usage, wait
from tests.support.ledger import first_time, hold, note

FAST = Retry(max_attempts=6, min_delay=0.01, max_delay=0.02)


@step
def page(number: int) -> int:
    note("page", number)
    usage(cost=1)
    return number


@step
def pays() -> None:
    usage(cost=0.5, tokens_in=100)
    raise ConnectionError("the gateway does not answer")


@task(id="gains", retry=FAST)
def gains(hold_at: int = 3) -> int:
    """Each attempt finishes one page more. The third is held until the gate `retries` opens, the fourth is the last."""
    attempt = current_run().attempt
    if attempt == hold_at:
        hold("retries")
    for number in range(1, attempt + 1):
        page(number)
    if attempt <= hold_at:
        raise ConnectionError("the next page is not there yet")
    return attempt


@task(id="burns", retry=FAST)
def burns(hold_at: int = 3) -> str:
    """Each attempt pays for the same error again."""
    page(1)
    attempt = current_run().attempt
    checkpoint({"begun": True})
    if attempt == hold_at:
        hold("retries")
    if attempt <= hold_at:
        pays()
    return "done"


@task(id="tries-much-later", retry=Retry(max_attempts=3, min_delay=600, max_delay=600, jitter=False))
def tries_much_later() -> str:
    if current_run().attempt == 1:
        raise TimeoutError("not today")
    return "at last"


@step
def says(word: str) -> str:
    note("said", word)
    return word


@step(safety="unsafe")
def charges() -> str:
    note("charged")
    return "receipt"


@task(id="forks")
def forks() -> dict[str, Any]:
    state = current_run().state or {"rate": 1}
    first = says("first")
    checkpoint(state)
    second = says("second")
    third = says(f"third at {state['rate']}")
    return {"said": [first, second, third], "rate": state["rate"]}


@task(id="forks-unsafe")
def forks_unsafe() -> list[str]:
    return [says("before"), charges(), says("after")]


@task(id="forks-after-trouble", retry=FAST)
def forks_after_trouble() -> list[Any]:
    """Its first step's first try fails, its first attempt too, and it waits for a signal."""
    first = stumbles()
    if first_time(f"trouble-{current_run().id}"):
        raise ConnectionError("once")
    return [first, wait.signal("go", type=int), says("end")]


@step(retry=Retry(max_attempts=2, min_delay=0.01, max_delay=0.02))
def stumbles() -> str:
    if first_time("stumble"):
        raise TimeoutError("the first try")
    note("said", "stumbled")
    return "stumbled"
