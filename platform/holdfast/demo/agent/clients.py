"""What the agent needs of the world: a language model and the web. Your clients take the place of the stand-ins.

The stand-ins answer the same each time and need neither network nor key.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from pydantic import BaseModel


class Source(BaseModel):
    """A page that a search found."""

    title: str
    url: str
    words: int


@dataclass(frozen=True, slots=True)
class Tokens:
    """What an answer took."""

    model: str
    input: int
    output: int


class Answer(Protocol):
    """An answer while it is written. Iterate over its tokens; what it took is known at the end."""

    def __aiter__(self) -> AsyncIterator[str]: ...

    @property
    def tokens(self) -> Tokens: ...


class Model(Protocol):
    """A language model."""

    def answer(self, question: str, notes: Sequence[str]) -> Answer: ...


class Web(Protocol):
    """A search engine, a reader of pages, and a place to publish."""

    async def search(self, topic: str, angle: str) -> list[Source]: ...

    async def read(self, source: Source) -> str: ...

    async def publish(self, title: str, text: str, *, key: str) -> str:
        """Returns the address. Publishing again with the same key changes nothing."""


class LocalModel:
    """Stands for a language model.

    Args:
        pace: seconds from one token to the next.
    """

    name = "local-stand-in"

    def __init__(self, pace: float = 0.06) -> None:
        self.pace = pace

    def answer(self, question: str, notes: Sequence[str]) -> Answer:
        text = f"{len(notes)} sources on {question} agree on little and are worth reading: {'; '.join(notes)}."
        return LocalAnswer(self, text, sum(len(note.split()) for note in notes))


class LocalAnswer:
    """The words of a text, one after another."""

    def __init__(self, model: LocalModel, text: str, read: int) -> None:
        self._model = model
        self._text = text
        self._read = read
        self._written = 0

    async def __aiter__(self) -> AsyncIterator[str]:
        for token in re.findall(r"\S+\s*", self._text):
            await asyncio.sleep(self._model.pace)
            self._written += 1
            yield token

    @property
    def tokens(self) -> Tokens:
        return Tokens(self._model.name, self._read, self._written)


class LocalWeb:
    """Stands for the web.

    Args:
        pace: how many times as long as a quick server it takes to answer; 0 is at once.
    """

    def __init__(self, pace: float = 1.0) -> None:
        self.pace = pace

    async def search(self, topic: str, angle: str) -> list[Source]:
        url = "https://example.org/" + f"{topic} {angle}".lower().replace(" ", "-")
        number = zlib.crc32(url.encode())
        await asyncio.sleep(self.pace * (1 + number % 1_000 / 1_000))
        return [Source(title=f"{topic.capitalize()}: {angle}", url=url, words=400 + number % 2_000)]

    async def read(self, source: Source) -> str:
        await asyncio.sleep(self.pace * 0.6)
        return f"{source.title} ({source.words} words)"

    async def publish(self, title: str, text: str, *, key: str) -> str:
        await asyncio.sleep(self.pace * 0.3)
        return f"https://example.org/reports/{zlib.crc32(key.encode()):08x}"
