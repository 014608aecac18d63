"""Real `manage.py` processes for the tests, ended by their pid, with their output at hand when a test fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO

from django.utils import timezone

from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
TASKS = Path(__file__).with_name("tasks.py")
WAIT_TASKS = Path(__file__).with_name("wait_tasks.py")
UPDATE_TASKS = Path(__file__).with_name("update_tasks.py")
RETRY_TASKS = Path(__file__).with_name("retry_tasks.py")
USAGE_TASKS = Path(__file__).with_name("usage_tasks.py")
HOOK_TASKS = Path(__file__).with_name("hook_tasks.py")
HARD_TASKS = Path(__file__).with_name("hard_tasks.py")
STEP_TASKS = Path(__file__).with_name("step_tasks.py")
CANCELS = Path(__file__).with_name("cancels.py")
BEAT_TASKS = Path(__file__).with_name("beat_tasks.py")
COMPLETION_TASKS = Path(__file__).with_name("completion_tasks.py")
HOME_TASKS = Path(__file__).with_name("home_tasks.py")
BULK_TASKS = Path(__file__).with_name("bulk_tasks.py")
BREAKER_TASKS = Path(__file__).with_name("breaker_tasks.py")
ISOLATED_TASKS = Path(__file__).with_name("isolated_tasks.py")
STREAM_TASKS = Path(__file__).with_name("stream_tasks.py")
STUCK_TASKS = Path(__file__).with_name("stuck_tasks.py")
FAULT_TASKS = Path(__file__).with_name("fault_tasks.py")
DJANGO_TASKS = "tests.support.djangotask_functions"  # imported by its name, as a project's modules are


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the ledger."""

    at: float
    pid: int
    words: tuple[str, ...]


class Ledger:
    """What the tasks really did."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "ledger"

    def entries(self, *words: str) -> list[Entry]:
        """The lines that begin with these words, in the order they were written."""
        if not self.path.exists():
            return []
        found = []
        for line in self.path.read_text().splitlines():
            at, pid, *rest = line.split(" ")
            if tuple(rest[: len(words)]) == words:
                found.append(Entry(float(at), int(pid), tuple(rest)))
        return found

    def count(self, *words: str) -> int:
        return len(self.entries(*words))

    def repeated(self, *words: str) -> list[tuple[str, ...]]:
        """What stands there more than once."""
        return [w for w, n in Counter(e.words for e in self.entries(*words)).items() if n > 1]

    def open_gate(self, name: str) -> None:
        (self.folder / f"gate-{name}").touch()


@dataclass
class Process:
    """A running command."""

    name: str
    popen: subprocess.Popen[bytes]
    output: IO[bytes]

    @property
    def pid(self) -> int:
        return self.popen.pid

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self, timeout: float = 30.0) -> int:
        return self.popen.wait(timeout)

    def said(self) -> str:
        return Path(self.output.name).read_text(errors="replace")


@dataclass
class Fleet:
    """Workers and schedulers of one test."""

    environment: dict[str, str]
    ledger: Ledger
    processes: list[Process] = field(default_factory=list)
    script: Path = ROOT / "manage.py"

    def start(self, name: str, *command: str, **environment: str) -> Process:
        output = tempfile.NamedTemporaryFile(prefix=f"{name}-", dir=self.ledger.folder, delete=False)  # noqa: SIM115
        popen = subprocess.Popen(
            [sys.executable, str(self.script), *command],
            env={**self.environment, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=self.ledger.folder,
        )
        process = Process(name, popen, output)
        self.processes.append(process)
        return process

    def worker(self, name: str, *arguments: str, **environment: str) -> Process:
        """A worker that has registered itself: it takes work from now on."""
        since = timezone.now()
        process = self.start(name, "work", "--name", name, *arguments, **environment)
        self._registers(process, since)
        return process

    def scheduler(self, **environment: str) -> Process:
        """A scheduler that is at work."""
        process = self.start("scheduler", "schedule", **environment)
        self._schedules(process)
        return process

    def pair(self, name: str = "worker-1", **environment: str) -> Process:
        """A worker, in this environment, and a scheduler, which start side by side: both are at work."""
        since = timezone.now()
        worker = self.start(name, "work", "--name", name, **environment)
        scheduler = self.start("scheduler", "schedule")
        self._registers(worker, since)
        self._schedules(scheduler)
        return worker

    def _registers(self, process: Process, since: datetime) -> None:
        from queues.models import Worker

        name = process.name

        def registered() -> bool:
            ended = process.popen.poll() is not None  # before the look: its first task may kill it right after
            if Worker.objects.filter(name=name, started_at__gte=since).exists():
                return True
            assert not ended, f"{name} ended: {process.said()}"
            return False

        eventually(registered, f"worker {name} registers", timeout=90)

    def _schedules(self, process: Process) -> None:
        def at_work() -> bool:
            assert process.popen.poll() is None, f"the scheduler ended: {process.said()}"
            return "scheduler at work" in process.said()

        eventually(at_work, "the scheduler is at work", timeout=90)

    def stop(self) -> None:
        """Ends everything by its pid, frozen or not."""
        for process in self.processes:
            if process.popen.poll() is None:
                process.signal(signal.SIGCONT)
                process.signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.popen.wait(15)
            except subprocess.TimeoutExpired:
                process.popen.kill()
                process.popen.wait(5)
            process.output.close()

    def report(self) -> str:
        return "\n".join(f"── {p.name} (exit {p.popen.poll()}) ──\n{p.said()}" for p in self.processes)
