"""`run_inline`, and `inline` for tests that act while the run waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final, TypeVar

from asgiref.sync import async_to_sync

from holdfast.testing import stay
from holdfast.testing.answers import (
    CALLS,
    KEPT,
    Answer,
    complete_approval,
    complete_token,
    reject_approval,
    send_signal,
    send_update,
)
from holdfast.testing.clock import Clock
from holdfast.testing.crashes import Crashes, CrashPoint
from holdfast.testing.errors import (
    AnswerNotAsked,
    BadCall,
    CrashPointMissed,
    Endless,
    InEventLoop,
    NotWaiting,
    StillWaiting,
)
from holdfast.testing.memory import Kept, Memory
from holdfast.testing.result import InlineResult, Wait, result_of, wait_of
from runs.engine.waiting import FOREVER
from runs.sdk.context import current
from runs.sdk.task import Task
from runs.states import Status

R = TypeVar("R")

#: Stays of one inline run and its children, in all: a run that polls for ever would never end.
MAX_STAYS: Final = 10_000

#: The runs of the test that is executed: a report of its failure tells of them. None unless the plugin is at work.
watched: list[Inline] | None = None


class Inline:
    """A run in the test's process. Nothing happens but when it is asked to go on; then the clock jumps."""

    def __init__(
        self,
        task: Task[..., Any],
        payload: Mapping[str, Any],
        *,
        answers: Iterable[Answer] = (),
        crashes: CrashPoint | Iterable[CrashPoint] = (),
        clock: Clock | None = None,
        tags: Iterable[str] = (),
        max_attempts: int | None = None,
    ) -> None:
        if not isinstance(task, Task):
            raise BadCall(f"{task!r:.80} is no task; give the function that @task wraps, then its payload by name")
        if current.get() is not None:
            raise BadCall(
                f"Task {task.id} was to run inline inside a run; there, write: await task.aenqueue_and_wait(…)"
            )
        given = tuple(answers)
        for answer in given:
            if not isinstance(answer, Answer):
                raise BadCall(f"answers: {answer!r:.60} is no answer; write complete_approval(…), send_signal(…)")
        self.clock = clock or Clock()
        self._crashes = Crashes((crashes,) if isinstance(crashes, CrashPoint) else crashes)
        self._memory = Memory(self.clock, self._crashes, given)
        self._began = self.clock.slept
        self._run = self._memory.add(task, task.encode_payload(payload), tags=list(tags), max_attempts=max_attempts)
        self._stays = 0
        if watched is not None:
            watched.append(self)

    # ── going on ─────────────────────────────────────────────────────────────────────────────────────────────────

    def result(self) -> InlineResult:
        """Goes on to the end; waits that nobody answers time out, where they have a timeout.

        Raises:
            StillWaiting: it waits for an answer that nobody gives.
            CrashPointMissed, AnswerNotAsked: it never came to where the test wanted to act.
        """
        return _blocking(self.aresult)

    async def aresult(self) -> InlineResult:
        """`result` where an event loop runs."""
        await self._go_on(until_asked=False)
        if not self._run.over:
            raise StillWaiting(f"{self._subject} waits for {self._wanted()}, and nothing answers.{self._hint()}")
        if missed := self._crashes.missed:
            raise CrashPointMissed(
                f"{self._subject} ended ({self._run.status}) without coming to {missed[0].label}; it called "
                f"{', '.join(self._run.calls) or 'no step'}."
            )
        if left := self._memory.answers:
            raise AnswerNotAsked(f"{self._subject} ended ({self._run.status}) without asking for {left[0].label}.")
        return self.so_far

    def until_waiting(self) -> Inline:
        """Goes on until the run, or a child of it, waits for somebody's answer. Sleeps and delays pass on the way.

        Raises:
            NotWaiting: it ended instead.
        """
        return _blocking(self.auntil_waiting)

    async def auntil_waiting(self) -> Inline:
        """`until_waiting` where an event loop runs."""
        await self._go_on(until_asked=True)
        if self._run.over:
            raise NotWaiting(f"{self._subject} was to wait for somebody and ended instead: {self.so_far!r}.")
        return self

    def advance(self, by: float | timedelta) -> Inline:
        """Moves the clock, and goes on with what is due then, until the run waits again or ends."""
        return _blocking(self.aadvance, by)

    async def aadvance(self, by: float | timedelta) -> Inline:
        """`advance` where an event loop runs."""
        seconds = by.total_seconds() if isinstance(by, timedelta) else by
        before = self.clock.now()
        await self._go_on(until_asked=True, until=before + _checked(seconds))
        self.clock.move_to(before + seconds)
        await self._go_on(until_asked=True, until=before + seconds)
        return self

    # ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def status(self) -> Status:
        return self._run.status

    @property
    def waiting_for(self) -> tuple[Wait, ...]:
        """What the run and its children wait for that somebody could answer."""
        return tuple(wait_of(wait) for run in self._alive() for wait in run.asked)

    @property
    def so_far(self) -> InlineResult:
        """The result as it would be if nothing more happened."""
        return result_of(self._run, self.clock.slept - self._began)

    # ── answering ────────────────────────────────────────────────────────────────────────────────────────────────

    def complete_approval(
        self, title: str, *, approved: bool = True, form: Any = None, by: str = "test", comment: str = ""
    ) -> Inline:
        """Somebody decides what the run asks. Raises NotWaiting, InvalidPayload."""
        return self.answer(complete_approval(title, approved=approved, form=form, by=by, comment=comment))

    def reject_approval(self, title: str, *, by: str = "test", comment: str = "") -> Inline:
        """Somebody says no. Raises NotWaiting."""
        return self.answer(reject_approval(title, by=by, comment=comment))

    def complete_token(self, name: str = "token", value: Any = None) -> Inline:
        """Somebody completes a token. Raises NotWaiting, InvalidPayload."""
        return self.answer(complete_token(name, value))

    def send_signal(self, name: str, payload: Any = None) -> Inline:
        """A signal for the run; kept until it waits for it."""
        return self.answer(send_signal(name, payload))

    def send_update(self, name: str, payload: Any = None, *, by: str = "test") -> Inline:
        """Asks the run for something; kept until it waits for it. `so_far.updates` tells what it replied.

        Raises:
            InvalidPayload: it does not fit what the run waits for now.
        """
        return self.answer(send_update(name, payload, by=by))

    def answer(self, answer: Answer) -> Inline:
        """Gives an answer; the run sees it when it goes on."""
        if self._run.over:
            raise NotWaiting(f"{self._subject} is {self._run.status}; nobody would read {answer.label}.")
        takers = (self._run,) if answer.kind in KEPT else self._alive()
        if not any(self._memory.answer(run, answer) for run in takers):
            raise NotWaiting(
                f"{self._subject} does not wait for {answer.label}, but for {self._wanted() or 'nothing'}."
            )
        return self

    # ── driving ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _go_on(self, *, until_asked: bool, until: float = FOREVER) -> None:
        with stay.captured():
            while not self._run.over:
                self._memory.match()
                found = self._next(until_asked)
                if found is None or found.wakes > until:
                    return
                self.clock.move_to(found.wakes)
                if found.deadline <= self.clock.now():
                    self._memory.time_out(found)
                    continue
                self._stays += 1
                if self._stays > MAX_STAYS:
                    raise Endless(
                        f"{self._subject} was entered {MAX_STAYS:,} times and did not end. Let it wait for something "
                        "that the test gives, or drive it by hand: inline(…).advance(60)."
                    )
                await stay.execute(self._memory, found)

    def _next(self, until_asked: bool) -> Kept | None:
        """The run to which something happens next by itself; with `until_asked` not to those that ask somebody."""
        now = self.clock.now()
        alive = [run for run in self._alive() if not until_asked or run.due <= now or not run.asked]
        found = min(alive, key=lambda run: run.wakes, default=None)
        return None if found is None or found.wakes == FOREVER else found

    def _alive(self) -> list[Kept]:
        return [run for run in self._memory.runs.values() if not run.over]

    @property
    def _subject(self) -> str:
        return f"The run of {self._run.task.id}"

    def _wanted(self) -> str:
        return ", ".join(wait.label for run in self._alive() for wait in run.asked)

    def _hint(self) -> str:
        asked = [wait.row for run in self._alive() for wait in run.asked]
        if not asked:
            return ""
        return f" Give it one: run_inline(…, answers=[{CALLS[asked[0].kind]}({asked[0].name!r})])."


