"""A stored traceback, line by line, with the project's own frames marked. Pure."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from runs.errorgroups.fingerprint import is_project

_FRAME: Final = re.compile(r'^\s*(?:[|+]\s*)*File "(.*)", line \d+, in ')
_HEAD: Final = re.compile(r"^\s*(?:[|+-]\s*)*(?:Traceback \(|During handling of|The above exception)")


class Line(NamedTuple):
    """A line of the text: of a frame of the project, of another's frame, or of none (`kind` is empty)."""

    text: str
    kind: str


def lines(text: str) -> list[Line]:
    """The lines of a traceback. What follows a frame's first line belongs to it as long as it is indented."""
    found, kind = [], ""
    for line in text.splitlines():
        if match := _FRAME.match(line):
            kind = "ours" if is_project(match[1]) else "theirs"
        elif not line.startswith((" ", "\t")) or _HEAD.match(line):
            kind = ""
        found.append(Line(line, kind))
    return found
