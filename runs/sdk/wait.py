"""`wait`: time, people, signals and the outside world. A wait holds nothing: the run leaves its worker and comes back.

    wait.sleep(3600)                                        await wait.asleep(timedelta(days=1))
    wait.signal("paid", type=Receipt, timeout=60)           await wait.asignal("paid")
    change = wait.update("price"); change.reply(…)          change = await wait.aupdate("price"); await change.areply(…)
    wait.approval("Publish?", form=Edits, assignee="ada")   await wait.aapproval("Publish?")
    token = wait.token("payment"); token.wait()             token = await wait.atoken("payment"); await token
    wait.first(wait.asignal("stop"), wait.asleep(60))       await wait.afirst(wait.asignal("stop"), wait.asleep(60))

What the `a`-variants return is a description that waits when it is awaited: alone, under `asyncio.gather`, in a
`TaskGroup`, or as a runner of a race. A wait's identity in its run is its kind, its name and its count, so the order of
equal waits must not change between tries.
"""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Generator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Generic, Literal, TypeVar, cast

from pydantic import BaseModel, TypeAdapter, ValidationError

from runs.errors import CompletionFailed, DeclarationError, InvalidPayload, NotInRun, StepMisuse, WaitTimeout
from runs.sdk import codec
from runs.sdk.context import RunContext, current, current_step
from runs.sdk.options import END_OF_TIME, MAX_DELAY, is_word
from runs.sdk.retry import Abort
from runs.sdk.update import Update
from runs.sdk.update import decoder as update_decoder

T = TypeVar("T")

MAX_NAME: Final = 200
MAX_RUNNERS: Final = 100


class WaitKind(StrEnum):
    SLEEP = "sleep"
    SIGNAL = "signal"
    TOKEN = "token"  # noqa: S105 - a kind of wait
    APPROVAL = "approval"
    CHILDREN = "children"
    RETRY = "retry"  # a step's next try
    BUDGET = "budget"  # a top-up
    UPDATE = "update"
    FIRST = "first"


@dataclass(frozen=True, slots=True)
class WaitSpec:
    """What a run waits for."""

    kind: WaitKind
    name: str = ""
    delay: float | None = None  # seconds until a sleep ends, or until the wait times out
    until: datetime | None = None  # instead of `delay`
    detail: dict[str, Any] = field(default_factory=dict)  # what those who answer see: schema, assignee, default
    decode: Callable[[Any], Any] = lambda value: value
    runners: tuple[WaitSpec, ...] = ()  # of a race
    key: str | None = None  # instead of the count
    of_step: bool = False  # one of the code's steps waits, not the code: the step's snapshot has what it brings
    spawn: Any = None  # runs.store.NewRuns, which are enqueued with the wait for them

    def value(self, outcome: str, output: Any) -> Any:
        """What the wait gives to the run. Raises WaitTimeout, and CompletionFailed (or Abort) where that is said."""
        if outcome == "failed":
            said = f"{self.label} was failed: {output['message']}"
            raise CompletionFailed(said, name=self.name) if output["retry"] else Abort(said)
        if outcome == "timed_out" and "default" not in self.detail:
            raise WaitTimeout(f"Nothing answered {self.label} in time.", kind=str(self.kind), name=self.name)
        return self.decode(self.detail["default"] if outcome == "timed_out" else output)

    @property
    def label(self) -> str:
        """In words, for errors and pages."""
        return f"{self.kind} {self.name!r}" if self.name else f"the {self.kind}"


class Pending(Coroutine[Any, Any, T], Generic[T]):
    """A wait that has been described; awaiting it waits. (A Coroutine, so that `TaskGroup.create_task` takes it.)"""

    __slots__ = ("_by", "_running", "_spec")

    def __init__(self, spec: WaitSpec) -> None:
        self._spec = spec
        self._running: Coroutine[Any, Any, T] | None = None
        #: The run that described it, until somebody waits for it.
        self._by: RunContext | None = current.get()

    @property
    def spec(self) -> WaitSpec:
        """What it waits for, to somebody who sees to it that it is waited for."""
        self._by = None
        return self._spec

    def __del__(self) -> None:
        run: RunContext | None = getattr(self, "_by", None)
        if run is not None and run is current.get():
            run.say(
                logging.WARNING, f"{self._spec.label} was described and never awaited: nothing was waited for", None
            )

    def __await__(self) -> Generator[Any, Any, T]:
        return self._coroutine().__await__()

    def _coroutine(self) -> Coroutine[Any, Any, T]:
        run = _run(f"wait.a{self.spec.kind}")
        _check_place(self.spec)
        if not run.is_async:
            raise StepMisuse(
                f"{self.spec.label} was awaited in an event loop of its own, in the plain function of task "
                f"{run.task_id}: the run could not leave its worker. Leave the `a` away, as in wait.sleep(60), or make "
                "the task `async def`."
            )
        return cast("Coroutine[Any, Any, T]", run.wait_async(self.spec))

    def send(self, value: Any, /) -> Any:
        if self._running is None:
            self._running = self._coroutine()
        return self._running.send(value)

    def throw(self, *error: Any) -> Any:
        self._by = None
        if self._running is None:
            raise error[0] if isinstance(error[0], BaseException) else error[0]()
        return self._running.throw(*error)

    def close(self) -> None:
        self._by = None
        if self._running is not None:
            self._running.close()


