"""A mail server of the test's own: a real one, which keeps what it was given and may be told to refuse."""

from __future__ import annotations

import email
from collections.abc import Iterable
from email.message import Message
from typing import Any, Self

from aiosmtpd.controller import Controller


class _Server(Controller):
    def _trigger_server(self) -> None:
        # It looks whether it answers at the port that it was told; that was any.
        server: Any = self.server
        self.port = server.sockets[0].getsockname()[1]
        super()._trigger_server()


class Mailbox:
    """Keeps messages. It refuses the first so many with a passing error, and strangers always."""

    def __init__(self, refusals: int = 0, strangers: Iterable[str] = ()) -> None:
        self.refusals = refusals
        self.strangers = set(strangers)
        self.messages: list[Message] = []
        self.envelopes: list[list[str]] = []
        self._controller = _Server(self, hostname="127.0.0.1", port=0, ready_timeout=60)

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if address in self.strangers:
            return "550 5.1.1 no such person here"
        envelope.rcpt_tos.append(address)
        return "250 known"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.refusals:
            self.refusals -= 1
            return "451 4.3.0 the disk is full, try later"
        self.messages.append(email.message_from_bytes(envelope.content))
        self.envelopes.append(list(envelope.rcpt_tos))
        return "250 taken"

    @property
    def url(self) -> str:
        """As HOLDFAST_EMAIL_URL."""
        return f"smtp://127.0.0.1:{self._controller.port}"

    def text(self, number: int = 0) -> str:
        """The text of a message."""
        payload = self.messages[number].get_payload(decode=True)
        assert isinstance(payload, bytes)
        return payload.decode()

    def __enter__(self) -> Self:
        self._controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._controller.stop()
