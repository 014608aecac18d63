"""What a `send` of a run's code becomes: the chunk, and before it the marks that tell readers what no longer counts.

Code runs again after a failure, a crash or a wait. Three rules make one stream of what it sends:

- Outside of steps, what is sent while the run replays is dropped: it was sent before. Inside a step nothing is
  dropped, because the function of a finished step is not called again.
- A chunk notes the run's last snapshot. When a run has been entered again, its first send into a stream is preceded by
  a `restart`: chunks sent at or after the last snapshot that replay keeps are about to be sent again.
- A step that tries again says `restart` for its own chunks alone; other steps may be sending beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runs.models import ChunkKind
from runs.store import ChunkRow

if TYPE_CHECKING:
    from runs.store import Started


class Sending:
    """The streams of one stay of a run. Call under the run's lock.

    Args:
        kept: Sequence of the last finished step or checkpoint that the run came with.
    """

    __slots__ = ("_again", "_kept", "_started", "_streams", "_tries")

    def __init__(self, started: Started, kept: int) -> None:
        self._started = started
        self._kept = kept
        self._again = started.attempt > 1 or started.active is not None
        # Made at the first send: most runs have no streams.
        self._streams: set[str] | None = None
        self._tries: dict[tuple[str, str], int] | None = None

    def rows(
        self, stream: str, data: str | None, step: str, at: float, snapshot: int, tries: int, replaying: bool
    ) -> list[ChunkRow]:
        """What to write for a send from `step` ("" is none), of which `tries` tries have failed; `data` None closes."""
        if replaying and not step:
            return []
        rows = [self._row(stream, ChunkKind.RESTART, at, None, *mark) for mark in self._marks(stream, step, tries)]
        kind = ChunkKind.CLOSED if data is None else ChunkKind.CHUNK
        return [*rows, self._row(stream, kind, at, data, step, snapshot)]

    def _marks(self, stream: str, step: str, tries: int) -> list[tuple[str, int]]:
        """(step, snapshot) of the restarts that are due."""
        if self._streams is None or self._tries is None:
            self._streams, self._tries = set(), {}
        marks = []
        if self._again and stream not in self._streams:
            marks.append(("", self._kept))
        self._streams.add(stream)
        if step:
            # Of a step that was cut off beside others that finished, earlier chunks lie before what replay keeps.
            known = self._tries.get((stream, step), -1 if self._again else tries)
            if known != tries:
                marks.append((step, self._kept))
            self._tries[stream, step] = tries
        return marks

    def _row(self, stream: str, kind: ChunkKind, at: float, data: str | None, step: str, snapshot: int) -> ChunkRow:
        return ChunkRow(self._started.id, stream, kind, at, data, self._started.attempt, step, snapshot)
