"""One supervised process."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from holdfast.embedded.process import die_with_parent

FIRST_PAUSE: Final = 0.2  # seconds before the first restart
LONGEST_PAUSE: Final = 30.0
STEADY: Final = 30.0  # seconds after which a process counts as having started well
LINE_LIMIT: Final = 8000  # characters; what is longer is cut, on the terminal only
BLOCK: Final = 65536  # bytes


def command(*words: str) -> list[str]:
    """A command of Holdfast's own. `-P`: the current folder must not hide an installed package."""
    return [sys.executable, "-P", "-m", "holdfast", *words]


class Child:
    """A process that is to run for as long as `up` does.

    Args:
        name: what its lines are prefixed with.
        words: the Holdfast command and its arguments.
        environment: in full.
        orphan_signal: what the kernel sends it should `up` itself be killed.
        pass_fds: descriptors that it inherits.
        lasting: False for a command that runs once, to its end.
    """

    def __init__(
        self,
        name: str,
        words: Sequence[str],
        environment: Mapping[str, str],
        *,
        orphan_signal: signal.Signals = signal.SIGTERM,
        pass_fds: Sequence[int] = (),
        lasting: bool = True,
    ) -> None:
        self.name = name
        self.lasting = lasting
        self.due: float | None = None  # monotonic seconds, when it is to be started again
        self.starts = 0
        self.output: list[str] = []  # of a command that runs once
        self._words, self._environment = words, environment
        self._orphan_signal, self._pass_fds = orphan_signal, pass_fds
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._pause = FIRST_PAUSE
        self._rest = b""

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def running(self) -> bool:
        return self._process is not None

    def start(self) -> int:
        """Start it in a process group of its own: Ctrl-C is for `up` alone.

        Returns:
            The descriptor of its output, not blocking.
        """
        self._process = subprocess.Popen(
            command(*self._words),
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0,
            pass_fds=self._pass_fds,
            preexec_fn=die_with_parent(self._orphan_signal),
        )
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        self._started, self.due = time.monotonic(), None
        self.starts += 1
        return self._process.stdout.fileno()

    def read(self, say: Callable[[str], None]) -> bool:
        """Pass on the lines that are there. False at the end of its output."""
        if self._process is None or self._process.stdout is None or self._process.stdout.closed:
            return False
        try:
            data = os.read(self._process.stdout.fileno(), BLOCK)
        except BlockingIOError:
            return True
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > BLOCK or not data:
            lines.append(self._rest)
            self._rest = b""
        for line in lines:
            if text := _printable(line):
                say(text)
        return bool(data)

    def ended(self) -> int | None:
        """Its exit code once it has ended, else None; negative is the signal that killed it."""
        return self._process.poll() if self._process else None

    def bury(self, say: Callable[[str], None]) -> None:
        """After its end: its last words, then plan the next start."""
        if self._process is None or self._process.stdout is None:
            return
        # A grandchild may hold the pipe open: read what is there, and do not wait for its end.
        while self._readable() and self.read(say):
            pass
        self._process.stdout.close()
        self._process = None
        now = time.monotonic()
        if now - self._started > STEADY:
            self._pause = FIRST_PAUSE
        if self.lasting:
            self.due = now + self._pause
            self._pause = min(self._pause * 2, LONGEST_PAUSE)

    def signal(self, number: signal.Signals) -> None:
        """SIGKILL goes to its whole group: nobody is left to end what it started."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if number == signal.SIGKILL:
                os.killpg(self._process.pid, number)
            else:
                self._process.send_signal(number)

    def _readable(self) -> bool:
        import select

        assert self._process is not None
        assert self._process.stdout is not None
        return bool(select.select([self._process.stdout], [], [], 0)[0])


def _printable(line: bytes) -> str:
    """Nothing that a child prints may move the cursor or colour the rest of the terminal."""
    text = line.decode("utf-8", "replace").rstrip()
    text = "".join(c if c.isprintable() or c == "\t" else " " for c in text)
    return text if len(text) <= LINE_LIMIT else f"{text[:LINE_LIMIT]}… ({len(text)} characters)"
