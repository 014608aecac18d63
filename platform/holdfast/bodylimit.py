"""Refuses bodies that are too long before they are read: Django would write all of them to disk first."""

from collections.abc import Awaitable, Callable
from typing import Any

from holdfast.middleware import HEADER, POLICY

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class BodyTooLong(Exception):
    """More of a body arrived than its address takes."""


class BodyLimit:
    """ASGI middleware.

    Args:
        app: what answers everything else.
        limit_of: the bytes that a path takes in a body of a Content-Type.
        refuse: the problem+json body of the 413, for a limit.
    """

    def __init__(self, app: App, limit_of: Callable[[str, str], int], refuse: Callable[[int], bytes]) -> None:
        self.app = app
        self.limit_of = limit_of
        self.refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = dict(scope["headers"])
        limit = self.limit_of(scope["path"], headers.get(b"content-type", b"").decode("latin-1"))
        declared = headers.get(b"content-length", b"0")
        if declared.isdigit() and (len(declared) > 15 or int(declared) > limit):
            return await self._answer(send, limit)
        arrived = 0

        async def counted() -> Message:
            nonlocal arrived
            message = await receive()
            arrived += len(message.get("body", b""))
            if arrived > limit:
                raise BodyTooLong
            return message

        try:
            await self.app(scope, counted, send)
        except BodyTooLong:  # the application reads the whole body before it answers, so nothing was sent yet
            await self._answer(send, limit)

    async def _answer(self, send: Send, limit: int) -> None:
        body = self.refuse(limit)
        headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
            # No middleware sees this answer.
            (HEADER.lower().encode(), POLICY.encode()),
            (b"x-content-type-options", b"nosniff"),
        ]
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": body})
