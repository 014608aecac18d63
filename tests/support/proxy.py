"""A TCP proxy of the test's own, between a process and a server: it can freeze, cut and refuse."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, quote, unquote, urlsplit

from holdfast import env
from tests.support.ports import kept_port


class Proxy:
    """Forwards 127.0.0.1:port to a Unix socket. `freeze` keeps connections open and forwards nothing."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._listener: socket.socket | None = None
        self._place = kept_port()
        self._port = self._place.getsockname()[1]
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._wake, self._waker = socket.socketpair()
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._frozen = False
        self._refusing = False
        self._closing = False
        self._obeyed = threading.Event()
        self._listen()
        self._thread = threading.Thread(target=self._serve, name="proxy", daemon=True)
        self._thread.start()

    @classmethod
    def of_redis(cls, url: str) -> tuple[Self, str]:
        """A proxy before the server of a `unix://` URL, and the URL that leads through it."""
        parts = urlsplit(url)
        asked = parse_qs(parts.query)
        proxy = cls(unquote(parts.path))
        return proxy, f"redis://:{asked['password'][0]}@127.0.0.1:{proxy._port}/{asked['db'][0]}"

    @classmethod
    def of_postgresql(cls, url: str) -> tuple[Self, str]:
        """A proxy before the server of a URL whose host is a folder, and the URL that leads through it."""
        found = env.parse_database_url(url)
        proxy = cls(f"{found.host}/.s.PGSQL.{found.port or 5432}")
        return proxy, f"postgresql://{found.user}:{quote(found.password, safe='')}@127.0.0.1:{proxy._port}/{found.name}"

    def freeze(self) -> None:
        """Connections stay open, new ones are taken, and nothing passes."""
        self._frozen = True
        self._obey()

    def thaw(self) -> None:
        """What waits goes on."""
        self._frozen = False
        self._obey()

    def refuse(self) -> None:
        """As a server that was killed: connections are cut, new ones are refused."""
        self._refusing = True
        self._obey()

    def accept(self) -> None:
        """The server is back."""
        self._refusing = False
        self._obey()

    def connections(self) -> int:
        return len(self._pairs) // 2

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._closing = True
        self._waker.send(b"x")
        self._thread.join(60)

    def _obey(self) -> None:
        """What the test asks for next does not take this back before it is done."""
        self._obeyed.clear()
        self._waker.send(b"x")
        assert self._obeyed.wait(60), "the proxy's thread is gone"

    def _listen(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self._port))
        listener.listen(64)
        self._selector.register(listener, selectors.EVENT_READ)
        self._listener = listener

    def _serve(self) -> None:
        while not self._closing:
            asked = False
            for key, _ in self._selector.select(None if not self._frozen else 0.2):
                found = key.fileobj
                assert isinstance(found, socket.socket)
                if found is self._wake:
                    self._wake.recv(64)
                    asked = True
                elif found is self._listener:
                    self._take(found)
                elif not self._frozen:
                    self._pass(found)
            self._turn()
            if asked:
                self._obeyed.set()
        self._cut()
        for left in (self._listener, self._place, self._wake, self._waker):
            if left is not None:
                left.close()
        self._selector.close()

    def _turn(self) -> None:
        """Takes up what the test asked for."""
        if self._refusing and self._listener is not None:
            self._selector.unregister(self._listener)
            self._listener.close()
            self._listener = None
            self._cut()
        elif not self._refusing and self._listener is None:
            self._listen()
        for end in self._pairs:
            watched = end in self._selector.get_map()
            if self._frozen and watched:
                self._selector.unregister(end)
            elif not self._frozen and not watched:
                self._selector.register(end, selectors.EVENT_READ)

    def _take(self, listener: socket.socket) -> None:
        client, _ = listener.accept()
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(self._upstream)
        except OSError:
            client.close()
            server.close()
            return
        self._pairs[client], self._pairs[server] = server, client

    def _pass(self, end: socket.socket) -> None:
        other = self._pairs.get(end)
        if other is None:
            return  # its pair was closed in this very round
        data = b""
        with contextlib.suppress(OSError):
            data = end.recv(65536)
        with contextlib.suppress(OSError):
            if data:
                other.sendall(data)
                return
        self._close(end)

    def _close(self, end: socket.socket) -> None:
        for one in (end, self._pairs[end]):
            with contextlib.suppress(KeyError):
                self._selector.unregister(one)
            self._pairs.pop(one, None)
            one.close()

    def _cut(self) -> None:
        while self._pairs:
            self._close(next(iter(self._pairs)))
