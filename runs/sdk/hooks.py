"""Hooks: what a task has done when its run starts, ends, waits or comes back. See `platform/docs/hooks.md`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from runs.errors import DeclarationError
from runs.sdk.retry import Retry
from runs.sdk.step import HOOK, Step

#: Each is a durable step of the run with the name `hook:on_…`: it runs once.
DURABLE: Final = ("on_start", "on_success", "on_failure", "on_cancel")
#: These are called at each wait that leaves the worker, and at each return.
PASSING: Final = ("on_wait", "on_resume")
#: The retry policy of a hook that is no step with one of its own.
RETRY: Final = Retry(max_attempts=3, min_delay=0.5, max_delay=5)
#: Names of hook steps begin so.
PREFIX: Final = f"{HOOK}:"

Hook = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run failed for good, as `on_failure` is told."""

    type: str
    message: str
    fingerprint: str = ""
    traceback: str = ""
    step: str = ""  # the step that failed, where it was one

    @classmethod
    def of(cls, error: Mapping[str, Any]) -> Failure:
        return cls(**{name: str(error.get(name, "")) for name in cls.__slots__})


def hook_steps(hooks: Mapping[str, Hook | None], where: str) -> dict[str, Step[..., Any]]:
    """The hooks that are given, as steps. Raises DeclarationError for what cannot be called with one argument, and for
    a step with a promise that hooks do not keep."""
    return {name: _step(name, hook, where) for name, hook in hooks.items() if hook is not None}


def _step(name: str, hook: Hook, where: str) -> Step[..., Any]:
    if not callable(hook):
        raise DeclarationError(f"{where}: {name} is {hook!r:.60}; give it a function")
    function = hook.function if isinstance(hook, Step) else hook
    try:
        takes = _takes(function)
    except (TypeError, ValueError):
        raise DeclarationError(
            f"{where}: {name} is {getattr(hook, '__name__', hook)!r:.60}, which takes more than one argument; give it "
            "a function of none or one"
        ) from None
    called = function if takes else _without(function)
    if not isinstance(hook, Step):
        return Step(called, name=f"{PREFIX}{name}", retry=RETRY, timeout=None)
    for option, why in _not_kept(hook):
        # The hook that enqueues it may be called again as well; those that are called at each wait need a key for each.
        once = ', with an idempotency_key and idempotency_scope="run"' if name in DURABLE else ""
        raise DeclarationError(
            f"{where}: {name} is step {hook.name!r} with {option}; {why}. Enqueue a task that calls it{once}."
        )
    return Step(called, name=f"{PREFIX}{name}", retry=hook.retry, timeout=hook.timeout)


def _not_kept(hook: Step[..., Any]) -> Iterator[tuple[str, str]]:
    """What was asked of the step, as it is written in `@step`, and why a hook cannot give it."""
    if hook.unsafe:
        yield 'safety="unsafe"', "a hook is called again when its worker dies"
    if hook.transaction:
        yield "transaction=True", "what a hook writes and that it was called are not committed together"
    if hook.local:
        yield "local=True", "no run stays on a machine for the sake of a hook"
    if hook.breaker is not None:
        yield f'breaker="{hook.breaker.name}"', "a hook is called whether its breaker is open or not"
    if hook.heartbeat_timeout is not None:
        yield f"heartbeat_timeout={hook.heartbeat_timeout:g}", "nobody watches the heartbeats of a hook"


def _takes(function: Hook) -> bool:
    """True when it takes what the hook is about. Raises TypeError when it needs more."""
    signature = inspect.signature(function)
    try:
        signature.bind(None)
    except TypeError:
        signature.bind()
        return False
    return True


def _without(function: Hook) -> Hook:
    """The function, called without what it does not want to know."""
    if inspect.iscoroutinefunction(function):

        async def call_async(about: Any = None) -> Any:
            del about
            return await function()

        return call_async

    def call(about: Any = None) -> Any:
        del about
        return function()

    return call
