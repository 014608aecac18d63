"""Starting and stopping one server process."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from holdfast.embedded.account import Account
from holdfast.errors import ConfigError, HoldfastError

PR_SET_PDEATHSIG = 1
POLL = 0.02  # seconds
_children: "dict[int, subprocess.Popen[bytes]]" = {}
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent(number: signal.Signals) -> Callable[[], None]:
    """For `preexec_fn`: the kernel sends the child this signal when its parent dies. Linux only, a no-op elsewhere."""
    parent = os.getpid()

    def ask() -> None:
        if _libc is not None:
            _libc.prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)
            if os.getppid() != parent:  # it died before we asked
                os._exit(1)

    return ask


def run_as(account: Account | None, command: Sequence[str | Path], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a program to its end under the account."""
    try:
        return subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
    except PermissionError as error:
        raise _not_allowed(account, command, error) from None


def start_as(
    account: Account | None, command: Sequence[str | Path], cwd: Path, log: Path, parent_signal: signal.Signals | None
) -> "subprocess.Popen[bytes]":
    """Start a server in a session of its own, so that the terminal's Ctrl-C does not reach it.

    Args:
        log: gets what it prints; the log of the start before is kept beside it as `….1`.
        parent_signal: what the kernel sends it when this process dies; None lets it live on.
    """
    with contextlib.suppress(FileNotFoundError):
        log.replace(log.with_name(log.name + ".1"))
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    _reap()
    try:
        child = subprocess.Popen(
            [str(part) for part in command],
            cwd=cwd,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent(parent_signal) if parent_signal else None,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
    except PermissionError as error:
        raise _not_allowed(account, command, error) from None
    finally:
        os.close(descriptor)
    _children[child.pid] = child
    return child


def clean_environment() -> dict[str, str]:
    """Without PG* variables, locales and secrets of the caller."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return {"PATH": "/usr/bin:/bin", **kept, "LC_ALL": "C", "TZ": "UTC"}


def find(pid_file: Path, program: str, cwd: Path) -> psutil.Process | None:
    """The living server that a pid file speaks of.

    The pid may be anybody's by now: it counts only if that process runs a program of this name in this folder.
    """
    try:
        process = psutil.Process(int(pid_file.read_text("ascii").split()[0]))
        runs = Path(process.exe()).name == program and Path(process.cwd()) == cwd.resolve()
        return process if runs and process.status() != psutil.STATUS_ZOMBIE else None
    except (OSError, ValueError, IndexError, psutil.Error):
        return None


def working_in(folder: Path, program: str) -> list[psutil.Process]:
    """Living processes of a program of this name whose working folder this is."""
    wanted, found = folder.resolve(), []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if Path(process.exe()).name == program and Path(process.cwd()) == wanted:
                found.append(process)
    return found


def stop(process: psutil.Process, signals: Sequence[tuple[signal.Signals, float]]) -> None:
    """End one process: each signal in turn, with the seconds it is given to obey.

    Raises:
        HoldfastError: it outlived all of them.
    """
    for number, seconds in signals:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)
        deadline = time.monotonic() + seconds
        while not (ended := _ended(process)) and time.monotonic() < deadline:
            time.sleep(POLL)
        if ended:
            _reap()
            return
    raise HoldfastError(f"The process {process.pid} did not end. Look at what it waits for, and end it by hand.")


def _ended(process: psutil.Process) -> bool:
    """A zombie has ended: whose child it is, and when that one looks, is not ours to wait for."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _reap() -> None:
    """Take notice of the children that ended, so that no zombie stays."""
    for pid in [pid for pid, child in _children.items() if child.poll() is not None]:
        del _children[pid]


def tail(path: Path, lines: int = 5) -> str:
    """The last lines of a log, on one line."""
    try:
        text = path.read_text("utf-8", "replace")
    except FileNotFoundError:
        return "it said nothing"
    return " | ".join(line.strip() for line in text.splitlines()[-lines:] if line.strip()) or "it said nothing"


def _not_allowed(account: Account | None, command: Sequence[str | Path], error: OSError) -> ConfigError:
    who = f"as the user {account.name!r}" if account else "here"
    return ConfigError(f"{command[0]} cannot be run {who}: {error.strerror}.")
