"""What a run says of itself, the latest alone: how far it is, and its metadata."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from uuid import UUID

from runs.engine.paced import Paced
from runs.store import ProgressRow

#: Seconds between two rows of one run.
PACE: Final = 0.25


class Progress(Paced[ProgressRow]):
    """One run's, in one stay."""

    __slots__ = ("_id",)

    def __init__(self, id: UUID, put: Callable[[ProgressRow], None]) -> None:  # noqa: A002
        super().__init__(put, PACE)
        self._id = id

    def say(self, value: float | None = None, words: str | None = None, metadata: str | None = None) -> None:
        """None: as it was."""
        self.take(ProgressRow(self._id, value, words, metadata))
