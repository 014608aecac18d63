"""`print` and standard `logging` inside a run become the run's log lines; outside a run nothing changes."""

from __future__ import annotations

import io
import logging
import sys
from typing import Any, TextIO

from runs.engine import failure
from runs.sdk.context import current


class RunLogHandler(logging.Handler):
    """Hands records that are logged inside a run to it."""

    def emit(self, record: logging.LogRecord) -> None:
        run = current.get()
        if run is None:
            return
        try:
            message = record.getMessage()
            if record.exc_info and record.exc_info[1] is not None:
                message += "\n" + failure.describe(record.exc_info[1])["traceback"]
            run.say(record.levelno, message, {"logger": record.name})
        except Exception:
            self.handleError(record)


class RunStdout(io.TextIOBase):
    """Stands in for `sys.stdout`: text printed inside a run goes to the run, all else to the real one."""

    def __init__(self, real: TextIO) -> None:
        self._real = real

    def write(self, text: str) -> int:
        run: Any = current.get()
        if run is None:
            return self._real.write(text)
        run.printed(text)
        return len(text)

    def flush(self) -> None:
        self._real.flush()

    def isatty(self) -> bool:
        return self._real.isatty()

    def fileno(self) -> int:
        return self._real.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._real.encoding


def install() -> None:
    """For the life of a worker process."""
    root = logging.getLogger()
    if not any(isinstance(handler, RunLogHandler) for handler in root.handlers):
        root.addHandler(RunLogHandler())
        if root.level > logging.INFO:
            root.setLevel(logging.INFO)
            # What is printed of libraries outside of runs stays as quiet as it was.
            for handler in root.handlers:
                if not isinstance(handler, RunLogHandler) and handler.level == logging.NOTSET:
                    handler.setLevel(logging.WARNING)
    if not isinstance(sys.stdout, RunStdout):
        sys.stdout = RunStdout(sys.stdout)