class Token(Awaitable[T], Generic[T]):
    """A token that somebody outside completes. Durable once you have it: hand `id` or `url` out, then wait."""

    __slots__ = ("_spec", "id", "url")

    def __init__(self, spec: WaitSpec, id: uuid.UUID, url: str) -> None:  # noqa: A002
        self._spec = spec
        #: For `POST /api/v1/waits/{id}/complete`, with an API token.
        self.id = id
        #: For those who have no API token: whoever has this address may complete the wait, once.
        self.url = url

    @property
    def spec(self) -> WaitSpec:
        return self._spec

    def wait(self) -> T:
        """Waits for the completion, in a plain function."""
        return cast(T, blocking(self._spec, "token.wait"))

    def __await__(self) -> Generator[Any, Any, T]:
        return Pending[T](self._spec).__await__()


@dataclass(frozen=True, slots=True)
class Decision(Generic[T]):
    """What came of an approval. `form` is the filled form, when there was one; `by` who decided."""

    approved: bool
    form: T | None = None
    by: str = ""
    comment: str = ""


@dataclass(frozen=True, slots=True)
class First(Generic[T]):
    """Who won a race: its place among the runners (from 0), and what it brought."""

    index: int
    value: T


class Wait:
    """The namespace `wait`. Timeouts and delays are seconds, or a timedelta, counted from the first call."""

    __slots__ = ()

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def sleep(self, seconds: float | timedelta) -> None:
        """Goes on after so many seconds; also when all workers were away meanwhile."""
        blocking(self.asleep(seconds).spec, "wait.sleep")

    def asleep(self, seconds: float | timedelta) -> Pending[None]:
        return Pending(
            WaitSpec(WaitKind.SLEEP, delay=delay_of(seconds, "wait.sleep: seconds", least=0.0), decode=_none)
        )

    def until(self, at: datetime) -> None:
        """Goes on at a time (with its zone); at once when it is past."""
        blocking(self.auntil(at).spec, "wait.until")

    def auntil(self, at: datetime) -> Pending[None]:
        if not isinstance(at, datetime) or at.tzinfo is None:
            raise DeclarationError(f"wait.until: {at!r} is no time with a zone; write datetime.now(UTC) + …")
        if at >= END_OF_TIME:
            raise DeclarationError(f"wait.until: {at} is too far away; write a time before the year 9999")
        return Pending(WaitSpec(WaitKind.SLEEP, until=at.astimezone(UTC), decode=_none))

    # ── the outside ──────────────────────────────────────────────────────────────────────────────────────────────

    def signal(self, name: str, *, type: Any = Any, timeout: float | timedelta | None = None) -> Any:  # noqa: A002
        """The next signal of this name: those that came before the wait are kept, and given in order.

        Raises:
            WaitTimeout: none came in time.
        """
        return blocking(self.asignal(name, type=type, timeout=timeout).spec, "wait.signal")

    def asignal(self, name: str, *, type: Any = Any, timeout: float | timedelta | None = None) -> Pending[Any]:  # noqa: A002
        return Pending(_spec(WaitKind.SIGNAL, name, type, timeout))

    def update(self, name: str, *, type: Any = Any, timeout: float | timedelta | None = None) -> Update[Any]:  # noqa: A002
        """The next update of this name, which the run answers: `change.reply(…)` or `change.refuse(…)`. Those that came
        before the wait are kept, and given in order; those that are not of `type` are refused, and never get here.

        Raises:
            WaitTimeout: none came in time.
        """
        return cast("Update[Any]", blocking(self.aupdate(name, type=type, timeout=timeout).spec, "wait.update"))

    def aupdate(
        self,
        name: str,
        *,
        type: Any = Any,  # noqa: A002
        timeout: float | timedelta | None = None,
    ) -> Pending[Update[Any]]:
        spec = _spec(WaitKind.UPDATE, name, type, timeout)
        return Pending(replace(spec, decode=update_decoder(spec.decode)))

    def token(self, name: str = "token", *, type: Any = Any, timeout: float | timedelta | None = None) -> Token[Any]:  # noqa: A002
        """A token that an HTTP call completes, with a value of `type`.

        Waiting for it raises WaitTimeout, and CompletionFailed when it was failed instead (Abort: for good).
        """
        spec = _spec(WaitKind.TOKEN, name, type, timeout)
        run = _run("wait.token")
        if run.is_async:
            raise StepMisuse("wait.token() would block the event loop of this async task. Write: await wait.atoken(…)")
        token, stored = _token(run, spec)
        if stored is not None:
            stored.result()
        return token

    async def atoken(
        self,
        name: str = "token",
        *,
        type: Any = Any,  # noqa: A002
        timeout: float | timedelta | None = None,  # noqa: ASYNC109 - stored, not waited here
    ) -> Token[Any]:
        """`token` for `async def`: await it to have the token, await the token to have its value."""
        spec = _spec(WaitKind.TOKEN, name, type, timeout)
        run = _run("wait.atoken")
        token, stored = _token(run, spec)
        if stored is not None:
            await asyncio.wrap_future(stored)
        return token

    def approval(
        self,
        title: str,
        *,
        form: type[BaseModel] | None = None,
        timeout: float | timedelta | None = None,
        default: Literal["approve", "reject"] | None = None,
        assignee: str | None = None,
        group: str | None = None,
        context: Any = None,
    ) -> Decision[Any]:
        """A person's decision.

        Args:
            title: What is asked; up to 200 characters.
            form: A Pydantic model that the person fills in when they approve.
            timeout: Seconds after which `default` decides.
            default: "approve" or "reject"; without one, a timeout raises WaitTimeout.
            assignee: The user who is asked; nobody else may decide (but admins).
            group: The Django group that is asked.
            context: Anything JSON can hold, shown beside the question.
        """
        pending = self.aapproval(
            title, form=form, timeout=timeout, default=default, assignee=assignee, group=group, context=context
        )
        return cast("Decision[Any]", blocking(pending.spec, "wait.approval"))

    def aapproval(
        self,
        title: str,
        *,
        form: type[BaseModel] | None = None,
        timeout: float | timedelta | None = None,
        default: Literal["approve", "reject"] | None = None,
        assignee: str | None = None,
        group: str | None = None,
        context: Any = None,
    ) -> Pending[Decision[Any]]:
        return Pending(_approval_spec(title, form, timeout, default, assignee, group, context))

    # ── races ────────────────────────────────────────────────────────────────────────────────────────────────────

    def first(self, *runners: Pending[Any] | Token[Any]) -> First[Any]:
        """The first of several waits; the others are given up. A runner that times out wins with WaitTimeout."""
        return cast("First[Any]", blocking(self.afirst(*runners).spec, "wait.first"))

    def afirst(self, *runners: Pending[Any] | Token[Any]) -> Pending[First[Any]]:
        specs = []
        for runner in runners:
            if not isinstance(runner, Pending | Token) or runner.spec.kind == WaitKind.FIRST:
                raise StepMisuse(
                    f"wait.first takes waits, not {runner!r:.80}. Describe them without waiting, by their a-variants: "
                    "wait.first(wait.asignal('stop'), wait.asleep(60))."
                )
            specs.append(runner.spec)
        if not 1 <= len(specs) <= MAX_RUNNERS:
            raise StepMisuse(f"wait.first was given {len(specs)} waits; give it 1 to {MAX_RUNNERS}.")
        return Pending(WaitSpec(WaitKind.FIRST, runners=tuple(specs)))


