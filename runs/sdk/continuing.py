"""`continue_as_new`: a loop that may live for years, with a history as short as one round of it.

@task
async def watch(account: str, seen: int = 0) -> None:
    for _ in range(100):
        seen = await look(account, seen)
        await wait.asleep(60)
    continue_as_new(account=account, seen=seen)
"""

from __future__ import annotations

from typing import Any, NoReturn

from runs.errors import NotInRun, StepMisuse
from runs.sdk.context import current, current_step


def continue_as_new(*args: Any, **kwargs: Any) -> NoReturn:
    """Ends this round of the run, and begins the next one: the function is called anew with this payload, and no
    history. It stays the same run: its id, handles, tags, budget and key, whoever waits for it, and signals that nobody
    has read. Waits that are open are given up. The result of the run is that of its last round.

    Raises:
        NotInRun, StepMisuse: called outside a run, or inside a step.
        InvalidPayload, PayloadTooLarge: the payload does not fit the task. The run fails.
    """
    run = current.get()
    if run is None:
        raise NotInRun(
            "continue_as_new() was called outside a run. Call it inside a task that a worker executes; in a unit test, "
            "run the task with holdfast.testing.run_inline."
        )
    if step := current_step.get():
        raise StepMisuse(
            f"continue_as_new() was called inside step {step}. Let the step return, and call it in the task."
        )
    from runs import enqueue
    from runs.sdk.task import registry

    task = registry.get(run.task_id)
    assert task is not None, "it is being executed"
    payload = task.encode_payload(task.bind(args, kwargs))
    enqueue.check_size(payload)
    run.continue_as_new(payload)
