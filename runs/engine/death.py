"""How the process of an isolated run ended, in words."""

from __future__ import annotations

import signal
from typing import NamedTuple

from runs.errors import OutOfMemory, ProcessDied
from runs.sdk.isolation import MiB


class End(NamedTuple):
    """How a process ended."""

    code: int  # exit code, or minus the signal
    peak: int = 0  # bytes of memory
    starved: bool = False  # the kernel was killing for memory meanwhile
    instead: str = ""  # what is known where there is no code


def died(task: str, memory_limit: int | None, end: End) -> ProcessDied:
    """The end of a process as an error that says what is known."""
    data = {
        "signal": _signal_name(-end.code) if end.code < 0 and not end.instead else None,
        "exit_code": end.code if end.code >= 0 else None,
        "peak_memory": end.peak or None,
        "memory_limit": memory_limit,
    }
    if end.instead:
        return ProcessDied(f"the run's process ended before the run did: {end.instead}", **data)
    peak = f" Its memory had reached {end.peak / MiB:,.0f} MiB." if end.peak else ""
    if end.code == -signal.SIGKILL and end.starved:
        return OutOfMemory(
            f"out of memory: the kernel killed the run's process (SIGKILL) when the machine, or its container, had no "
            f"memory left.{peak} Give {task} a memory_limit that the machine can hold.",
            **data,
        )
    if end.code < 0:
        return ProcessDied(f"the run's process was ended by {words(end.code)}.{peak}", **data)
    return ProcessDied(
        f"the run's process ended with {words(end.code)} before the run did: something in it called os._exit or a "
        f"library's exit.{peak}",
        **data,
    )


def words(code: int) -> str:
    """An exit code, or minus the signal."""
    return f"exit code {code}" if code >= 0 else _signal_name(-code)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
