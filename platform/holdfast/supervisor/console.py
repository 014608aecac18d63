"""Lines in a terminal: when, who, what."""

import os
import sys
import time
from typing import Final, TextIO

WIDTH: Final = 10
_PALETTE: Final = (36, 32, 35, 33, 34, 96, 92, 95, 93, 94)
_BOLD, _FAINT, _RED = 1, 2, 31


class Console:
    """Writes prefixed lines; in colour where the stream is a terminal and NO_COLOR is not set."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._colour = self._stream.isatty() and not os.environ.get("NO_COLOR")
        self._colours: dict[str, int] = {}
        self._broken = False

    def line(self, who: str, text: str, *, bad: bool = False) -> None:
        """One line of one process."""
        colour = self._colours.setdefault(who, _PALETTE[len(self._colours) % len(_PALETTE)])
        clock = self._paint(time.strftime("%H:%M:%S"), _FAINT)
        name = self._paint(f"{who:<{WIDTH}}", colour)
        self._write(f"{clock} {name} {self._paint('│', _FAINT)} {self._paint(text, _RED) if bad else text}")

    def banner(self, lines: list[str]) -> None:
        """What must not be overlooked."""
        self._write("")
        for text in lines:
            self._write(f"  {self._paint(text, _BOLD)}")
        self._write("")

    def _paint(self, text: str, code: int) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text

    def _write(self, text: str) -> None:
        if self._broken:
            return
        try:
            self._stream.write(text + "\n")
            self._stream.flush()
        except (BrokenPipeError, OSError, ValueError):
            self._broken = True  # nobody reads any more: that is no reason to stop