def run_inline(
    task: Task[..., Any],
    /,
    *,
    answers: Iterable[Answer] = (),
    crashes: CrashPoint | Iterable[CrashPoint] = (),
    clock: Clock | None = None,
    tags: Iterable[str] = (),
    max_attempts: int | None = None,
    **payload: Any,
) -> InlineResult:
    """Executes a task to its end in this process, without servers, and returns what it left behind. It does not raise
    what the task raises: look at `.status` and `.error`.

    Args:
        task: The task; its payload by name. A payload whose names are those of these options is given as one mapping:
            `run_inline(task, payload={"tags": […]})`.
        answers: What is answered once the run waits for it: `complete_approval(…)`, `complete_token(…)`,
            `send_signal(…)`, `send_update(…)`.
        crashes: Where attempts die: `crash_at(…)`, or several.
        clock: A clock of the test's own.
        tags: The run's tags.
        max_attempts: Instead of the retry policy's.

    Raises:
        InvalidPayload: the payload does not fit the task, or an answer not what is asked.
        KitError: see `holdfast.testing.errors`.
    """
    options: dict[str, Any] = {"crashes": crashes, "clock": clock, "tags": tags, "max_attempts": max_attempts}
    return Inline(task, _payload(task, payload), answers=answers, **options).result()


