"""The memory limit of an isolated run.

It is RLIMIT_DATA, set to what the process has at its start plus the run's limit: Linux then refuses the allocation that
would go beyond, and Python raises MemoryError at that line. It counts private writable memory that was asked for,
touched or not; unlike RLIMIT_AS it counts neither libraries and mapped files nor address space that is only reserved,
which is many times the real use of threads and numeric libraries.
"""

from __future__ import annotations

import contextlib
import resource
from pathlib import Path
from typing import Final

from runs.engine.context import ActiveRun
from runs.errors import OutOfMemory
from runs.sdk.isolation import MiB

_STATUS: Final = Path("/proc/self/status")
_EVENTS: Final = Path("/proc/vmstat")


#: What the limit was before; None where none was set.
_before: tuple[int, int] | None = None


def limit(size: int) -> None:
    """From here on this process may allocate `size` bytes more."""
    global _before
    _before = _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = _allocated() + size
    soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def lift() -> None:
    """What follows must be able to report."""
    if _before is not None:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_DATA, _before)


def named(run: ActiveRun, error: BaseException) -> BaseException:
    """The error of an isolated run; MemoryError as OutOfMemory with its limit."""
    if run.memory_limit is None:
        return error
    lift()
    if not _is_memory(error):
        return error
    shown = f"{run.memory_limit / MiB:,.0f} MiB"
    found = OutOfMemory(
        f"out of memory: the run wanted more than its memory_limit of {shown}. Give {run.task_id} a larger "
        "memory_limit, or a memory_limit_max up to which retries may grow.",
        memory_limit=run.memory_limit,
    )
    found.__cause__ = error
    return found.with_traceback(error.__traceback__)


def oom_kills() -> int:
    """How often the kernel has killed a process of this machine because memory was out; 0 where it does not say."""
    try:
        return _number(_EVENTS, "oom_kill ")
    except OSError:
        return 0


def _is_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or (
        isinstance(error, BaseExceptionGroup) and error.subgroup(MemoryError) is not None
    )


def _allocated() -> int:
    return _number(_STATUS, "VmData:") * 1024


def _number(path: Path, label: str) -> int:
    for line in path.read_text().splitlines():
        if line.startswith(label):
            return int(line.removeprefix(label).split()[0])
    return 0
