"""A websocket to the ASGI application of this process, as a server would hand it over."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from asgiref.testing import ApplicationCommunicator

PATIENCE = 60.0  # seconds until a message must have come
Headers = list[tuple[bytes, bytes]]


class Socket(ApplicationCommunicator):
    """What `channels.testing` has as WebsocketCommunicator, which cannot be imported without Daphne."""

    def __init__(self, application: Any, path: str, headers: Headers) -> None:
        parts = urlsplit(path)
        scope = {
            "type": "websocket",
            "path": parts.path,
            "query_string": parts.query.encode(),
            "headers": headers,
            "subprotocols": [],
        }
        super().__init__(application, scope)

    async def connect(self) -> tuple[bool, int | None]:
        """Whether the application accepts, and its close code when it does not."""
        await self.send_input({"type": "websocket.connect"})
        answer = await self.receive_output(PATIENCE)
        return answer["type"] == "websocket.accept", answer.get("code")

    async def hear(self) -> dict[str, Any]:
        """The application's next message, whatever it is."""
        message: dict[str, Any] = await self.receive_output(PATIENCE)
        return message

    @property
    def has_heard(self) -> bool:
        return not self.output_queue.empty()

    async def disconnect(self) -> None:
        await self.send_input({"type": "websocket.disconnect", "code": 1000})
        await self.wait(PATIENCE)
