"""`@step`: a retry boundary whose result is stored once and never computed again."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Generic, ParamSpec, TypeVar, cast, overload

from queues.breaker import Breaker
from queues.naming import QueueDeclarationError
from runs.errors import DeclarationError, NotInRun, StepMisuse
from runs.sdk import codec
from runs.sdk.context import current, current_step, has_lost_its_run
from runs.sdk.declared import checked_function, retry_of
from runs.sdk.options import is_word
from runs.sdk.retry import Retry
from runs.sdk.safety import AT_LEAST_ONCE, Guarantee, Safety, guarantee

P = ParamSpec("P")
R = TypeVar("R")

NAME_LIMIT = 100
#: Steps of this name are hooks: `hook:on_success#1`.
HOOK = "hook"
KEY_LIMIT = 140


def _loop_runs() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def seconds(value: float | timedelta | None, where: str) -> float | None:
    """A duration as seconds. Raises DeclarationError unless it is positive."""
    if value is None:
        return None
    number = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < float("inf"):
        raise DeclarationError(f"{where} is {value!r}; write seconds greater than 0, or a timedelta")
    return float(number)


class Step(Generic[P, R]):
    """A durable step. Call it like the function it wraps; outside a run it *is* that function."""

    def __init__(
        self,
        function: Callable[P, R],
        *,
        name: str,
        retry: Retry,
        timeout: float | None,
        key: str | None = None,
        promise: Guarantee = AT_LEAST_ONCE,
        heartbeat_timeout: float | None = None,
        breaker: Breaker | None = None,
    ) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.name = name
        self.retry = retry
        self.timeout = timeout
        self.heartbeat_timeout = heartbeat_timeout
        self.key = key
        self.promise = promise
        self._breaker = breaker
        self.transaction = promise.transaction
        self.unsafe = promise.unsafe
        self.local = promise.local
        self.is_async = inspect.iscoroutinefunction(function)
        self.signature = inspect.signature(function)
        if timeout is not None and not self.is_async:
            raise DeclarationError(
                f"step {name!r}: a timeout needs `async def`; a thread cannot be interrupted. Make the step async, or "
                "give the call inside it a timeout of its own (an HTTP client's, a statement's)."
            )
        if heartbeat_timeout is not None and not self.is_async:
            raise DeclarationError(
                f"step {name!r}: a heartbeat_timeout needs `async def`; a thread cannot be interrupted. Make the step "
                "async, and what blocks in it `await asyncio.to_thread(…)`: heartbeat() may be called there."
            )
        hint = codec.hints_of(function).get("return", Any)
        self.output = codec.adapter_for(hint, f"step {name!r}: its result")

    @property
    def breaker(self) -> Breaker | None:
        """What protects its calls, as code declares it by now."""
        return None if self._breaker is None else self._breaker.current

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        run = current.get()
        if run is None:
            if has_lost_its_run():
                raise NotInRun(
                    f"Step {self.name!r} was called in a thread that knows no run, so it would not be durable. Start "
                    "the thread with asyncio.to_thread(…), which hands the run on, or call by copy_context().run (from "
                    f"contextvars). To call the plain function, write {self.name}.function(…)."
                )
            return self._outside(args, kwargs) if self.transaction else self.function(*args, **kwargs)
        if outer := current_step.get():
            raise StepMisuse(
                f"Step {self.name!r} was called inside step {outer!r}. Steps nest no steps: call it from the task, or "
                f"call the plain function, {self.name}.function(…)."
            )
        if self.is_async:
            if not run.is_async and not _loop_runs():
                raise StepMisuse(
                    f"Step {self.name!r} is `async def` and was called in a plain function, which cannot await it. "
                    f"Make the task {run.task_id} `async def`, or the step a plain function."
                )
            return cast(R, run.step_async(self, args, kwargs))
        return cast(R, run.step_sync(self, args, kwargs))

    async def acall(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The step with transaction=True for `async def` tasks, in the words of type checkers: `await s.acall(…)` is
        `await s(…)`."""
        value = self(*args, **kwargs)
        return cast(R, await value if inspect.isawaitable(value) else value)

    def _outside(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        """Outside a run a step with transaction=True is its function in a transaction; to be awaited in async code."""
        from asgiref.sync import sync_to_async
        from django.db import transaction

        wrapped = transaction.atomic(self.function)
        return cast(R, sync_to_async(wrapped)(*args, **kwargs) if _loop_runs() else wrapped(*args, **kwargs))

    def using(
        self,
        *,
        key: str | None = None,
        retry: Retry | None = None,
        timeout: float | timedelta | None = None,
        heartbeat_timeout: float | timedelta | None = None,
    ) -> Step[P, R]:
        """The step with another identity, retry policy or timeouts (seconds) for one call.

        `key` replaces the count in the step's identity: give one where the order of calls may differ between tries.
        """
        if key is not None and not (is_word(key, KEY_LIMIT)):
            raise StepMisuse(f"step {self.name!r}: key is {key!r:.60}; write text of 1 to {KEY_LIMIT} characters")
        return Step(
            self.function,
            name=self.name,
            retry=self.retry if retry is None else retry_of(retry, f"step {self.name!r}"),
            timeout=seconds(timeout, f"step {self.name!r}: timeout") or self.timeout,
            key=key or self.key,
            promise=self.promise,
            heartbeat_timeout=seconds(heartbeat_timeout, f"step {self.name!r}: heartbeat_timeout")
            or self.heartbeat_timeout,
            breaker=self.breaker,
        )

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments by name, for the snapshot."""
        return dict(self.signature.bind(*args, **kwargs).arguments) if args or kwargs else {}


@overload
def step(function: Callable[P, R], /) -> Step[P, R]: ...
@overload
def step(
    *,
    name: str | None = None,
    retry: Retry | None = None,
    timeout: float | timedelta | None = None,
    heartbeat_timeout: float | timedelta | None = None,
    transaction: bool = False,
    safety: Safety = "safe",
    reconcile: Callable[..., Any] | None = None,
    local: bool = False,
    breaker: Breaker | str | None = None,
) -> Callable[[Callable[P, R]], Step[P, R]]: ...
def step(
    function: Callable[P, R] | None = None,
    /,
    *,
    name: str | None = None,
    retry: Retry | None = None,
    timeout: float | timedelta | None = None,
    heartbeat_timeout: float | timedelta | None = None,
    transaction: bool = False,
    safety: Safety = "safe",
    reconcile: Callable[..., Any] | None = None,
    local: bool = False,
    breaker: Breaker | str | None = None,
) -> Step[P, R] | Callable[[Callable[P, R]], Step[P, R]]:
    """Makes a function a durable step.

    Args:
        name: What the step is called in snapshots and charts; the function's name unless given.
        retry: Its own retry policy; without one a failure goes straight to the task.
        timeout: Seconds for one try (`async def` only).
        heartbeat_timeout: Seconds without a `heartbeat()` after which a try is lost (`async def` only).
        transaction: The step's writes by Django's ORM and its snapshot are committed together: exactly once.
        safety: "unsafe" for what must not be done twice and cannot be undone. A step that died mid-way is then never
            called again on a guess.
        reconcile: Finds out for an unsafe step what happened: called with the step's arguments and `step_key=`,
            answers with a `Reconciled`.
        local: Its result lies on this machine (files, a loaded model): the run goes on with workers of this host as
            long as there are any; on another one, the step is called again.
        breaker: What the step calls, as a `Breaker` or by its name ("openai"): while too many calls of it fail, over
            all workers, none is made, and runs come back later.
    """

    def wrap(f: Callable[P, R]) -> Step[P, R]:
        checked_function(f, "@step", "name")
        called = name or f.__name__
        if not is_word(called, NAME_LIMIT):
            raise DeclarationError(f"step {called!r:.60}: write a name of 1 to {NAME_LIMIT} characters")
        if called == HOOK or called.startswith(f"{HOOK}:"):
            raise DeclarationError(
                f"step {called!r:.60}: steps of this name are a task's hooks, which forks leave out. Give it "
                "another name."
            )
        where = f"step {called!r}"
        promise = guarantee(
            where,
            is_async=inspect.iscoroutinefunction(f),
            transaction=transaction,
            safety=safety,
            reconcile=reconcile,
            local=local,
        )
        return Step(
            f,
            name=called,
            retry=retry_of(retry, where),
            timeout=seconds(timeout, f"{where}: timeout"),
            promise=promise,
            heartbeat_timeout=seconds(heartbeat_timeout, f"{where}: heartbeat_timeout"),
            breaker=_breaker(breaker, where, transaction=transaction),
        )

    return wrap(function) if function is not None else wrap


def _breaker(given: object, where: str, *, transaction: bool) -> Breaker | None:
    if given is None:
        return None
    if transaction:
        raise DeclarationError(
            f"{where}: a breaker and transaction=True stand side by side. A breaker is for calls of what may be away; "
            "make them in a step of their own, so that the transaction does not wait for it."
        )
    try:
        return Breaker.of(given)
    except QueueDeclarationError as error:
        raise DeclarationError(f"{where}: {error}") from None
