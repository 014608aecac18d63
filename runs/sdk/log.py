"""`log`: lines that belong to the run, the attempt and the step that say them."""

from __future__ import annotations

import logging
from typing import Any

from runs.sdk.context import current

_outside = logging.getLogger("holdfast.task")


class Log:
    """`log.info("fetched", url=url, bytes=n)`. Outside a run it writes to the logger `holdfast.task`."""

    __slots__ = ()

    def _say(self, level: int, message: object, fields: dict[str, Any]) -> None:
        run = current.get()
        if run is None:
            _outside.log(level, "%s %s" if fields else "%s", message, *([fields] if fields else []))
        else:
            run.say(level, str(message), fields or None)

    def debug(self, message: object, /, **fields: Any) -> None:
        self._say(logging.DEBUG, message, fields)

    def info(self, message: object, /, **fields: Any) -> None:
        self._say(logging.INFO, message, fields)

    def warning(self, message: object, /, **fields: Any) -> None:
        self._say(logging.WARNING, message, fields)

    def error(self, message: object, /, **fields: Any) -> None:
        self._say(logging.ERROR, message, fields)

    def critical(self, message: object, /, **fields: Any) -> None:
        self._say(logging.CRITICAL, message, fields)


log = Log()
