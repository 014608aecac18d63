"""A function of django-tasks as a task of Holdfast: one for each function, its id the function's dotted path."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from inspect import iscoroutinefunction, signature
from typing import Any, ClassVar

from django.utils.module_loading import import_string
from django_tasks import task_backends
from django_tasks.base import Task as DjangoTask
from typing_extensions import override

from queues import declare
from runs.djangotasks.conduct import Conduct
from runs.errors import InvalidPayload
from runs.sdk.fingerprint import Fingerprint, fingerprint
from runs.sdk.task import Task, registry

logger = logging.getLogger("holdfast.djangotasks")


class Carried(Task[..., Any]):
    """Carries a function of django-tasks. A payload is `{"args": […], "kwargs": {…}}`, as JSON holds them."""

    schema_extra: ClassVar[Mapping[str, Any]] = {"x-django-tasks": True}

    def __init__(self, declared: DjangoTask[..., Any], conduct: Conduct) -> None:
        self.declared = declared
        self.conduct = conduct
        super().__init__(
            _entry(self, declared.func),
            id=declared.module_path,
            queue=declare.by_name(declared.queue_name),
            retry=conduct.retry,
            max_duration=conduct.max_duration,
            run_timeout=conduct.run_timeout,
            ttl=conduct.ttl,
        )

    @functools.cached_property
    def fingerprint(self) -> Fingerprint:
        """Of the function that is carried."""
        return fingerprint(self.declared.func)

    @override
    def encode_payload(self, payload: Mapping[str, Any], path: str = "payload", *, of_json: bool = False) -> str:
        """As every task's. Arguments that the function does not take are refused: this is how the API, the command
        line and *Try it* enqueue. (`enqueue` of django-tasks does not ask; there the run fails.)"""
        text = super().encode_payload(payload, path, of_json=of_json)
        context = [None] if self.declared.takes_context else []
        try:
            signature(self.declared.func).bind(*context, *payload.get("args", ()), **payload.get("kwargs", {}))
        except TypeError as error:
            field = f"{path}.args"
            raise InvalidPayload(
                f"{self.id}: {field} and kwargs: {error}", errors=[{"field": field, "message": str(error)}]
            ) from None
        return text

    def encode(self, args: list[Any], kwargs: dict[str, Any]) -> str:
        """The payload as JSON text, whether the function takes the arguments or not. Raises NotSerializable."""
        return super().encode_payload({"args": args, "kwargs": kwargs})


def _entry(carried: Carried, function: Callable[..., Any]) -> Callable[..., Any]:
    """What a worker calls. (The imports wait for that: functions may be declared before Django has its models.)"""
    # The defaults are read only; they say in the payload's schema that neither is required.
    if iscoroutinefunction(function):

        async def call_async(args: list[Any] = [], kwargs: dict[str, Any] = {}) -> Any:  # noqa: B006
            from runs.djangotasks import calling

            return await calling.call_async(carried, args, kwargs)

        call: Callable[..., Any] = call_async
    else:

        def call_sync(args: list[Any] = [], kwargs: dict[str, Any] = {}) -> Any:  # noqa: B006
            from runs.djangotasks import calling

            return calling.call_sync(carried, args, kwargs)

        call = call_sync
    functools.update_wrapper(call, function, assigned=("__module__", "__name__", "__qualname__", "__doc__"), updated=())
    del call.__wrapped__  # type: ignore[attr-defined]  # its signature is not the function's
    return call


def of(declared: DjangoTask[..., Any]) -> Carried:
    """The one task that carries the function, made and registered where there is none yet.

    Raises:
        InvalidTaskBackendError: the backend's OPTIONS cannot be used.
        DeclarationError: another task has this id.
    """
    known = registry.get(declared.module_path)
    if isinstance(known, Carried) and known.declared.func is declared.func:
        declared = known.declared  # as it was declared, not as `using` has changed it for one enqueue
        if known.conduct == conduct_of(declared):
            return known
    made = Carried(declared, conduct_of(declared))
    registry.add(made)
    return made


def conduct_of(declared: DjangoTask[..., Any]) -> Conduct:
    """As the function's own backend has it; where that is none of ours, as the first one of ours has it."""
    from runs.djangotasks.backend import HoldfastBackend

    aliases = (declared.backend, *task_backends)
    ours = (backend for alias in aliases if isinstance(backend := task_backends[alias], HoldfastBackend))
    return next((backend.conducts.of(declared.module_path) for backend in ours), Conduct())


def find(path: str) -> Carried | None:
    """The task that carries the function at a dotted path, whose module is imported where it was not. None: there is
    none; why it cannot be imported is logged."""
    known = registry.get(path)
    if known is None:
        try:
            declared = import_string(path)
        except ImportError as error:
            logger.warning("the task %s cannot be imported: %s", path, error)
            return None
        except Exception:  # whatever the module raises is no reason for a worker to end
            logger.exception("the task %s cannot be imported", path)
            return None
        known = registry.get(path)  # the import has declared it, perhaps under another name
        if known is None and isinstance(declared, DjangoTask) and declared.module_path == path:
            known = of(declared)
    return known if isinstance(known, Carried) else None
