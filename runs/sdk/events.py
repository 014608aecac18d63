"""Events: one call starts a run of every task that subscribes to its name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from asgiref.sync import sync_to_async
from django.db import transaction

from runs.errors import DeclarationError, InvalidOption, InvalidPayload
from runs.sdk.declared import names_of
from runs.sdk.handle import RunHandle
from runs.sdk.inloop import LoopGuard
from runs.sdk.options import Options

if TYPE_CHECKING:
    from runs.sdk.task import Task

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,89}")
#: Begins the tag by which the runs of an event are found.
TAG: Final = "event:"
_HOW: Final = "write 1 to 90 letters, digits, dots, colons, dashes or underscores, such as 'order.paid'"


def declared(names: Iterable[str], where: str) -> tuple[str, ...]:
    """The names that `@task(events=…)` gives. One that ends in `*` stands for all that begin so.

    Raises DeclarationError."""
    found = names_of(names)
    if found is None:
        raise DeclarationError(f"{where}: events is {names!r:.80}; write a list of names, such as ['order.paid']")
    for name in found:
        if not isinstance(name, str) or (name != "*" and not _NAME.fullmatch(name.removesuffix("*"))):
            raise DeclarationError(f"{where}: events has {name!r:.80}; {_HOW}, or 'order.*'")
    return tuple(found)


def subscribed(name: str) -> list[Task[..., Any]]:
    """The tasks of this process's code that subscribe to an event, by id."""
    from runs.sdk.task import registry

    def takes(pattern: str) -> bool:
        return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern

    return sorted((task for task in registry if any(map(takes, task.events))), key=lambda task: task.id)


def emit(name: str, payload: Mapping[str, Any] | None = None, **options: Any) -> list[RunHandle[Any]]:
    """Starts a run of each task that subscribes to the event, all or none, and returns their handles by task id.

    Args:
        name: such as "order.paid". The runs are tagged `event:order.paid`.
        payload: each task gets the fields that it has parameters for.
        options: as `Task.using` takes them. An idempotency key makes one run of each task.

    Raises:
        InvalidOption: the name or an option does not fit.
        InvalidPayload: a task that subscribes does not take the payload; it is named.
    """
    with LoopGuard("emit()", "aemit(…)"):
        return emit_with(name, {} if payload is None else payload, Options(**options))


async def aemit(name: str, payload: Mapping[str, Any] | None = None, **options: Any) -> list[RunHandle[Any]]:
    """`emit` for `async def`."""
    return await sync_to_async(emit)(name, payload, **options)


def emit_with(name: Any, payload: Any, options: Options, *, of_json: bool = False) -> list[RunHandle[Any]]:
    """The same, with options that are put together. `of_json`: see `Task.encode_payload`."""
    from runs import enqueue

    if not isinstance(name, str) or not _NAME.fullmatch(name):
        message = f"is {name!r:.100}; {_HOW}"
        raise InvalidOption(f"name {message}", errors=[{"field": "name", "message": message}])
    if not isinstance(payload, Mapping):
        message = f"must be an object with fields, not {type(payload).__name__}"
        raise InvalidPayload(f"payload {message}", errors=[{"field": "payload", "message": message}])
    options.check()
    tagged = replace(options, tags=[*(options.tags or []), f"{TAG}{name}"])
    tagged.check()
    tasks = subscribed(name)
    texts = [task.encode_payload(_fields_for(task, payload), of_json=of_json) for task in tasks]
    with transaction.atomic():
        stored = [enqueue.enqueue(task, text, tagged) for task, text in zip(tasks, texts, strict=True)]
    return [RunHandle(s.id, task.output, created=s.created) for task, s in zip(tasks, stored, strict=True)]


def _fields_for(task: Task[..., Any], payload: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in payload.items() if name in task.signature.parameters}
