"""A service that tasks call over a socket, and that a test takes away and brings back."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from types import TracebackType
from typing import Self


class Service:
    """Answers each line with `ok`, or with `away`; remembers when it was asked what."""

    def __init__(self, delay: float = 0.005) -> None:
        self.up = True
        self.delay = delay
        self.calls: list[tuple[float, str, bool]] = []  # Unix time, line, whether it was up
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        starting = asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=4_096)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result(60)
        host, port = self._server.sockets[0].getsockname()
        self.address = f"{host}:{port}"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        answering = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in answering:
            task.cancel()
        await asyncio.gather(*answering, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = (await reader.readline()).decode().strip()
        up = self.up
        self.calls.append((time.time(), line, up))
        await asyncio.sleep(self.delay)
        writer.write(b"ok\n" if up else b"away\n")
        writer.close()
        with contextlib.suppress(OSError):  # whoever asked is dead
            await writer.wait_closed()

    def count(self, word: str, *, since: float = 0.0, until: float = float("inf")) -> int:
        """Calls whose line begins so, in a span of Unix time."""
        return sum(1 for at, line, _ in self.calls if line.startswith(word) and since <= at < until)
