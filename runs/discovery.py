"""Importing the tasks at the start of a process: what is wrong with them is one line."""

import sysconfig
import traceback

from holdfast.errors import ConfigError, HoldfastError
from runs import registration


def discover() -> None:
    """Import `tasks.py` of every app, and what HOLDFAST_TASKS names.

    Raises:
        ConfigError: one of them cannot be imported; says where and why.
    """
    try:
        registration.discover()
    except HoldfastError as error:
        raise ConfigError(str(error)) from error
    except Exception as error:
        said = " ".join(str(error).split())
        problem = f"{_where(error)}: {type(error).__name__}: {said}"
        raise ConfigError(f"Tasks cannot be imported. {problem}. Correct it and start again.") from error


def _where(error: Exception) -> str:
    """The line of the user's own code: the innermost that is neither Python's nor an installed package's."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    theirs = tuple(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if not f.filename.startswith((*theirs, "<frozen"))]
    frame = (own or list(frames))[-1]
    return f"{frame.filename}, line {frame.lineno}"
