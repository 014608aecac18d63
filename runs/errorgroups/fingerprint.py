"""What makes two failures the same one: the exception's type, the project's own lines that led to it, and the message
without what differs from call to call.

A line is known by its text and by the function that it stands in, never by its number: an edit above it changes
nothing. Of several frames only those count that belong together: what a step raises is the same failure whether its try
is described or the attempt that it ended, so the frames before the last call into the engine are left out.
"""

from __future__ import annotations

import hashlib
import linecache
import re
import sysconfig
from pathlib import Path
from types import CodeType, TracebackType
from typing import Final

#: Characters of a message that are looked at, and of what is left of it.
MAX_READ, MAX_NORMAL = 1_000, 300
#: Frames of one failure; a recursion is told by its lines, however deep it was.
MAX_FRAMES: Final = 40
#: Lines that are remembered, so that a failure that comes often does not read its source again.
MAX_LINES: Final = 5_000

_RUNS: Final = Path(__file__).parents[1]
#: Frames of the engine, which say nothing about the user's code.
OURS: Final = tuple(str(_RUNS / room) for room in ("engine", "sdk", "djangotasks"))
_LIBRARIES: Final = tuple({sysconfig.get_paths()[name] for name in ("stdlib", "platlib", "purelib")})
#: The same, where the path is of another machine.
_FOREIGN: Final = re.compile(r"/(?:site|dist)-packages/|/lib/python\d[\d.]*/|^<")

_UUID: Final = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_QUOTED: Final = r"""(?<!\w)'[^']*'(?!\w)|"[^"]*"|`[^`]*`"""
#: A word with a digit in it, and what hangs on it: numbers, times, addresses, versions, ids.
_NUMBERED: Final = r"(?<!\w)[^\W\d]*\d\w*(?:[.:,-]\d\w*)*"
_VARIABLE: Final = re.compile(rf"{_QUOTED}|{_UUID}|\b[0-9a-fA-F]{{16,}}\b|{_NUMBERED}")
_LIST: Final = re.compile(r"#(?:\s*[,;:=/|x]?\s*#)+")
_COMMENT: Final = re.compile(r"\s+#.*$")

_lines: dict[tuple[int, int], tuple[CodeType, str]] = {}


def normal(message: str) -> str:
    """The message with `#` for numbers, ids, hexadecimal digits and what is quoted, on one line, cut."""
    text = _VARIABLE.sub("#", message[:MAX_READ])
    return " ".join(_LIST.sub("#", text).split())[:MAX_NORMAL]


def of(name: str, message: str, trace: TracebackType | None) -> str:
    """The fingerprint, 16 hexadecimal digits."""
    text = "|".join((name, normal(message), *_frames(trace)))
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def is_theirs(filename: str) -> bool:
    """False for frames of the engine."""
    return not filename.startswith(OURS)


def is_project(filename: str) -> bool:
    """Whether a file is of the user's project: neither a library's nor ours. It may lie on another machine."""
    return is_theirs(filename) and not filename.startswith(_LIBRARIES) and not _FOREIGN.search(filename)


def _frames(trace: TracebackType | None) -> list[str]:
    """The project's lines behind the last call into the engine that led to one; each once."""
    found: dict[str, None] = {}
    entered = False
    while trace is not None:
        code = trace.tb_frame.f_code
        if not is_theirs(code.co_filename):
            entered = True
        elif is_project(code.co_filename):
            if entered:
                found.clear()
                entered = False
            found[_line(code, trace.tb_lineno, trace.tb_frame.f_globals)] = None
        trace = trace.tb_next
    return list(found)[-MAX_FRAMES:]


def _line(code: CodeType, number: int, module: dict[str, object]) -> str:
    """A line by its file's name, its function and its text."""
    key = (id(code), number)
    known = _lines.get(key)
    if known is not None and known[0] is code:
        return known[1]
    if len(_lines) >= MAX_LINES:
        _lines.clear()
    text = f"{Path(code.co_filename).name}:{code.co_qualname}:{_text(code, number, module)}"
    _lines[key] = (code, text)  # with the code, so that its id stays its own
    return text


def _text(code: CodeType, number: int, module: dict[str, object]) -> str:
    """The text of a line; with its place among those that read the same in its function; without a source, its number
    in the function."""
    linecache.checkcache(code.co_filename)
    source = linecache.getlines(code.co_filename, module)
    if not 0 < number <= len(source):
        return f"+{number - code.co_firstlineno}"
    text = _plain(source[number - 1])
    same = sum(_plain(line) == text for line in source[code.co_firstlineno - 1 : number])
    return text if same <= 1 else f"{text} ({same})"


def _plain(line: str) -> str:
    return " ".join(_COMMENT.sub("", line).split())