wait = Wait()


def _run(name: str) -> RunContext:
    run = current.get()
    if run is None:
        raise NotInRun(
            f"{name}() was called outside a run. Call it inside a task that a worker executes; in a unit test, run the "
            "task with holdfast.testing.run_inline."
        )
    return run


def _check_place(spec: WaitSpec) -> None:
    if step := current_step.get():
        raise StepMisuse(
            f"{spec.label} was waited for inside step {step!r}. A step runs in one piece: wait in the task, between "
            "steps."
        )


def blocking(spec: WaitSpec, name: str) -> Any:
    """Waits in a plain function; `name` is what the caller calls it."""
    run = _run(name)
    _check_place(spec)
    if run.is_async:
        room, dot, last = name.rpartition(".")
        raise StepMisuse(f"{name}() would block the event loop of this async task. Write: await {room}{dot}a{last}(…)")
    return run.wait_sync(spec)


def _none(value: Any) -> None:
    del value


def delay_of(value: float | timedelta | None, where: str, *, least: float = 0.001) -> float | None:
    """A duration as seconds; `where` names it in the error. Raises DeclarationError."""
    if value is None:
        return None
    number = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(number, bool) or not isinstance(number, int | float) or not least <= number <= MAX_DELAY:
        raise DeclarationError(f"{where} is {value!r:.60}; write seconds from {least:g} to {MAX_DELAY:.0f}")
    return float(number)


