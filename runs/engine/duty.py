"""Threads that a worker cannot live without."""

from __future__ import annotations

import logging
import os
import threading
from abc import ABC, abstractmethod
from typing import Final

logger = logging.getLogger("holdfast.engine")

#: Exit code of a worker that lost one of its threads to a bug (EX_SOFTWARE of sysexits.h).
BROKEN: Final = 70


class Duty(threading.Thread, ABC):
    """A thread whose unexpected end ends the process at once.

    A worker without its writer would look alive and finish nothing. Dead, its lock is free, and others take its runs
    within a second.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name=f"holdfast-{name}", daemon=True)

    def run(self) -> None:
        try:
            self.serve()
        except BaseException:
            logger.exception("%s broke down; this worker ends, others take its runs", self.name)
            logging.shutdown()
            os._exit(BROKEN)

    @abstractmethod
    def serve(self) -> None:
        """The thread's work; returning is its orderly end."""
