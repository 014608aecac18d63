"""The data folder: one owner, one living `up`, nothing in it but Holdfast's.

.holdfast     marks the folder as ours, and says which layout it has
lock          held by the living `up`
servers.json  where its servers are, and the tasks of its `up`
secrets/      mode 0600 each
conf/ logs/   of the servers
postgres/     PostgreSQL's files        }
valkey/       Valkey's working folder   } these belong to the account that the servers run under
run/          their sockets             }
programs/     copies of the servers' programs, only where that account cannot reach the installed ones
"""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from holdfast.errors import ConfigError, EnvError

MARKER = ".holdfast"
LAYOUT = "1"


class FolderBusy(ConfigError):
    """Another living process holds the data folder."""


def claim(data_dir: Path) -> None:
    """Make sure that this is a data folder: create it, closed to others, or recognise it.

    Raises:
        EnvError: it holds other things, or is of a later layout. What is not ours is never touched.
    """
    marker = data_dir / MARKER
    try:
        data_dir.parent.mkdir(parents=True, exist_ok=True)
        data_dir.mkdir(mode=0o700, exist_ok=True)
        if marker.exists():
            layout = marker.read_text("utf-8").strip()
        elif any(data_dir.iterdir()):
            remedy = "Name an empty folder, or one to be created"
            raise EnvError("HOLDFAST_DATA_DIR", f"{data_dir} holds other things than Holdfast's", remedy)
        else:
            data_dir.chmod(0o700)
            marker.write_text(LAYOUT + "\n", "utf-8")
            layout = LAYOUT
    except OSError as error:
        remedy = "Name a folder that you own, or one to be created"
        raise EnvError("HOLDFAST_DATA_DIR", f"{data_dir}: {error.strerror}", remedy) from None
    if layout != LAYOUT:
        remedy = "Run the version that made it, or name another folder"
        raise EnvError("HOLDFAST_DATA_DIR", f"{data_dir} was made by another version (layout {layout!r})", remedy)


class FolderLock:
    """Held while one process runs a data folder. The kernel lets go of it when that process dies, however it dies."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / "lock"
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            FolderBusy: another process has it; the text names its pid.
        """
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            remedy = "Stop that one first, or name another folder with --data-dir"
            raise FolderBusy(f"{self.path.parent} is in use by the process {holder}. {remedy}.") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()