def _named(kind: WaitKind, name: Any) -> str:
    if not is_word(name, MAX_NAME):
        raise DeclarationError(f"wait.{kind}: its name is {name!r:.60}; write text of 1 to {MAX_NAME} characters")
    return str(name)


def _spec(kind: WaitKind, name: str, type_: Any, timeout: float | timedelta | None) -> WaitSpec:
    label = f"wait.{kind}"
    adapter = codec.adapter_for(type_, f"{label} {name!r:.60}: its value")
    detail: dict[str, Any] = {} if type_ is Any else {"schema": ordered(adapter.json_schema())}
    decode = decoder(adapter, f"{kind} {name!r:.60}")
    return WaitSpec(
        kind, _named(kind, name), delay=delay_of(timeout, f"{label}: timeout"), detail=detail, decode=decode
    )


def ordered(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with the order of its fields, which jsonb forgets: forms are drawn in it."""
    return {**schema, "propertyOrder": list(schema["properties"])} if schema.get("properties") else schema


def decoder(adapter: TypeAdapter[Any], label: str) -> Callable[[Any], Any]:
    """What turns JSON into the value; `label` names it in the error. It raises InvalidPayload."""

    def decode(value: Any) -> Any:
        try:
            return adapter.validate_json(json.dumps(value))
        except ValidationError as error:
            faults = codec.field_errors(error, "value")
            raise InvalidPayload(f"The value of {label} does not fit: {faults[0]['message']}.", errors=faults) from None

    return decode


def _approval_spec(
    title: str,
    form: type[BaseModel] | None,
    timeout: float | timedelta | None,
    default: str | None,
    assignee: str | None,
    group: str | None,
    context: Any,
) -> WaitSpec:
    if form is not None and not (isinstance(form, type) and issubclass(form, BaseModel)):
        raise DeclarationError(f"wait.approval: form is {form!r:.60}; write a class derived from pydantic.BaseModel")
    if default not in (None, "approve", "reject"):
        raise DeclarationError(f"wait.approval: default is {default!r:.60}; write 'approve', 'reject' or nothing")
    if default is not None and timeout is None:
        raise DeclarationError("wait.approval: a default decides when the timeout is over; give a timeout, too")
    detail: dict[str, Any] = {}
    for name, value in (("assignee", assignee), ("group", group)):
        if value is not None:
            if not is_word(value, MAX_NAME):
                raise DeclarationError(f"wait.approval: {name} is {value!r:.60}; write 1 to {MAX_NAME} characters")
            detail[name] = value
    if context is not None:
        detail["context"] = json.loads(codec.dump(None, context, "context"))
    if form is not None:
        detail["schema"] = ordered(form.model_json_schema())
    if default is not None:
        detail["default"] = {"approved": default == "approve", "by": "timeout"}
    adapter: TypeAdapter[Any] = TypeAdapter(form) if form is not None else TypeAdapter(Any)
    decode = decoder(adapter, f"approval {title!r:.60}")

    def decision(value: Any) -> Decision[Any]:
        filled = value.get("form")
        return Decision(
            approved=bool(value["approved"]),
            form=decode(filled) if filled is not None else None,
            by=value.get("by", ""),
            comment=value.get("comment", ""),
        )

    return WaitSpec(
        WaitKind.APPROVAL,
        _named(WaitKind.APPROVAL, title),
        delay=delay_of(timeout, "wait.approval: timeout"),
        detail=detail,
        decode=decision,
    )


def _token(run: RunContext, spec: WaitSpec) -> tuple[Token[Any], Future[None] | None]:
    _check_place(spec)
    key, token, url, stored = run.open_token(spec)
    return Token(replace(spec, key=key), token, url), stored
