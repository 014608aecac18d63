"""Which asyncio tasks of a run wait for others of its tasks, and which for something that comes by itself.

A task that has started others is at rest only while it waits for them. One that sleeps by `asyncio.sleep`, calls a
service or works in a thread goes on by itself: a run that was put down meanwhile would do that again from the
beginning, or would never, if nobody answers the wait of the other branch. asyncio does not tell the two apart, so what
a task hangs in is looked at. What is not known for sure counts as going on by itself: the run then stays in its worker
for longer than it has to, and loses nothing.
"""

from __future__ import annotations

import asyncio
import asyncio.locks
import asyncio.queues
import asyncio.taskgroups
import asyncio.tasks
from types import CodeType
from typing import Any, Final

#: Code of asyncio's that waits for tasks.
_OF_TASKS: Final = frozenset({asyncio.tasks.__file__, asyncio.taskgroups.__file__})
#: Code of asyncio's that waits for whoever uses the same queue, lock or event; in libraries, for what a socket brings.
_SHARED: Final = frozenset({asyncio.queues.__file__, asyncio.locks.__file__})
_INSTALLED: Final = ("site-packages", "dist-packages")


def moves(task: asyncio.Task[Any]) -> bool:
    """What it waits for has just been done: it goes on in the next turn of the event loop."""
    waits_for = hangs_in(task)
    return waits_for is None or waits_for.done()


def hangs_in(task: asyncio.Task[Any]) -> asyncio.Future[Any] | None:
    found: asyncio.Future[Any] | None = getattr(task, "_fut_waiter", None)  # of CPython's tasks, under every event loop
    return found


def waits_for_tasks(task: asyncio.Task[Any]) -> bool:
    """True when it is sure that nothing but other tasks of the run lets this one go on."""
    if _is_of_tasks(hangs_in(task)):
        return True
    codes = _codes(task)
    if not codes or codes[-1] is asyncio.sleep.__code__:
        return False
    of_asyncio: set[str] = set()
    while codes and codes[-1].co_filename in _OF_TASKS | _SHARED:
        of_asyncio.add(codes.pop().co_filename)
    by_library = bool(codes) and any(part in codes[-1].co_filename for part in _INSTALLED)
    return bool(of_asyncio) and not (by_library and of_asyncio & _SHARED)


def _is_of_tasks(future: Any) -> bool:
    """A task, a gathering of tasks, or the shield of one."""
    if isinstance(future, asyncio.Task):
        return True
    if (gathered := getattr(future, "_children", None)) is not None:
        return any(_is_of_tasks(child) for child in gathered)
    for callback, _ in getattr(future, "_callbacks", None) or ():
        if getattr(callback, "__qualname__", "") == "shield.<locals>._outer_done_callback":
            return any(isinstance(cell.cell_contents, asyncio.Task) for cell in callback.__closure__ or ())
    return False


def _codes(task: asyncio.Task[Any]) -> list[CodeType]:
    """The code of its coroutine, of the one which that one awaits, and so on."""
    found: list[CodeType] = []
    awaited: Any = task.get_coro()
    while awaited is not None:
        code = getattr(awaited, "cr_code", None) or getattr(awaited, "gi_code", None)
        if code is not None:
            found.append(code)
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)
    return found
