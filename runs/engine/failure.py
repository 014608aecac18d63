"""An exception as data: type, message, traceback, and a fingerprint that groups what is the same failure."""

from __future__ import annotations

import hashlib
import json
import re
import sysconfig
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from runs.errors import ProcessDied

MAX_MESSAGE: Final = 4_000
MAX_TRACEBACK: Final = 20_000
MAX_FRAMES: Final = 40

_ENGINE: Final = str(Path(__file__).parent)
_SDK: Final = str(Path(__file__).parent.parent / "sdk")
_DJANGO_TASKS: Final = str(Path(__file__).parent.parent / "djangotasks")
_LIBRARIES: Final = tuple({sysconfig.get_paths()[name] for name in ("stdlib", "platlib", "purelib")})
_VARIABLE: Final = re.compile(r"0x[0-9a-fA-F]+|[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}|\d+(?:\.\d+)?|'[^']*'|\"[^\"]*\"")


def clean(text: str, limit: int) -> str:
    """Text that PostgreSQL takes: no NUL, no lone surrogate, not longer than `limit`."""
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def describe(error: BaseException, step: str = "") -> dict[str, Any]:
    """{type, message, fingerprint, traceback}, the step's key where it was one that failed, and how the process
    of an isolated run ended: `exit`."""
    kind = type(error)
    name = (
        kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
    )
    try:
        message = str(error)
    except Exception as unprintable:
        message = f"(its message cannot be shown: {unprintable!r})"
    found: dict[str, Any] = {
        "type": clean(name, 300),
        "message": clean(message, MAX_MESSAGE),
        "fingerprint": _fingerprint(name, message, error.__traceback__),
        "traceback": _traceback(error),
    }
    if step:
        found["step"] = step
    if isinstance(error, ProcessDied):
        found["exit"] = error.data
    return found


def encode(description: dict[str, Any]) -> str:
    return json.dumps(description, ensure_ascii=False)


def _theirs(filename: str) -> bool:
    """False for frames of the engine, which say nothing about the user's code."""
    return not filename.startswith((_ENGINE, _SDK, _DJANGO_TASKS))


def _traceback(error: BaseException) -> str:
    chain = traceback.TracebackException.from_exception(error, limit=-MAX_FRAMES, compact=True)
    link: traceback.TracebackException | None = chain
    while link is not None:
        link.stack = traceback.StackSummary.from_list([f for f in link.stack if _theirs(f.filename)])
        link = link.__cause__ or link.__context__
    text = "".join(chain.format())
    if len(text) > MAX_TRACEBACK:
        text = "…" + text[1 - MAX_TRACEBACK :]
    return clean(text, MAX_TRACEBACK)


def _fingerprint(name: str, message: str, trace: TracebackType | None) -> str:
    """Type, the user's own frames (without line numbers), and the message with its numbers and quotes taken out."""
    frames = [
        f"{Path(frame.filename).name}:{frame.name}"
        for frame in traceback.extract_tb(trace)
        if _theirs(frame.filename) and not frame.filename.startswith(_LIBRARIES)
    ]
    text = "|".join((name, _VARIABLE.sub("#", message)[:300], *frames))
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]
