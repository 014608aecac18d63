"""Updates: requests to a run that it answers. `wait.update`, and what a caller gets by `RunHandle.update`.

change = await wait.aupdate("set-price", type=PriceChange, timeout=3600)
if change.value.price < cost:
    await change.arefuse("below cost")
else:
    await change.areply({"old": old})
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, Generic, TypeVar

from runs.errors import DeclarationError, NotInRun, StepMisuse
from runs.sdk import codec
from runs.sdk.context import RunContext, current, current_step
from runs.sdk.options import is_word

T = TypeVar("T")

#: Characters of the reason of a refusal.
MAX_REASON: Final = 2_000


class Update(Generic[T]):
    """A request that a run has taken. Answer it once, by `reply` or by `refuse`: the caller waits for it."""

    __slots__ = ("_answered", "_wait", "by", "id", "value")

    def __init__(self, value: T, id: uuid.UUID, by: str, wait: str) -> None:  # noqa: A002
        #: What is asked, of the wait's `type`.
        self.value = value
        self.id = id
        #: Who asks.
        self.by = by
        self._wait = wait
        self._answered = False

    def __repr__(self) -> str:
        return f"<update {self.id} of {self._wait}>"

    def reply(self, value: Any = None) -> None:
        """The answer: anything that JSON can hold. Durable when the call returns.

        Raises:
            StepMisuse: it is answered already, or this is a step or an `async def` task.
            NotSerializable, PayloadTooLarge: the value cannot be stored; nothing is answered.
        """
        self._wait_for(self._answer("reply", "replied", _reply(value)))

    async def areply(self, value: Any = None) -> None:
        """`reply` for `async def`."""
        await _awaited(self._answer("areply", "replied", _reply(value)))

    def refuse(self, reason: str) -> None:
        """No, and why: the caller gets UpdateRefused with this text. Durable when the call returns.

        Raises:
            StepMisuse, DeclarationError: as `reply`; the reason is no text of 1 to 2,000 characters.
        """
        self._wait_for(self._answer("refuse", "refused", _reason(reason)))

    async def arefuse(self, reason: str) -> None:
        """`refuse` for `async def`."""
        await _awaited(self._answer("arefuse", "refused", _reason(reason)))

    def _answer(self, call: str, outcome: str, text: str) -> Future[None] | None:
        run = _run(call)
        if self._answered:
            raise StepMisuse(
                f"The update of {self._wait} is answered already. An update has one answer: change.reply(…) or "
                "change.refuse(…), once."
            )
        if run.is_async and not call.startswith("a"):
            raise StepMisuse(
                f"change.{call}() would block the event loop of this async task. Write: await change.a{call}(…)"
            )
        stored = run.answer_update(self.id, self._wait, outcome, text)
        self._answered = True
        return stored

    @staticmethod
    def _wait_for(stored: Future[None] | None) -> None:
        if stored is not None:
            stored.result()


async def _awaited(stored: Future[None] | None) -> None:
    if stored is not None:
        await asyncio.wrap_future(stored)


def decoder(decode: Callable[[Any], Any]) -> Callable[[Any], Update[Any]]:
    """Makes an update of what the wait has brought; `decode` checks what is asked."""

    def update(brought: Any) -> Update[Any]:
        return Update(decode(brought["value"]), uuid.UUID(brought["update"]), brought["by"], brought["wait"])

    return update


def _run(call: str) -> RunContext:
    run = current.get()
    if run is None:
        raise NotInRun(f"change.{call}() was called outside a run. Answer an update in the task that has taken it.")
    if step := current_step.get():
        raise StepMisuse(
            f"An update was answered inside step {step!r}, which may be called again. Answer in the task, behind the "
            "step."
        )
    return run


def _reply(value: Any) -> str:
    from runs import enqueue

    text = codec.dump(None, value, "reply")
    enqueue.check_size(text, "reply")
    return text


def _reason(reason: Any) -> str:
    if not is_word(reason, MAX_REASON):
        raise DeclarationError(
            f"change.refuse: the reason is {reason!r:.60}; write text of 1 to {MAX_REASON:,} characters"
        )
    return str(reason)
