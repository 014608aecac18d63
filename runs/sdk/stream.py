"""`stream`: output that readers see while the run makes it, the tokens of an LLM for one."""

from __future__ import annotations

import logging
import re
from types import TracebackType
from typing import Any, Final

from runs.errors import NotSerializable, StreamMisuse
from runs.sdk import codec
from runs.sdk.context import current

_outside = logging.getLogger("holdfast.task")

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
#: Bytes of JSON of one chunk.
MAX_CHUNK: Final = 64 * 1024


class Stream:
    """One stream of the current run: `out = stream("answer"); out.send(token); out.close()`.

    `send` returns at once, in `def` and in `async def`: chunks are written with the next group commit, in the order in
    which they were sent and before whatever the run stores afterwards. In a thread it waits while too much is waiting
    to be written. Outside a run a chunk is only checked and goes to the logger `holdfast.task` (level debug).
    """

    __slots__ = ("_closed", "name")

    def __init__(self, name: str) -> None:
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise StreamMisuse(
                f"A stream cannot be called {name!r:.120}: write 1 to 100 letters, digits, '.', '_' and '-', beginning "
                "with a letter or digit."
            )
        self.name = name
        self._closed = False

    def send(self, chunk: Any) -> None:
        """Adds text, or anything else that JSON can hold.

        Raises:
            NotSerializable: JSON cannot hold it, or it has more than MAX_CHUNK bytes.
            StreamMisuse: the stream was closed.
        """
        if self._closed:
            raise StreamMisuse(f"Stream {self.name!r} is closed. Send before close(), or open it again: stream(...).")
        path = f"stream {self.name!r}: chunk"
        text = codec.dump(None, chunk, path)
        if len(text) * 4 > MAX_CHUNK and (size := len(text.encode())) > MAX_CHUNK:
            raise NotSerializable(
                f"{path} is {size:,} bytes as JSON; the limit is {MAX_CHUNK:,}. Send it in parts, or store it "
                "elsewhere and send a reference to it.",
                path=path,
                errors=[{"field": path, "message": f"is {size:,} bytes; the limit is {MAX_CHUNK:,}"}],
            )
        self._put(text)

    def close(self) -> None:
        """Tells readers that this stream is complete. (The end of the run tells them as well.) May be called twice."""
        if not self._closed:
            self._closed = True
            self._put(None)

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the stream, unless the block failed: what is half said is not complete."""
        if error is None:
            self.close()

    def _put(self, text: str | None) -> None:
        run = current.get()
        if run is not None:
            run.send(self.name, text)
        elif text is not None:
            _outside.debug("stream %s: %s", self.name, text)


def stream(name: str) -> Stream:
    """A stream of the current run, by its name.

    Raises:
        StreamMisuse: the name does not fit into an address.
    """
    return Stream(name)
