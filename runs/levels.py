"""Levels of log lines: the names of Python's standard logging, in small letters, and their numbers."""

from __future__ import annotations

import logging
from typing import Final

#: From which number on a line is of a level, for who narrows a log; of "debug" and above is every line.
LEVELS: Final = {"debug": 0, "info": 20, "warning": 30, "error": 40, "critical": 50}


def nearest(number: int) -> str:
    """The level's name, or that of the level below it: `info` for 25."""
    return [name for name, least in LEVELS.items() if number >= least or not least][-1]


def exact(number: int) -> str:
    """The level's name; one that has none is its number: `25`."""
    name = logging.getLevelName(number).lower()
    return name if name in LEVELS else str(number)
