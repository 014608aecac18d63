"""`a.then(b)`: tasks one after the other, each with the result of the one before."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from runs.errors import DeclarationError, InvalidPayload
from runs.sdk import children, codec
from runs.sdk.options import Options
from runs.sdk.wait import Pending

if TYPE_CHECKING:
    from runs.sdk.handle import RunHandle
    from runs.sdk.task import Bound, Task

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Link:
    """A task of a chain, and what it is called with besides the result of the one before."""

    task: Task[..., Any]
    fixed: Mapping[str, Any]

    def describe(self) -> dict[str, Any]:
        """As the run of a chain has it in its payload."""
        return {"task": self.task.id, "fixed": dict(self.fixed)}


@dataclass(frozen=True, slots=True)
class Chain(Generic[P, R]):
    """Tasks one after the other. It runs as a run of its own, whose children they are: retried, cancelled and seen as
    any; its result is that of the last. Made by `Task.then`."""

    links: tuple[Link, ...]
    options: Options = field(default_factory=Options)

    def then(self, task: Task[..., S], /, **fixed: Any) -> Chain[P, S]:
        """The chain with another task at its end. See `Task.then`."""
        _check(task, fixed)
        return Chain((*self.links, Link(task, fixed)), self.options)

    def using(self, **options: Any) -> Chain[P, R]:
        """The chain with options for the next enqueue, as `Task.using` has them. They are those of the chain's own
        run: its tasks have the queues and retries that they declare."""
        chosen = replace(self.options, **options)
        chosen.check()
        return replace(self, options=chosen)

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> RunHandle[Any]:
        """Stores a run of the chain, with the payload of its first task; see `Task.enqueue`."""
        return self._bound().enqueue(**self._payload(args, kwargs))

    async def aenqueue(self, *args: P.args, **kwargs: P.kwargs) -> RunHandle[Any]:
        """`enqueue` for `async def`."""
        return await self._bound().aenqueue(**self._payload(args, kwargs))

    def _bound(self) -> Bound[..., Any]:
        from runs.sdk.task import Bound
        from runs.tasks import chain

        return Bound(chain, self.options)

    def _payload(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        first = self.links[0].task
        text = first.encode_payload(first.bind(args, kwargs))
        return {"links": [link.describe() for link in self.links], "payload": json.loads(text)}


def begin(first: Task[P, Any], then: Task[..., S], fixed: dict[str, Any]) -> Chain[P, S]:
    """The chain of two."""
    _check(then, fixed)
    return Chain((Link(first, {}), Link(then, fixed)))


def arguments(task: Task[..., Any], fixed: Mapping[str, Any], result: Any) -> dict[str, Any]:
    """What `task` is called with after a task that returned `result` (a JSON value).

    A task with one parameter left gets the result, one with several the fields of the result, one with none nothing.

    Raises:
        InvalidPayload: it has several, and the result is no object.
    """
    left = [name for name in task.signature.parameters if name not in fixed]
    if len(left) == 1:
        return {**fixed, left[0]: result}
    if not left:
        return dict(fixed)
    if not isinstance(result, dict):
        raise InvalidPayload(
            f"Task {task.id} takes {', '.join(left)}, so the task before it in the chain has to return an object with "
            f"these; it returned {type(result).__name__}. Return a dict, or leave one parameter: then(…, name=…).",
            errors=[{"field": "payload", "message": "must be an object: the task takes several parameters"}],
        )
    return {**result, **fixed}


def called_with(task: Task[..., Any], given: Mapping[str, Any]) -> Pending[Any]:
    """`task` as the next child of a chain's run, with arguments as JSON holds them. Raises InvalidPayload."""
    text = task.encode_payload(given, of_json=True)
    return Pending(children.children_spec(task, [text], Options(), children.only))


def plain(task: Task[..., Any], result: Any) -> Any:
    """A result of `task` as a JSON value."""
    return json.loads(codec.dump(task.output, result, "result"))


def _check(task: Any, fixed: Mapping[str, Any]) -> None:
    from runs.sdk.task import Task

    if not isinstance(task, Task):
        raise DeclarationError(f"then({task!r:.80}): write a task, that is a function with @task")
    if unknown := sorted(set(fixed) - set(task.signature.parameters)):
        known = ", ".join(task.signature.parameters) or "none"
        raise DeclarationError(f"then({task.id}, {unknown[0]}=…): it has no such parameter; it takes {known}")
