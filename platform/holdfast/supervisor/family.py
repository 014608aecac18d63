"""Processes that are looked after: one thread, one loop over children's output, their ends, and signals."""

import contextlib
import os
import selectors
import signal
import socket
import time
from collections.abc import Iterator
from typing import Final

from holdfast.supervisor.child import Child
from holdfast.supervisor.console import Console

TICK: Final = 0.25  # seconds between two looks at what does not announce itself
EXTRA_GRACE: Final = 5.0  # seconds on top of a worker's own
STOPS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Family:
    """Children of one command, until it is told to stop; a child that ends meanwhile is started again.

    Args:
        name: what the command's own lines are prefixed with.
        grace: seconds that a child may go on after SIGTERM.
    """

    def __init__(self, name: str, *, grace: float) -> None:
        self._name = name
        self._grace = grace + EXTRA_GRACE
        self._console = Console()
        self._selector = selectors.DefaultSelector()
        self._children: list[Child] = []
        self._stops: list[signal.Signals] = []
        self._stopping = False

    # --- what a family may do otherwise -----------------------------------------------------------------------------

    def _hear(self, child: Child, text: str) -> None:
        """A line of a child's."""
        self._console.line(child.name, text)

    def _ended(self, child: Child, code: int) -> None:
        """A child has ended; if it is to be started again, that is planned already. Called also while we stop."""
        if self._stopping:
            self._say(f"{child.name} ended")
        elif child.due is not None:
            pause = max(0.0, child.due - time.monotonic())
            self._say(f"{child.name} ended ({spoken(code)}); starting again in {pause:.1f} s", bad=True)

    # --- the loop ---------------------------------------------------------------------------------------------------

    def _add(self, child: Child) -> Child:
        self._children.append(child)
        self._start(child)
        return child

    def _start(self, child: Child) -> None:
        descriptor = child.start()
        self._selector.register(descriptor, selectors.EVENT_READ, child)
        if child.lasting:
            self._say(f"{child.name} started (pid {child.pid})")

    def _tick(self) -> None:
        """Pass on output for a moment, then notice who ended."""
        for key, _ in self._selector.select(TICK):
            child = key.data
            if isinstance(child, Child):
                if not child.read(lambda text, child=child: self._hear(child, text)):  # type: ignore[misc]
                    self._selector.unregister(key.fd)
            else:
                os.read(key.fd, 64)  # a signal woke us; its handler has noted it
        for child in [c for c in self._children if c.running]:
            if (code := child.ended()) is not None:
                self._bury(child, code)

    def _bury(self, child: Child, code: int) -> None:
        for key in [k for k in list(self._selector.get_map().values()) if k.data is child]:
            self._selector.unregister(key.fd)
        child.bury(lambda text: self._hear(child, text))
        self._ended(child, code)

    def _restart_due(self) -> None:
        for child in self._children:
            if child.due is not None and child.due <= time.monotonic():
                self._start(child)

    # --- the end ----------------------------------------------------------------------------------------------------

    def _stop_children(self) -> None:
        """SIGTERM, then the grace, then SIGKILL; a second Ctrl-C shortens the grace to nothing."""
        for child in self._children:
            child.due = None
            child.signal(signal.SIGTERM)
        self._stopping = True
        asked = len(self._stops)
        deadline = time.monotonic() + self._grace
        while any(child.running for child in self._children):
            if time.monotonic() > deadline or len(self._stops) > max(asked, 1):
                for child in self._children:
                    child.signal(signal.SIGKILL)
            self._tick()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Notes each signal to stop, and wakes the loop with it."""
        reader, writer = socket.socketpair()
        reader.setblocking(False)
        writer.setblocking(False)
        self._selector.register(reader, selectors.EVENT_READ)

        def note(number: int, frame: object) -> None:
            self._stops.append(signal.Signals(number))

        # A hang-up that is ignored stays ignored: that is what nohup is for.
        heard = [n for n in STOPS if n != signal.SIGHUP or signal.getsignal(n) != signal.SIG_IGN]
        before = {number: signal.signal(number, note) for number in heard}
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda number, frame: None)
        wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._selector.close()
            reader.close()
            writer.close()

    def _say(self, text: str, *, bad: bool = False) -> None:
        self._console.line(self._name, text, bad=bad)


def spoken(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
