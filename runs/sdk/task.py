"""`@task`: a function that can be enqueued, and the registry of those that this process knows."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar, Generic, Literal, NotRequired, ParamSpec, TypeVar, cast, overload

from asgiref.sync import sync_to_async
from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from queues.declare import Queue
from runs.errors import DeclarationError, InvalidPayload
from runs.sdk import children, codec
from runs.sdk.chain import Chain, begin
from runs.sdk.debounce import Debounce
from runs.sdk.declared import checked_function, middleware_of, names_of, queue_of, retry_of
from runs.sdk.events import declared as declared_events
from runs.sdk.fingerprint import Fingerprint, fingerprint
from runs.sdk.handle import RunHandle
from runs.sdk.hooks import Hook, hook_steps
from runs.sdk.inloop import LoopGuard
from runs.sdk.isolation import Isolation, declared
from runs.sdk.options import Options
from runs.sdk.retry import Retry
from runs.sdk.signals import declared as declared_signals
from runs.sdk.step import seconds
from runs.sdk.usage import Number, budget_of, budget_problems
from runs.sdk.wait import Pending, WaitSpec, blocking

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")

TASK_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
DEFAULT_QUEUE = Queue("default")


class Task(Generic[P, R]):
    """A task. Call it and it is the plain function; `enqueue` it and a worker runs it durably."""

    #: What else the schema of its payload says, for pages.
    schema_extra: ClassVar[Mapping[str, Any]] = {}

    def __init__(
        self,
        function: Callable[P, R],
        *,
        id: str,  # noqa: A002 - the contract's name
        queue: Queue,
        retry: Retry,
        max_duration: float | None = None,
        run_timeout: float | None = None,
        ttl: float | None = None,
        isolation: Isolation | None = None,
        budget: Mapping[str, Number] | None = None,
        hooks: Mapping[str, Hook | None] | None = None,
        middleware: Iterable[Callable[[Any], Any]] = (),
        signals: Iterable[str] | None = None,
        events: Iterable[str] = (),
    ) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.id = id
        self.queue = queue
        self.retry = retry
        self.max_duration = max_duration
        self.run_timeout = run_timeout
        self.ttl = ttl
        self.isolation = isolation
        self.hooks = hook_steps(hooks or {}, f"task {id!r}")
        self.middleware = middleware_of(middleware, f"task {id!r}")
        self.signals = declared_signals(signals, f"task {id!r}")
        self.events = declared_events(events, f"task {id!r}")
        self.budget = _budget(budget, f"task {id!r}: budget")
        self.is_async = inspect.iscoroutinefunction(function)
        self.signature = inspect.signature(function)
        hints = codec.hints_of(function)
        self.payload = _payload_adapter(self, hints)
        self.output = codec.adapter_for(hints.get("return", Any), f"task {id!r}: its result")
        self._payload_is_plain, self.output_is_plain = codec.is_plain(self.payload), codec.is_plain(self.output)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<task {self.id}>"

    @functools.cached_property
    def fingerprint(self) -> Fingerprint:
        """Of the function and of what it mentions, which may stand below it: made when it is first asked for."""
        return fingerprint(self.function)

    @property
    def version(self) -> str:
        """Which code a run ran: twelve hex digits."""
        return self.fingerprint.version

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> RunHandle[R]:
        """Stores a run of this task and returns its handle. Inside `transaction.atomic()` the run is the caller's:
        it exists when the caller's transaction commits, and never when it rolls back.

        Raises:
            InvalidPayload: an argument does not fit the annotations; `data["errors"]` names the field.
            PayloadTooLarge: the payload is over HOLDFAST_PAYLOAD_LIMIT bytes.
        """
        return Bound(self, Options()).enqueue(*args, **kwargs)

    async def aenqueue(self, *args: P.args, **kwargs: P.kwargs) -> RunHandle[R]:
        """`enqueue` for `async def`."""
        return await Bound(self, Options()).aenqueue(*args, **kwargs)

    def enqueue_many(self, payloads: Iterable[Mapping[str, Any]]) -> list[RunHandle[R]]:
        """Stores one run for each payload, all or none, and returns their handles in order."""
        return Bound(self, Options()).enqueue_many(payloads)

    async def aenqueue_many(self, payloads: Iterable[Mapping[str, Any]]) -> list[RunHandle[R]]:
        """`enqueue_many` for `async def`."""
        return await Bound(self, Options()).aenqueue_many(payloads)

    def enqueue_and_wait(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Inside a plain-function task: enqueues a run of this task and waits for its result. It is enqueued once,
        whatever happens to the run that waits; a cancel of that one cancels it too.

        Raises:
            RunFailed: the child did not complete; `data` has its id, status and error.
        """
        return Bound(self, Options()).enqueue_and_wait(*args, **kwargs)

    def aenqueue_and_wait(self, *args: P.args, **kwargs: P.kwargs) -> Pending[R]:
        """`enqueue_and_wait` for `async def`: await it, alone, under `gather` or as a runner of `wait.afirst`."""
        return Bound(self, Options()).aenqueue_and_wait(*args, **kwargs)

    def enqueue_many_and_wait(
        self, payloads: Iterable[Mapping[str, Any]], *, return_exceptions: bool = False
    ) -> list[R]:
        """One child for each payload; their results in order. A child that did not complete raises its RunFailed once
        all have ended; with `return_exceptions` it stands in its place."""
        return Bound(self, Options()).enqueue_many_and_wait(payloads, return_exceptions=return_exceptions)

    def aenqueue_many_and_wait(
        self, payloads: Iterable[Mapping[str, Any]], *, return_exceptions: bool = False
    ) -> Pending[list[R]]:
        """`enqueue_many_and_wait` for `async def`."""
        return Bound(self, Options()).aenqueue_many_and_wait(payloads, return_exceptions=return_exceptions)

    def then(self, task: Task[..., S], /, **fixed: Any) -> Chain[P, S]:
        """This task and then another one, which is called with its result.

        Args:
            task: With one parameter, it gets the result; with several, the fields of the result, which is an object.
            fixed: Parameters of it that have nothing to do with the result.
        """
        return begin(self, task, fixed)

    def using(
        self,
        *,
        queue_name: str | None = None,
        priority: int | None = None,
        run_after: datetime | None = None,
        delay: float | timedelta | None = None,
        idempotency_key: str | None = None,
        concurrency_key: str | None = None,
        tags: Iterable[str] | None = None,
        max_attempts: int | None = None,
        ttl: float | timedelta | None = None,
        run_timeout: float | timedelta | None = None,
        budget: Mapping[str, Number] | None = None,
        units: int | None = None,
        debounce: Debounce | None = None,
        idempotency_ttl: float | timedelta | None = None,
        idempotency_scope: Literal["task", "run"] | None = None,
    ) -> Bound[P, R]:
        """The task with options for the next enqueue.

        Args:
            queue_name: Another queue than the declared one; it must exist.
            priority: -100 to 100; a point counts as a minute of waiting in its queue.
            run_after: Not before this time (with a time zone).
            delay: Not before so many seconds from now.
            idempotency_key: The same key with the same payload gives the same run; with another it is refused.
            idempotency_ttl: Seconds for which the key is remembered; a day unless given.
            idempotency_scope: What the key is unique in: the "task", or the "run" that enqueues.
            debounce: Calls that come close upon each other are one run; see `Debounce`.
            concurrency_key: Whom the run is for; limits per key go by it.
            tags: Up to 20 words to find the run by.
            max_attempts: Instead of the retry policy's.
            ttl: Seconds within which the run has to start (counted from when it may); later it is `expired`.
            run_timeout: Seconds within which it has to end, waits and retries included; later it is `timed_out`.
            budget: What it and the runs that it waits for may use, by unit, before it is parked for a top-up:
                `{"cost": Decimal("1.50")}`. Instead of the task's.
            units: What it is expected to use of the unit that its queue's rate counts (tokens, say); 1 unless given.
        """
        return Bound(
            self,
            Options(
                queue_name=queue_name,
                priority=priority,
                run_after=run_after,
                delay=delay,
                idempotency_key=idempotency_key,
                concurrency_key=concurrency_key,
                tags=cast("list[str] | None", tags if (listed := names_of(tags)) is None else listed),
                max_attempts=max_attempts,
                ttl=ttl,
                run_timeout=run_timeout,
                budget=budget,
                units=units,
                debounce=debounce,
                idempotency_ttl=idempotency_ttl,
                idempotency_scope=idempotency_scope,
            ),
        )

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Positional arguments joined to the keyword ones."""
        if not args:
            return kwargs
        try:
            return dict(self.signature.bind(*args, **kwargs).arguments)
        except TypeError as error:
            raise InvalidPayload(f"{self.id}: {error}", errors=[{"field": "payload", "message": str(error)}]) from None

    def encode_payload(self, payload: Mapping[str, Any], path: str = "payload", *, of_json: bool = False) -> str:
        """The payload as JSON text, validated against the annotations.

        Args:
            of_json: Its values are as JSON holds them (they came by HTTP, or are stored), and are read as the run will
                read them: text where a strict type wants a date, base64 where the type says so of bytes.
        """
        try:
            if of_json:
                values = self.payload.validate_json(codec.dump(None, payload, path))
            else:
                values = self.payload.validate_python(payload)
        except ValidationError as error:
            raise self._invalid(error, path) from None
        text = codec.dump(self.payload, values, path)
        # The run will read this text: what it would refuse is refused here.
        if not self._payload_is_plain and (unreadable := codec.unreadable(self.payload, text)) is not None:
            raise self._invalid(unreadable, path, "its JSON cannot be read again: ")
        return text

    def _invalid(self, error: ValidationError, path: str, why: str = "") -> InvalidPayload:
        problems = codec.field_errors(error, path)
        return InvalidPayload(
            f"{self.id}: {problems[0]['field']}: {why}{problems[0]['message']}"
            + (f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""),
            errors=[{**problem, "message": why + problem["message"]} for problem in problems],
        )


class Bound(Generic[P, R]):
    """A task with enqueue options."""

    __slots__ = ("options", "task")

    def __init__(self, task: Task[P, R], options: Options) -> None:
        options.check()
        self.task = task
        self.options = options

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> RunHandle[R]:
        """See `Task.enqueue`."""
        from runs import enqueue

        text = self.task.encode_payload(self.task.bind(args, cast("dict[str, Any]", kwargs)))
        with LoopGuard("enqueue()", "….aenqueue(…)"):
            stored = enqueue.enqueue(self.task, text, self.options)
        return RunHandle(stored.id, self.task.output, created=stored.created)

    async def aenqueue(self, *args: P.args, **kwargs: P.kwargs) -> RunHandle[R]:
        """See `Task.enqueue`."""
        return await sync_to_async(self.enqueue)(*args, **kwargs)

    def enqueue_many(self, payloads: Iterable[Mapping[str, Any]]) -> list[RunHandle[R]]:
        """See `Task.enqueue_many`. An idempotency key needs single enqueues."""
        from runs import enqueue

        texts = self._texts(payloads)
        with LoopGuard("enqueue_many()", "….aenqueue_many(…)"):
            ids = enqueue.enqueue_many(self.task, texts, self.options)
        return [RunHandle(run_id, self.task.output) for run_id in ids]

    async def aenqueue_many(self, payloads: Iterable[Mapping[str, Any]]) -> list[RunHandle[R]]:
        """See `Task.enqueue_many`."""
        return await sync_to_async(self.enqueue_many)(payloads)

    def enqueue_and_wait(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """See `Task.enqueue_and_wait`."""
        return cast(R, blocking(self._one(args, kwargs), "enqueue_and_wait"))

    def aenqueue_and_wait(self, *args: P.args, **kwargs: P.kwargs) -> Pending[R]:
        """See `Task.aenqueue_and_wait`."""
        return Pending(self._one(args, kwargs))

    def enqueue_many_and_wait(
        self, payloads: Iterable[Mapping[str, Any]], *, return_exceptions: bool = False
    ) -> list[R]:
        """See `Task.enqueue_many_and_wait`."""
        return cast("list[R]", blocking(self._many(payloads, return_exceptions), "enqueue_many_and_wait"))

    def aenqueue_many_and_wait(
        self, payloads: Iterable[Mapping[str, Any]], *, return_exceptions: bool = False
    ) -> Pending[list[R]]:
        """See `Task.aenqueue_many_and_wait`."""
        return Pending(self._many(payloads, return_exceptions))

    def _one(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> WaitSpec:
        text = self.task.encode_payload(self.task.bind(args, kwargs))
        return children.children_spec(self.task, [text], self.options, children.only)

    def _many(self, payloads: Iterable[Mapping[str, Any]], return_exceptions: bool) -> WaitSpec:
        decode = list if return_exceptions else children.every
        return children.children_spec(self.task, self._texts(payloads), self.options, decode)

    def _texts(self, payloads: Iterable[Mapping[str, Any]]) -> list[str]:
        if not isinstance(payloads, Iterable) or isinstance(payloads, str | Mapping):
            message = f"must be a list of objects, one for each run, not {type(payloads).__name__}"
            raise InvalidPayload(
                f"{self.task.id}: payloads {message}", errors=[{"field": "payloads", "message": message}]
            )
        return [self.task.encode_payload(p, f"payloads[{i}]") for i, p in enumerate(payloads)]


class Registry:
    """The tasks that this process knows, by id."""

    def __init__(self) -> None:
        self._tasks: dict[str, Task[..., Any]] = {}

    def add(self, task: Task[..., Any]) -> None:
        known = self._tasks.get(task.id, task)
        places = [(one.function.__module__, one.function.__qualname__) for one in (known, task)]
        if places[0] != places[1]:
            first, second = map(".".join, places)
            raise DeclarationError(
                f"Two tasks have the id {task.id!r}: {first} and {second}. Give one of them another id."
            )
        self._tasks[task.id] = task

    def get(self, task_id: str) -> Task[..., Any] | None:
        return self._tasks.get(task_id)

    def __iter__(self) -> Any:
        return iter(list(self._tasks.values()))

    def __len__(self) -> int:
        return len(self._tasks)

    def ids(self) -> list[str]:
        return sorted(self._tasks)


registry = Registry()


@overload
def task(function: Callable[P, R], /) -> Task[P, R]: ...
@overload
def task(
    *,
    id: str | None = None,
    queue: Queue | None = None,
    retry: Retry | None = None,
    max_duration: float | timedelta | None = None,
    run_timeout: float | timedelta | None = None,
    ttl: float | timedelta | None = None,
    isolation: Literal["process"] | None = None,
    memory_limit: int | None = None,
    memory_limit_max: int | None = None,
    budget: Mapping[str, Number] | None = None,
    on_start: Hook | None = None,
    on_success: Hook | None = None,
    on_failure: Hook | None = None,
    on_cancel: Hook | None = None,
    on_wait: Hook | None = None,
    on_resume: Hook | None = None,
    middleware: Iterable[Callable[[Any], Any]] = (),
    signals: Iterable[str] | None = None,
    events: Iterable[str] = (),
) -> Callable[[Callable[P, R]], Task[P, R]]: ...
def task(
    function: Callable[P, R] | None = None,
    /,
    *,
    id: str | None = None,  # noqa: A002
    queue: Queue | None = None,
    retry: Retry | None = None,
    max_duration: float | timedelta | None = None,
    run_timeout: float | timedelta | None = None,
    ttl: float | timedelta | None = None,
    isolation: Literal["process"] | None = None,
    memory_limit: int | None = None,
    memory_limit_max: int | None = None,
    budget: Mapping[str, Number] | None = None,
    on_start: Hook | None = None,
    on_success: Hook | None = None,
    on_failure: Hook | None = None,
    on_cancel: Hook | None = None,
    on_wait: Hook | None = None,
    on_resume: Hook | None = None,
    middleware: Iterable[Callable[[Any], Any]] = (),
    signals: Iterable[str] | None = None,
    events: Iterable[str] = (),
) -> Task[P, R] | Callable[[Callable[P, R]], Task[P, R]]:
    """Makes a function a task.

    Args:
        id: The task's name for ever: runs refer to it. The function's name unless given.
        queue: Its queue; `default` unless given.
        retry: Its retry policy; one attempt unless given.
        max_duration: Longest active time of one attempt, in seconds; waits do not count.
        run_timeout: Longest time from the enqueue (or its `run_after`) to the end, waits and retries included.
        ttl: Longest time in the queue before the first start.
        isolation: "process" executes each stay in a process of its own, which may crash, be killed and be limited.
        memory_limit: Bytes that such a process may allocate.
        memory_limit_max: Bytes up to which the limit grows with attempts that ran out of memory.
        budget: What a run and the runs that it waits for may use, by unit (see `usage`). When one is used up, the run
            is parked before its next step until somebody tops it up.
        on_start, on_success, on_failure, on_cancel: Called once in a run's life, each: before the function is first
            called; with the result; with the `Failure` when it has failed for good; when it has been cancelled.
        on_wait, on_resume: Called when a run leaves its worker to wait, with what it waits for, and when it is back.
        middleware: Context managers around each call of the function: called with the run, the first one outermost.
        signals: The names of the signals that it waits for; others are then refused when they are sent, and waited for.
        events: The names of events that start a run of it (see `emit`); `order.*` is all that begin so.
    """
    hooks = {
        "on_start": on_start,
        "on_success": on_success,
        "on_failure": on_failure,
        "on_cancel": on_cancel,
        "on_wait": on_wait,
        "on_resume": on_resume,
    }

    def wrap(f: Callable[P, R]) -> Task[P, R]:
        checked_function(f, "@task", "id")
        called = id or f.__name__
        if not isinstance(called, str) or not TASK_ID.fullmatch(called):
            raise DeclarationError(
                f"task id {called!r}: use 1 to 200 letters, digits, dots, dashes or underscores, "
                "beginning with a letter or digit"
            )
        made = Task(
            f,
            id=called,
            queue=queue_of(queue, DEFAULT_QUEUE, f"task {called!r}"),
            retry=retry_of(retry, f"task {called!r}"),
            max_duration=seconds(max_duration, f"task {called!r}: max_duration"),
            run_timeout=seconds(run_timeout, f"task {called!r}: run_timeout"),
            ttl=seconds(ttl, f"task {called!r}: ttl"),
            isolation=declared(f"task {called!r}", isolation, memory_limit, memory_limit_max),
            budget=budget,
            hooks=hooks,
            middleware=middleware,
            signals=signals,
            events=events,
        )
        registry.add(made)
        return made

    return wrap(function) if function is not None else wrap


def _payload_adapter(task: Task[..., Any], hints: dict[str, Any]) -> TypeAdapter[Any]:
    """Validates a payload against the function's parameters: a TypedDict, so that any parameter name will do."""
    fields: dict[str, Any] = {}
    for name, parameter in task.signature.parameters.items():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise DeclarationError(
                f"task {task.id!r}: parameter {name!r} is {parameter.kind.description}. A payload has named fields: "
                "give each parameter a name of its own."
            )
        hint = hints.get(name, Any)
        fields[name] = hint if parameter.default is parameter.empty else NotRequired[hint]
    shape = TypedDict(f"{task.function.__name__}_payload", fields)  # type: ignore[misc]  # its name is made, not written
    shape.__pydantic_config__ = ConfigDict(extra="forbid", ser_json_inf_nan="constants")  # type: ignore[attr-defined]
    try:
        return TypeAdapter(shape)
    except (PydanticUserError, TypeError) as error:
        raise DeclarationError(
            f"task {task.id!r}: its parameters cannot be validated ({str(error).splitlines()[0]}). Annotate them with "
            "built-in types, dataclasses, TypedDicts or Pydantic models."
        ) from error


def _budget(value: Mapping[str, Number] | None, where: str) -> dict[str, Decimal] | None:
    if value is None:
        return None
    if problems := budget_problems(value):
        raise DeclarationError(f"{where}{problems[0][0]} {problems[0][1]}")
    return budget_of(value)
