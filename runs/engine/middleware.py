"""Middleware: context managers around every stay of a task's function."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack
from functools import cache
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.utils.module_loading import import_string

from runs.errors import DeclarationError, MiddlewareMisuse

if TYPE_CHECKING:
    from runs.engine.context import ActiveRun

Middleware = Callable[[Any], Any]


@cache
def everywhere() -> tuple[Middleware, ...]:
    """Those of HOLDFAST_MIDDLEWARE, the outermost first. Raises DeclarationError for one that is not there."""
    found = []
    for path in settings.HOLDFAST_MIDDLEWARE:
        try:
            made = import_string(path)
        except ImportError as error:
            raise DeclarationError(
                f"HOLDFAST_MIDDLEWARE names {path!r}, which cannot be imported: {error}. Write the dotted path of a "
                "function, such as shop.tracing.span."
            ) from None
        if not callable(made):
            raise DeclarationError(f"HOLDFAST_MIDDLEWARE names {path!r}, which is no function")
        found.append(made)
    return tuple(found)


def around(run: ActiveRun) -> tuple[Middleware, ...]:
    """Those of a run: everywhere's, and its task's inside them."""
    return (*everywhere(), *run.task.middleware)


async def call_async(run: ActiveRun, middleware: tuple[Middleware, ...], arguments: dict[str, Any]) -> Any:
    """The task's function inside its middleware."""
    async with AsyncExitStack() as stack:
        for make in middleware:
            manager = make(run)
            if hasattr(manager, "__aenter__"):
                await stack.enter_async_context(manager)
            else:
                stack.enter_context(_checked(manager, make, "a context manager"))
        return await run.task.function(**arguments)
    raise _swallowed(run)


def call_sync(run: ActiveRun, middleware: tuple[Middleware, ...], arguments: dict[str, Any]) -> Any:
    """`call_async` of a plain function."""
    with ExitStack() as stack:
        for make in middleware:
            stack.enter_context(_checked(make(run), make, "a plain context manager around a plain function"))
        return run.task.function(**arguments)
    raise _swallowed(run)


def _checked(manager: Any, make: Middleware, what: str) -> Any:
    if not hasattr(manager, "__enter__"):
        raise MiddlewareMisuse(
            f"Middleware {getattr(make, '__qualname__', make)} gave {type(manager).__name__}; it has to be {what}. "
            "Write it with contextlib.contextmanager."
        )
    return manager


def _swallowed(run: ActiveRun) -> MiddlewareMisuse:
    return MiddlewareMisuse(
        f"A middleware of task {run.task_id} swallowed an exception. Raise it again: what a run ends as is not a "
        "middleware's to say."
    )
