"""What `@task` and `@step` are written over and given: what cannot work is refused where it stands, at import."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from queues.declare import Queue
from runs.errors import DeclarationError
from runs.sdk.retry import NO_RETRY, Retry


def checked_function(found: Any, decorator: str, naming: str) -> None:
    """Raises DeclarationError unless `@task` or `@step` (`decorator`) can stand over it; `naming` is the decorator's
    argument for a name."""
    from runs.sdk.step import Step
    from runs.sdk.task import Task

    if isinstance(found, str):
        raise DeclarationError(f'{decorator}({found!r:.60}): a name has to be said; write {decorator}({naming}="…")')
    if isinstance(found, Task | Step):
        what = f"task {found.id!r}" if isinstance(found, Task) else f"step {found.name!r}"
        raise DeclarationError(
            f"{decorator} stands over {what}. Write one decorator over each function, and call the step in the task."
        )
    name = getattr(found, "__name__", None)
    if isinstance(found, type) or not callable(found) or not isinstance(name, str):
        raise DeclarationError(f"{decorator} stands over {found!r:.80}; write it over a function, `def` or `async def`")
    if inspect.isgeneratorfunction(found) or inspect.isasyncgenfunction(found):
        raise DeclarationError(
            f"{decorator} {name!r}: it yields, and what it yields would reach nobody. Return the whole, or send output "
            "while it works: stream(name).send(…)."
        )
    first = next(iter(inspect.signature(found).parameters.values()), None)
    if first is not None and first.name in ("self", "cls") and first.annotation is first.empty:
        raise DeclarationError(
            f"{decorator} {name!r}: it is a method, and whoever runs it again has no object to call it on. Write a "
            "function at module level, and give it what it needs as arguments."
        )


def retry_of(value: Any, where: str) -> Retry:
    """The policy; none is one try. Raises DeclarationError."""
    if value is None:
        return NO_RETRY
    if not isinstance(value, Retry):
        raise DeclarationError(f"{where}: retry is {value!r:.60}; write retry=Retry(max_attempts=3)")
    return value


def queue_of(value: Any, unless: Queue, where: str) -> Queue:
    """The queue; `unless` it is given. Raises DeclarationError."""
    if value is None:
        return unless
    if not isinstance(value, Queue):
        raise DeclarationError(f'{where}: queue is {value!r:.60}; write queue=Queue("name")')
    return value


def middleware_of(value: Any, where: str) -> tuple[Callable[[Any], Any], ...]:
    """The context managers. Raises DeclarationError."""
    found = tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else (None,)
    if not all(callable(one) for one in found):
        raise DeclarationError(f"{where}: middleware is {value!r:.60}; write a list of functions, such as [bind]")
    return found


def names_of(value: Any) -> list[Any] | None:
    """What a list of names has; None for what is no list: a lone text would be taken for its letters."""
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str) else None
