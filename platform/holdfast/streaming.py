"""A response that is made while it is sent, and let go of when its reader goes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

from django.http import StreamingHttpResponse


class LiveResponse(StreamingHttpResponse):
    """Closes its iterator whichever way it ends. Django's own leaves that to the garbage collector when the client is
    given up in the middle of a send, and what the reader held would be held on."""

    def __init__(self, content: AsyncGenerator[bytes, None], **kwargs: Any) -> None:
        super().__init__(content, **kwargs)
        self._content = content
        self.headers["Cache-Control"] = "no-store"
        self.headers["X-Accel-Buffering"] = "no"  # nginx would gather what is to be seen at once

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async with aclosing(self._content) as parts:
            async for part in parts:
                yield part