async def arun_inline(
    task: Task[..., Any],
    /,
    *,
    answers: Iterable[Answer] = (),
    crashes: CrashPoint | Iterable[CrashPoint] = (),
    clock: Clock | None = None,
    tags: Iterable[str] = (),
    max_attempts: int | None = None,
    **payload: Any,
) -> InlineResult:
    """`run_inline` for tests that are `async def`: the run shares their event loop."""
    options: dict[str, Any] = {"crashes": crashes, "clock": clock, "tags": tags, "max_attempts": max_attempts}
    return await Inline(task, _payload(task, payload), answers=answers, **options).aresult()


@contextmanager
def inline(
    task: Task[..., Any],
    /,
    *,
    answers: Iterable[Answer] = (),
    crashes: CrashPoint | Iterable[CrashPoint] = (),
    clock: Clock | None = None,
    tags: Iterable[str] = (),
    max_attempts: int | None = None,
    **payload: Any,
) -> Iterator[Inline]:
    """A run that the test drives: `with inline(publish, text="…") as run: run.until_waiting()`. See `run_inline`."""
    options: dict[str, Any] = {"crashes": crashes, "clock": clock, "tags": tags, "max_attempts": max_attempts}
    yield Inline(task, _payload(task, payload), answers=answers, **options)


def _payload(task: Any, given: dict[str, Any]) -> Mapping[str, Any]:
    whole = given.get("payload")
    takes_one = isinstance(task, Task) and "payload" in task.signature.parameters
    if len(given) == 1 and isinstance(whole, Mapping) and not takes_one:
        return whole
    return given


def _checked(seconds: Any) -> float:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < FOREVER:
        raise BadCall(f"advance: {seconds!r} cannot be passed; write seconds from 0, or a timedelta")
    return float(seconds)


def _blocking(call: Callable[..., Coroutine[Any, Any, R]], *args: Any) -> R:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return async_to_sync(call)(*args)
    raise InEventLoop(
        f"{call.__name__.removeprefix('a')}() was called in a test that is `async def`. Write: await arun_inline(…), "
        f"or await run.{call.__name__}(…)."
    )
