"""Where a run was at a moment, as pages, API and command line tell it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from runs.stuck.model import Stack


@dataclass(frozen=True, slots=True)
class Frame:
    """One call. `own`: of the installation's code, neither of Python's, a package's nor Holdfast's."""

    file: str
    line: int
    function: str
    source: str
    own: bool

    @property
    def folder(self) -> str:
        """The last one of the file's path, with its slash: a page has no room for more, and may break the line here."""
        return f"{self.file.rsplit('/', 2)[-2]}/" if "/" in self.file else ""

    @property
    def name(self) -> str:
        """The file's, without its folders."""
        return self.file.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Part:
    """An asyncio task or a thread of a run; its innermost frame is the last."""

    kind: str
    name: str
    frames: list[Frame]

    @property
    def here(self) -> Frame | None:
        """Where it is, in code that its reader knows: the innermost frame of it."""
        return next((frame for frame in reversed(self.frames) if frame.own), None)


def parts_of(told: dict[str, Any]) -> list[Part]:
    """From what a worker has said."""
    return [Part(p["kind"], p["name"], [Frame(**f) for f in p["frames"]]) for p in told.get("parts", ())]


def here_of(parts: Sequence[Part]) -> Frame | None:
    """Of the parts of a run, where the first one is that is in code of its own. The first of several is their parent,
    which only waits for them: one of the others tells more."""
    found = [frame for part in parts if (frame := part.here)]
    return found[1] if len(found) > 1 else found[0] if found else None


@dataclass(frozen=True, slots=True)
class Taken:
    """A run's stack. `steps` are at work; `waits`: a branch of the run waits for something that is to come."""

    run_id: uuid.UUID
    worker: str
    at: datetime
    parts: list[Part]
    steps: list[str]
    waits: bool
    more: int  # parts that are not told

    @classmethod
    def of(cls, row: Stack) -> Taken:
        """From a row that was answered, read with its worker."""
        assert row.captured_at is not None
        told = row.stack or {}
        parts = parts_of(told)
        return cls(
            row.run_id, row.worker.name, row.captured_at, parts, told.get("steps", []), told.get("waits", False),
            told.get("more", 0),
        )  # fmt: skip

    @property
    def here(self) -> Frame | None:
        """Where the run is."""
        return here_of(self.parts)

    def as_json(self) -> dict[str, Any]:
        """By the names of the API."""
        return {
            "run_id": self.run_id,
            "worker": self.worker,
            "captured_at": self.at,
            "steps": self.steps,
            "waits": self.waits,
            "parts": [
                {
                    "kind": part.kind,
                    "name": part.name,
                    "frames": [
                        {"file": f.file, "line": f.line, "function": f.function, "source": f.source, "own": f.own}
                        for f in part.frames
                    ],
                }
                for part in self.parts
            ],
            "more": self.more,
        }

    def lines(self) -> Iterator[str]:
        """As Python prints a traceback."""
        step = f", in step {', '.join(self.steps)}" if self.steps else ""
        yield f"On {self.worker} at {self.at:%Y-%m-%d %H:%M:%S} UTC{step}"
        for part in self.parts:
            yield f"{part.kind.capitalize()} {part.name} (most recent call last):"
            for frame in part.frames:
                yield f'  File "{frame.file}", line {frame.line}, in {frame.function}'
                if frame.source:
                    yield f"    {frame.source}"
        if not self.parts:
            yield "It has not begun, or is about to end: none of its code is at work."
        if self.more:
            yield f"{self.more:,} more tasks and threads are not shown."
