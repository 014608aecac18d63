"""What a data folder says about its embedded servers, and how a process is recognised.

`servers.json` holds the URLs, the processes, and the tasks of their `up`. A process is its pid *and* the moment it
started: a pid alone may have been given to somebody else since.
"""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

import psutil

from holdfast.errors import ConfigError

STATE_FILE = "servers.json"
START_TOLERANCE = 2.0  # seconds: psutil derives start times from the boot time, which drifts with clock corrections


@dataclass(frozen=True, slots=True)
class ProcessId:
    """One process and no other: `started` is psutil's create time, seconds since the epoch."""

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """The identity of a living process, or None."""
        try:
            return cls(pid, psutil.Process(pid).create_time())
        except psutil.Error:
            return None

    def process(self) -> psutil.Process | None:
        """The process, if it still lives; a zombie does not."""
        try:
            found = psutil.Process(self.pid)
            same = abs(found.create_time() - self.started) < START_TOLERANCE
            return found if same and found.status() != psutil.STATUS_ZOMBIE else None
        except psutil.Error:
            return None


@dataclass(frozen=True, slots=True)
class ServerState:
    """The embedded servers of one data folder. The URLs carry passwords."""

    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    postgres: ProcessId
    valkey: ProcessId
    tasks: tuple[str, ...] = ()  # of the `up` that runs them: modules, and files as absolute paths

    def alive(self) -> bool:
        return self.postgres.process() is not None and self.valkey.process() is not None


def read(data_dir: Path) -> ServerState | None:
    """The state last written in this folder; None if there is none, or if it makes no sense.

    Raises:
        ConfigError: this user may not read it.
    """
    path = data_dir / STATE_FILE
    try:
        found = json.loads(path.read_text("utf-8"))
        return ServerState(
            database_url=str(found["database_url"]),
            redis_url=str(found["redis_url"]),
            postgres=ProcessId(int(found["postgres"]["pid"]), float(found["postgres"]["started"])),
            valkey=ProcessId(int(found["valkey"]["pid"]), float(found["valkey"]["started"])),
            tasks=tuple(str(name) for name in found.get("tasks", ())),  # an earlier version wrote none
        )
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return None
    except PermissionError:
        remedy = "Run this as the user who runs `up`, or name another folder in HOLDFAST_DATA_DIR"
        raise ConfigError(f"{path} may not be read by the user with id {os.geteuid()}. {remedy}.") from None


def find_live(data_dir: Path) -> ServerState | None:
    """The servers of this folder if both of them live now."""
    state = read(data_dir)
    return state if state is not None and state.alive() else None


def write(data_dir: Path, state: ServerState) -> None:
    """Replace the state in one step, readable by its owner only."""
    write_private(data_dir / STATE_FILE, json.dumps(asdict(state), indent=1))


def forget(data_dir: Path) -> None:
    (data_dir / STATE_FILE).unlink(missing_ok=True)


def write_private(path: Path, text: str) -> None:
    """Write a file of mode 0600 so that readers see the old text or the new one, never half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
