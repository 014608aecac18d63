"""Calling a function of django-tasks in a worker: its context, its JSON result, and the package's signals.

`task_started` is sent when an attempt begins; `task_finished` when the function has returned, or has raised and no
attempt is left. Both come from the worker, before the outcome is committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.db import InterfaceError, OperationalError, connection
from django.dispatch import Signal
from django.utils import timezone
from django_tasks import TaskContext, TaskResult, TaskResultStatus
from django_tasks.base import TaskError
from django_tasks.exceptions import InvalidTaskBackendError
from django_tasks.signals import task_finished, task_started
from django_tasks.utils import get_exception_traceback, get_module_path, normalize_json

from runs.djangotasks import results
from runs.djangotasks.backend import HoldfastBackend
from runs.sdk.context import current

if TYPE_CHECKING:
    from runs.djangotasks.carried import Carried

#: The package's own line in the log: the one receiver that each of its signals has, and that needs no rows.
_OWN_RECEIVERS = 1


def call_sync(carried: Carried, args: list[Any], kwargs: Mapping[str, Any]) -> Any:
    """A plain function, in this thread."""
    call = Call(carried)
    if call.needs_rows:
        call.read()
    try:
        if call.is_new:
            task_started.send(call.sender, task_result=call.result)
        value = normalize_json(carried.declared.func(*call.context, *args, **kwargs))
    except BaseException as error:
        if call.is_over(error):
            task_finished.send_robust(call.sender, task_result=call.failed(error))
        raise
    task_finished.send_robust(call.sender, task_result=call.succeeded(value))
    return value


async def call_async(carried: Carried, args: list[Any], kwargs: Mapping[str, Any]) -> Any:
    """A coroutine function, on the event loop; receivers that are plain functions run in a thread."""
    call = Call(carried)
    if call.needs_rows:
        await sync_to_async(call.read)()
    try:
        if call.is_new:
            await call.tell(task_started, call.result)
        value = normalize_json(await carried.declared.func(*call.context, *args, **kwargs))
    except BaseException as error:
        if call.is_over(error):
            await call.tell(task_finished, call.failed(error), robust=True)
        raise
    await call.tell(task_finished, call.succeeded(value), robust=True)
    return value


class Call:
    """One stay of a run."""

    def __init__(self, carried: Carried) -> None:
        self.carried = carried
        self.run: Any = current.get()  # the engine's own, which knows more than task code may
        self.result: TaskResult[Any] = results.in_hand(self.run, carried.declared)

    @property
    def sender(self) -> type:
        """The backend's class, as the package has it. The settings here may not know the alias (any more)."""
        try:
            return type(self.result.task.get_backend())
        except InvalidTaskBackendError:
            return HoldfastBackend

    @property
    def is_new(self) -> bool:
        """An attempt that goes on after a wait has been announced."""
        return self.run.started.active is None

    @property
    def needs_rows(self) -> bool:
        """Only who looks at the result closely pays for reading it."""
        return self.carried.declared.takes_context or any(
            len(signal.receivers) > _OWN_RECEIVERS for signal in (task_started, task_finished)
        )

    @property
    def context(self) -> tuple[TaskContext, ...]:
        return (TaskContext(task_result=self.result),) if self.carried.declared.takes_context else ()

    def read(self) -> None:
        """The result with all that the database knows. A connection that broke since it was last used is no reason to
        fail an attempt: a new one is asked once more."""
        try:
            self.result = results.fetch(self.result.id)
        except (OperationalError, InterfaceError):
            connection.close()
            self.result = results.fetch(self.result.id)

    async def tell(self, signal: Signal, result: TaskResult[Any], *, robust: bool = False) -> None:
        """Sends a signal from the event loop. The package's line in the log alone is not worth a thread, for which a
        run would have to wait while another one's ORM is in it."""
        if self.needs_rows:
            await (signal.asend_robust if robust else signal.asend)(self.sender, task_result=result)
        else:
            (signal.send_robust if robust else signal.send)(self.sender, task_result=result)

    def is_over(self, error: BaseException) -> bool:
        """Whether the function has failed for good. Otherwise another attempt follows, or the run waits, is stopped or
        handed over: its function has not ended."""
        started = self.run.started
        if self.run.unwound is not None or isinstance(error, asyncio.CancelledError):
            return False
        return not self.carried.retry.allows(error, started.failures + 1, max_attempts=started.max_attempts)

    def failed(self, error: BaseException) -> TaskResult[Any]:
        self.result.errors.append(
            TaskError(exception_class_path=get_module_path(type(error)), traceback=get_exception_traceback(error))
        )
        return self._ended(TaskResultStatus.FAILED)

    def succeeded(self, value: Any) -> TaskResult[Any]:
        object.__setattr__(self.result, "_return_value", value)
        return self._ended(TaskResultStatus.SUCCESSFUL)

    def _ended(self, status: TaskResultStatus) -> TaskResult[Any]:
        object.__setattr__(self.result, "finished_at", timezone.now())
        object.__setattr__(self.result, "status", status)
        return self.result
