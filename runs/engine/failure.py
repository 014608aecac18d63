"""An exception as data: type, message, traceback, and a fingerprint that groups what is the same failure."""

from __future__ import annotations

import json
import traceback
from typing import Any, Final

from runs.errorgroups import fingerprint
from runs.errors import ProcessDied

MAX_MESSAGE: Final = 4_000
MAX_TRACEBACK: Final = 20_000
MAX_FRAMES: Final = 40

#: Where an exception that a step has raised keeps the step's key: the attempt that it ends says so too.
_STEP: Final = "_holdfast_step"


def clean(text: str, limit: int) -> str:
    """Text that PostgreSQL takes: no NUL, no lone surrogate, not longer than `limit`."""
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def message_of(error: BaseException) -> str:
    """Its message. One that cannot be made is said in words: it must not decide over what follows from the error."""
    try:
        return str(error)
    except Exception as unprintable:
        return f"(its message cannot be shown: {type(unprintable).__name__})"


def brief(error: BaseException) -> str:
    """`ValueError: no such page`, for a line of the log."""
    return f"{type(error).__name__}: {message_of(error)}"


def describe(error: BaseException, step: str = "") -> dict[str, Any]:
    """{type, message, fingerprint, traceback}, the step's key where it was one that failed (also of an attempt that its
    exception has ended), and how the process of an isolated run ended: `exit`."""
    kind = type(error)
    name = (
        kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
    )
    message = message_of(error)
    found: dict[str, Any] = {
        "type": clean(name, 300),
        "message": clean(message, MAX_MESSAGE),
        "fingerprint": fingerprint.of(name, message, error.__traceback__),
        "traceback": _traceback(error),
    }
    if step:
        vars(error)[_STEP] = step
    if raised_in := vars(error).get(_STEP):
        found["step"] = raised_in
    if isinstance(error, ProcessDied):
        found["exit"] = error.data
    return found


def encode(description: dict[str, Any]) -> str:
    return json.dumps(description, ensure_ascii=False)


def _traceback(error: BaseException) -> str:
    chain = traceback.TracebackException.from_exception(error, limit=-MAX_FRAMES, compact=True)
    link: traceback.TracebackException | None = chain
    while link is not None:
        link.stack = traceback.StackSummary.from_list([f for f in link.stack if fingerprint.is_theirs(f.filename)])
        link = link.__cause__ or link.__context__
    text = "".join(chain.format())
    if len(text) > MAX_TRACEBACK:
        text = "…" + text[1 - MAX_TRACEBACK :]
    return clean(text, MAX_TRACEBACK)
