"""The handle of an enqueued run."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Generic, TypeVar, cast

from asgiref.sync import sync_to_async
from pydantic import TypeAdapter

from runs.errors import RunFailed, UnknownRun
from runs.sdk import streamtoken
from runs.sdk.inloop import LoopGuard
from runs.sdk.patience import looks
from runs.states import FINAL, Status

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Published:
    """What a run has said of itself, by `current_run().progress` and `.set_metadata`. None: nothing yet."""

    status: Status
    progress: float | None  # 0 to 1
    words: str
    metadata: dict[str, Any] | None


class RunHandle(Generic[R]):
    """What `enqueue` returns: the run's id, and ways to ask how it goes."""

    def __init__(self, id: uuid.UUID, output: TypeAdapter[Any] | None = None, *, created: bool = True) -> None:  # noqa: A002
        self.id = id
        #: False when an idempotency key led to a run that was there already.
        self.created = created
        self._output = output
        self._row: Any = None

    def __repr__(self) -> str:
        return f"<run {self.id}>"

    def refresh(self) -> RunHandle[R]:
        """Reads the run again. Raises UnknownRun when it does not exist (its transaction rolled back, say)."""
        from runs.models import Run

        try:
            with LoopGuard("result(), refresh() or status", "….aresult(), or ….arefresh()"):
                self._row = Run.objects.only("status", "output", "error", "attempt").get(pk=self.id)
        except Run.DoesNotExist:
            raise UnknownRun(
                f"Run {self.id} does not exist. Was the transaction that enqueued it rolled back?"
            ) from None
        return self

    async def arefresh(self) -> RunHandle[R]:
        """`refresh` for `async def`."""
        return await sync_to_async(self.refresh)()

    @property
    def status(self) -> Status:
        """The run's status when it was last read; reads it the first time."""
        if self._row is None:
            self.refresh()
        return Status(self._row.status)

    @property
    def error(self) -> dict[str, Any] | None:
        """{type, message, fingerprint, traceback} of the last failure."""
        if self._row is None:
            self.refresh()
        found: dict[str, Any] | None = self._row.error
        return found

    def result(self, timeout: float | None = None) -> R:
        """Waits for the run's end and returns what the task returned.

        Args:
            timeout: Seconds to wait at most; None waits for ever.

        Raises:
            TimeoutError: it did not end in time.
            RunFailed: it ended without a result.
        """
        for _ in looks(timeout):
            if self.refresh().status in FINAL:
                break
        else:
            raise TimeoutError(f"Run {self.id} is {self.status} after {timeout} s")
        if self.status != Status.COMPLETED:
            error = self.error or {}
            raise RunFailed(
                f"Run {self.id} is {self.status}: {error.get('type', '')} {error.get('message', '')}".rstrip(": "),
                status=str(self.status),
                error=error,
            )
        value = self._row.output
        if self._output is None:
            return cast(R, value)
        # As JSON, which it is: a strict type takes a date from JSON's text, but not from Python's.
        return cast(R, self._output.validate_json(json.dumps(value)))

    def update(self, name: str, payload: Any = None, *, timeout: float | None = None, key: str | None = None) -> Any:
        """Asks the run for something and waits for its reply. The update is kept until the run waits for it
        (`wait.update(name)`), in the order of sending.

        Args:
            payload: Anything that JSON can hold; checked against the type that the run waits for.
            timeout: Seconds to wait for the reply at most; None waits for ever.
            key: Your name for this update: sent again under the same key, it is the same one, and has the same reply.

        Returns:
            What the run replied, as JSON holds it.

        Raises:
            UpdateRefused: the run says no; the message is its reason.
            UpdateTimeout: no reply in time. The update stays; ask again with the same key.
            WrongState: the run has ended, or ends without a reply.
            UnknownRun, InvalidPayload, InvalidOption, IdempotencyConflict: it was not sent.
        """
        from runs import updates

        with LoopGuard("update()", "….aupdate(…)"):
            return updates.ask(self.id, name, payload, timeout=timeout, key=key)

    async def aupdate(
        self,
        name: str,
        payload: Any = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - the twin of `update`
        key: str | None = None,
    ) -> Any:
        """`update` for `async def`."""
        return await sync_to_async(self.update, thread_sensitive=False)(name, payload, timeout=timeout, key=key)

    def query(self) -> Published:
        """What the run says of itself: its progress and metadata, as they were published last. Raises UnknownRun."""
        from runs.updates import published

        with LoopGuard("query()", "….aquery()"):
            return published(self.id)

    async def aquery(self) -> Published:
        """`query` for `async def`."""
        return await sync_to_async(self.query)()

    def stream_token(self, stream: str | None = None, *, ttl: float | timedelta = streamtoken.DEFAULT_TTL) -> str:
        """A token with which a page of your own reads this run's streams at `/streams/<token>`, and nothing else.

        Args:
            stream: The one stream that it is for; None is any of this run's.
            ttl: Seconds that it holds: an hour unless told otherwise.
        """
        return streamtoken.issue(self.id, stream, ttl)

    async def aresult(self, timeout: float | None = None) -> R:  # noqa: ASYNC109 - the twin of `result`
        """`result` for `async def`."""
        return await sync_to_async(self.result, thread_sensitive=False)(timeout)
