"""`manage.py up` as a process that a test watches."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120.0  # seconds; only a broken test waits that long
LINK = re.compile(r"https?://\S+/sign-in/\S+")
NOBODY = 65534


def environment(**changes: str) -> dict[str, str]:
    """This process's environment without what tells of the tests' own servers."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HOLDFAST_")}
    for name in ("DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE"):
        kept.pop(name, None)
    return {**kept, **changes}


def manage(*words: str) -> list[str]:
    return [sys.executable, str(ROOT / "manage.py"), *words]


def as_ordinary_user(command: Sequence[str]) -> list[str]:
    """The command under a user without rights, who may only read what root may: the checkout may lie in /root."""
    if os.geteuid() != 0:
        return list(command)
    user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    return [*user, "--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search", *command]


class Watched:
    """A process, its output as it comes, and a promise that nothing of it outlives the test."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], cwd: Path | None = None) -> None:
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._process = subprocess.Popen(
            command, env=env, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._family: dict[int, psutil.Process] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def wait_for(self, pattern: str, *, after: int = 0, patience: float = PATIENCE) -> re.Match[str]:
        """The first line from number `after` on that holds the pattern. Fails with the output if it never comes."""
        deadline = time.monotonic() + patience
        with self._news:
            seen = after
            while True:
                for line in self.lines[seen:]:
                    if found := re.search(pattern, line):
                        self.family()
                        return found
                seen = len(self.lines)
                ended = not self._reader.is_alive()
                assert not ended, f"ended without {pattern!r}:\n{self.text}"
                assert time.monotonic() < deadline, f"no {pattern!r} within {patience} s:\n{self.text}"
                self._news.wait(0.5)

    def family(self) -> list[psutil.Process]:
        """Its descendants that were ever seen."""
        try:
            for child in psutil.Process(self.pid).children(recursive=True):
                self._family.setdefault(child.pid, child)
        except psutil.NoSuchProcess:
            pass
        return list(self._family.values())

    def names(self) -> set[str]:
        """The programs among its descendants. One that ended while we looked is left out."""
        return {process.info["name"] for process in self._looked_at("name")}

    def of_command(self, *words: str) -> psutil.Process:
        """The descendant whose command ends in these words."""
        return next(p for p in self._looked_at("cmdline") if p.info["cmdline"][-len(words) :] == list(words))

    def alive(self) -> list[psutil.Process]:
        """Descendants that live now. A zombie does not: whoever inherited it will look."""
        return [p for p in self.family() if p.is_running() and _status(p) not in {psutil.STATUS_ZOMBIE, "gone"}]

    def send(self, number: signal.Signals) -> None:
        self.family()
        self._process.send_signal(number)

    def end(self) -> int:
        """Waits for its end and returns the exit code."""
        code = self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.family()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self._process.kill()
        for process in self.alive():
            process.kill()
        self.end()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _looked_at(self, *attributes: str) -> list[psutil.Process]:
        """The descendants with these attributes as their `info`, without those that ended while we looked."""
        found = []
        for process in self.family():
            with suppress(psutil.NoSuchProcess):
                process.info = process.as_dict(attributes)
                found.append(process)
        return found

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._news.notify_all()


def start_up(data_dir: Path, *options: str, ordinary: bool = False, **changes: str) -> Watched:
    """`manage.py up` on a folder, on a free port unless the options say otherwise."""
    words = ["up", "--data-dir", str(data_dir), "--workers", "1", *options]
    if "--port" not in options:
        words += ["--port", "0"]
    command = manage(*words)
    return Watched(as_ordinary_user(command) if ordinary else command, environment(**changes), cwd=data_dir)


def _status(process: psutil.Process) -> str:
    try:
        return str(process.status())
    except psutil.NoSuchProcess:
        return "gone"
