"""The current run: what task code may know of it, and what the SDK asks of whoever executes it."""

from __future__ import annotations

import threading
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextvars import ContextVar
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NoReturn

from runs.errors import NotInRun, StepMisuse

if TYPE_CHECKING:
    from runs.sdk.step import Step
    from runs.sdk.wait import WaitSpec


class RunContext(ABC):
    """A run while it is executed. The engine has the one implementation."""

    __slots__ = ("attempt", "id", "state", "tags", "task_id", "trace_id")

    id: uuid.UUID
    attempt: int
    task_id: str
    tags: tuple[str, ...]
    trace_id: str
    #: The state that `checkpoint` saved last, or None.
    state: Any

    @property
    @abstractmethod
    def is_replaying(self) -> bool:
        """True while steps of an earlier stay are answered from their snapshots."""

    @property
    @abstractmethod
    def is_async(self) -> bool:
        """True when the task is `async def`."""

    @property
    def step_key(self) -> str:
        """Names the step that is being executed, in this run: the same in each of its tries and attempts, and in no
        other run. An idempotency key for the services that the step calls.

        Raises:
            StepMisuse: no step is being executed.
        """
        key = current_step.get()
        if not key:
            raise StepMisuse(
                "current_run().step_key was asked for outside a step. Read it inside the function that @step wraps."
            )
        return f"{self.id}:{key}"

    @abstractmethod
    async def step_async(self, step: Step[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any: ...

    @abstractmethod
    def step_sync(self, step: Step[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any: ...

    @abstractmethod
    def save_state(self, state: Any, saved: Callable[[BaseException | None], None]) -> None:
        """Makes `state` durable; calls `saved` (from another thread) when it is, or with why it is not."""

    @abstractmethod
    async def wait_async(self, spec: WaitSpec) -> Any: ...

    @abstractmethod
    def wait_sync(self, spec: WaitSpec) -> Any: ...

    @abstractmethod
    def open_token(self, spec: WaitSpec) -> tuple[str, uuid.UUID, str, Future[None] | None]:
        """Begins a token's wait: its key, its id, its address, and what is done when it is durable (None: it is)."""

    @abstractmethod
    def open_completion(self, timeout: float | None) -> tuple[uuid.UUID, str, Future[None] | None]:
        """Begins the wait for who finishes the step that is being executed: id, address, and what is done when it is
        durable (None: it is)."""

    @abstractmethod
    def continue_as_new(self, payload: str) -> NoReturn:
        """Ends this round of the run, and begins the next with this payload (JSON)."""

    @abstractmethod
    def answer_update(self, update: uuid.UUID, wait: str, outcome: str, text: str) -> Future[None] | None:
        """Answers an update that `wait` (a key) has brought: `replied` with JSON text, or `refused` with a reason. What
        is returned is done when it is durable; None: it was, in an earlier stay."""

    @abstractmethod
    def spend(self, amounts: dict[str, Decimal]) -> None:
        """Adds to what the run has used, by unit."""

    @abstractmethod
    def beat(self, details: str | None) -> None:
        """The step that is being executed lives; `details` are JSON, None as they were."""

    @abstractmethod
    def last_beat(self) -> str | None:
        """The latest details of the step that is being executed."""

    @abstractmethod
    def progress(self, value: float, words: str = "") -> None:
        """Says how far the run is, 0 to 1, in words as well. The latest is kept, and shown live; call it as often as
        you like."""

    @abstractmethod
    def set_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Says anything about the run: an object that JSON can hold, in place of the one before."""

    @abstractmethod
    def say(self, level: int, message: str, fields: dict[str, Any] | None) -> None:
        """Adds a log line."""

    @abstractmethod
    def send(self, stream: str, data: str | None) -> None:
        """Adds a chunk (JSON text) to a stream; None closes it."""


current: ContextVar[RunContext | None] = ContextVar("holdfast_current_run", default=None)
#: The step that is being executed, by its key; steps nest no steps.
current_step: ContextVar[str] = ContextVar("holdfast_current_step", default="")
_executing = False


def set_executing(value: bool) -> bool:
    """Says whether this process executes runs now; returns what was said before."""
    global _executing
    before, _executing = _executing, value
    return before


def has_lost_its_run() -> bool:
    """Whether this is a thread that code of a run has started: a bare thread does not know the run it works for."""
    return _executing and current.get() is None and threading.current_thread() is not threading.main_thread()


def current_run() -> RunContext:
    """The run this code is executed for: `id, attempt, task_id, tags, trace_id, state, is_replaying`, and inside a
    step `step_key`.

    Raises:
        NotInRun: called outside a run.
    """
    run = current.get()
    if run is None:
        raise NotInRun(
            "current_run() was called outside a run. Call it inside a task that a worker executes; "
            "where code serves both, ask runs.sdk.context.current.get() which gives None outside."
        )
    return run
