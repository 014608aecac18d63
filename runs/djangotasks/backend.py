"""`HoldfastBackend`: what django-tasks asks of a backend, answered by runs.

It is loaded where a first function is declared, which may be before Django has its models: what needs them is imported
where it is used.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any, Final, ParamSpec, TypeVar

from django.core import checks
from django.db import transaction
from django.utils.module_loading import import_string
from django_tasks.backends.base import BaseTaskBackend
from django_tasks.base import Task, TaskResult, TaskResultStatus
from django_tasks.exceptions import InvalidTaskBackendError, InvalidTaskError
from django_tasks.signals import task_enqueued
from django_tasks.utils import normalize_json

from queues.naming import NAME
from runs.djangotasks import carried, conduct
from runs.errors import DeclarationError, UnknownQueue
from runs.sdk.options import Options
from runs.sdk.task import TASK_ID

T = TypeVar("T")
P = ParamSpec("P")

#: Tag of a run that was enqueued by another backend than its function's own: this and the alias.
BACKEND_TAG: Final = "backend:"


class DurableTask(Task[P, T]):
    """A task whose function is made known to Holdfast where it is declared: so it is on the Tasks page, and each worker
    that imports its module knows it, before it is enqueued for the first time."""

    __slots__ = ()

    def __post_init__(self) -> None:
        Task.__post_init__(self)
        if isinstance(self.get_backend(), HoldfastBackend):
            carried.of(self)


class HoldfastBackend(BaseTaskBackend):
    """Each enqueue is a run; its id is the result's. See `platform/docs/django-tasks.md`."""

    task_class = DurableTask
    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    @functools.cached_property
    def conducts(self) -> conduct.Conducts:
        """`OPTIONS`. Raises InvalidTaskBackendError that says the first thing which is wrong."""
        try:
            return conduct.parse(self.options)
        except DeclarationError as error:
            raise InvalidTaskBackendError(f"TASKS[{self.alias!r}]: {error}") from None

    def validate_task(self, task: Task[..., Any]) -> None:
        """As every backend, and its names have to fit Holdfast's. Raises InvalidTaskError."""
        super().validate_task(task)
        if task.func.__module__ == "__main__":
            raise InvalidTaskError(
                f"{task.module_path!r} is defined in the program itself, which no worker can import: move it into a "
                "module."
            )
        if not TASK_ID.fullmatch(path := task.module_path):
            raise InvalidTaskError(
                f"The function's path {path!r} cannot name a task: use 1 to 200 letters, digits, dots, dashes or "
                "underscores, beginning with a letter or digit."
            )
        if not NAME.fullmatch(task.queue_name):
            raise InvalidTaskError(
                f"Queue {task.queue_name!r} cannot be a queue's name: use 1 to 100 letters, digits, dots, dashes or "
                "underscores, beginning with a letter or digit."
            )

    def enqueue(self, task: Task[P, T], args: Any, kwargs: Any) -> TaskResult[T]:
        """Stores a run, in the caller's transaction where one is open.

        Raises:
            InvalidTaskError: the task does not fit this backend.
            TypeError: an argument is nothing that JSON can hold.
            NotSerializable, PayloadTooLarge: nothing that PostgreSQL can hold, or too much of it.
        """
        from runs.models import Run

        self.validate_task(task)
        known = carried.of(task)
        given: tuple[list[Any], dict[str, Any]] = (normalize_json(list(args)), normalize_json(kwargs))
        run_id = self._store(known, known.encode(*given), self._options(task, known))
        result: TaskResult[T] = TaskResult(
            task=task,
            id=str(run_id),
            status=TaskResultStatus.READY,
            enqueued_at=Run.objects.values_list("created_at", flat=True).get(pk=run_id),  # by the database's clock
            started_at=None,
            finished_at=None,
            last_attempted_at=None,
            args=given[0],
            kwargs=given[1],
            backend=self.alias,
            errors=[],
            worker_ids=[],
        )
        task_enqueued.send(type(self), task_result=result)
        return result

    def get_result(self, result_id: str) -> TaskResult[Any]:
        """Raises TaskResultDoesNotExist."""
        from runs.djangotasks import results

        return results.fetch(result_id)

    def check(self, **kwargs: Any) -> Iterable[checks.CheckMessage]:
        """What cannot work, one line each."""
        where = f"TASKS[{self.alias!r}]"
        found = list(conduct.problems(self.options))
        for path in self.options.get("functions", ()) if not found else ():
            try:
                import_string(path)
            except ImportError as error:
                found.append(f"OPTIONS['functions'] names {path!r}, which cannot be imported: {error}")
        found += [
            f"QUEUES has {name!r}; a queue's name is 1 to 100 letters, digits, dots, dashes or underscores, beginning "
            "with a letter or digit"
            for name in sorted(self.queues, key=str)
            if not isinstance(name, str) or not NAME.fullmatch(name)
        ]
        return [checks.Error(f"{where}: {problem}", id="holdfast.E003") for problem in found]

    def _options(self, task: Task[..., Any], known: carried.Carried) -> Options:
        """Of one run. Where this is not the function's own backend, its OPTIONS are told to the run."""
        own = known.declared.backend == self.alias
        mine = self.conducts.of(known.id)
        return Options(
            queue_name=task.queue_name,
            priority=int(task.priority),
            run_after=task.run_after,
            tags=None if own else [f"{BACKEND_TAG}{self.alias}"],
            max_attempts=None if own else mine.retry.max_attempts,
            ttl=None if own else mine.ttl,
            run_timeout=None if own else mine.run_timeout,
        )

    def _store(self, known: carried.Carried, payload: str, options: Options) -> Any:
        """A queue that `QUEUES` allows and nobody has declared is made when something is first put into it."""
        from runs import enqueue, registration

        options.check()
        try:
            return enqueue.enqueue(known, payload, options).id
        except UnknownQueue:
            with transaction.atomic():
                registration.name_queue(str(options.queue_name))
                return enqueue.enqueue(known, payload, options).id
