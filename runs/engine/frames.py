"""Where a run is at this moment: the Python stacks of its asyncio tasks and threads, taken from any other thread.

What is told of a frame is its file, line, function and that line's source, as a traceback does; never what a variable
holds. Nothing of the run's own code is called, so a loop that computes without yielding is seen as well. Code that
keeps the interpreter's lock (a C extension in the middle of its work) is not: then nobody answers.

    {"parts": [{"kind": "task", "name": "fetch", "frames": [frame, …]}, …], the one that was called first is the first
     "steps": ["fetch#1"], "names": ["fetch"], "waits": false, "more": 0}

    frame   {"file", "line", "function", "source", "own"}; the innermost is the last, `own`: it is no library's
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import linecache
import logging
import sys
import sysconfig
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import thread as pools
from contextvars import Context
from functools import lru_cache, partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import holdfast
import queues
import runs
from runs.engine import failure
from runs.sdk.context import current

if TYPE_CHECKING:
    from runs.engine.context import ActiveRun

logger = logging.getLogger("holdfast.engine")

#: Tasks and threads of one run that are told, frames of each (the innermost), and characters of a line of source.
MAX_PARTS, MAX_FRAMES, MAX_SOURCE = 50, 60, 200
_MAX_NAME: Final = 300
#: In a process of its own, the function that calls the run's: what is outside of it is the worker that forked it.
_STAY: Final = "_drive_sync"

Stack = dict[str, Any]


def stack_of(run: ActiveRun, home: int | None, *, alone: bool = False) -> Stack:
    """The run's stack, as in the module's text.

    Args:
        home: The thread of its event loop; in a process of its own, the thread of a plain function as well.
        alone: It is the only run of this process.
    """
    frames = sys._current_frames()
    found: list[Stack] = []
    try:
        found += _parts(run, frames, home, alone)
    except Exception:  # whoever asks must not harm who answers: here lives a heartbeat, or the link to a worker
        logger.exception("the stack of run %s could not be taken", run.id)
    finally:
        del frames  # they hold what their variables hold
    # One that was handed over is waited for.
    steps = {key: step for key, step in dict(run.executing).items() if not run.is_handed(key)}
    return {
        "parts": found[:MAX_PARTS],
        "more": max(0, len(found) - MAX_PARTS),
        "steps": [failure.clean(key, _MAX_NAME) for key in steps],
        "names": sorted({failure.clean(step.name, _MAX_NAME) for step in steps.values()}),
        "waits": run.waits_here,
    }


def _parts(run: ActiveRun, frames: dict[int, FrameType], home: int | None, alone: bool) -> Iterator[Stack]:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    if run.is_async:
        for task in _tasks(run):
            coroutine = task.get_coro()
            if getattr(coroutine, "cr_running", False) and home in frames:
                yield _part("task", _task_name(run, task), _within(frames[home], coroutine))
            else:
                yield _part("task", _task_name(run, task), list(_chain(coroutine)))
    elif alone and home in frames:
        stay = _outward(frames[home])
        before = next((at for at, frame in enumerate(stay) if frame.f_code.co_name == _STAY), 0)
        yield _part("thread", names.get(home, ""), stay[before:])
    for ident, frame in frames.items():
        if ident != home and _whose(frame) is run:
            yield _part("thread", names.get(ident, ""), _outward(frame))


def _tasks(run: ActiveRun) -> Sequence[asyncio.Task[Any]]:
    main = run.main
    others = [task for task in tuple(run.tasks) if task is not main and not task.done()]
    return others if main is None or main.done() else [main, *others]


def _task_name(run: ActiveRun, task: asyncio.Task[Any]) -> str:
    if task is run.main:
        return run.task_id
    coroutine: Any = task.get_coro()
    return str(getattr(coroutine, "__qualname__", "") or task.get_name())


# ── frames, the outermost first ──────────────────────────────────────────────────────────────────────────────────────


def _outward(frame: FrameType | None) -> list[FrameType]:
    """All frames of a thread."""
    found = []
    while frame is not None:
        found.append(frame)
        frame = frame.f_back
    return found[::-1]


def _within(innermost: FrameType, coroutine: Any) -> list[FrameType]:
    """Those of a thread that belong to the coroutine which it executes now."""
    found = _outward(innermost)
    outermost = coroutine.cr_frame
    return found[found.index(outermost) :] if outermost in found else found


def _chain(thing: Any) -> Iterator[FrameType]:
    """Those of a coroutine that is suspended, down to what it awaits at last. (`Task.get_stack` tells the first.)"""
    for _ in range(1_000):
        frame = _first(thing, "cr_frame", "gi_frame", "ag_frame")
        if frame is not None:
            yield frame
            thing = _first(thing, "cr_await", "gi_yieldfrom", "ag_await")
        else:
            thing = _wrapped(thing)
        if thing is None:
            return


def _first(thing: Any, *names: str) -> Any:
    return next((value for name in names if (value := getattr(thing, name, None)) is not None), None)


def _wrapped(thing: Any) -> Any:
    """What stands behind the step of an async generator, or behind `coroutine.__await__()`: they do not say."""
    if thing is None or inspect.iscoroutine(thing) or inspect.isgenerator(thing) or inspect.isasyncgen(thing):
        return None  # it has ended
    behind = gc.get_referents(thing)
    return next((x for x in behind if inspect.iscoroutine(x) or inspect.isasyncgen(x) or inspect.isgenerator(x)), None)


def _whose(frame: FrameType | None) -> Any:
    """The run for which a thread of a pool works: the one in the context in which it was told to. Covers the threads of
    plain functions, of steps with a transaction, and of `asyncio.to_thread`."""
    while frame is not None:
        if frame.f_code is pools._WorkItem.run.__code__:
            item = frame.f_locals.get("self")
            fn = getattr(item, "fn", None) or (getattr(item, "task", None) or (None,))[0]
            return next((run for context in _contexts(fn) if (run := context.get(current)) is not None), None)
        frame = frame.f_back
    return None


def _contexts(fn: Any) -> Iterator[Context]:
    """In `partial(context.run, …)`, which is asyncio's way, and in a closure over a context, which is asgiref's."""
    for one in [fn.func, *fn.args] if isinstance(fn, partial) else [fn]:
        cells = getattr(one, "__closure__", None) or ()
        for held in (getattr(one, "__self__", None), *(cell.cell_contents for cell in cells)):
            if isinstance(held, Context):
                yield held


# ── what is told of them ─────────────────────────────────────────────────────────────────────────────────────────────


def _part(kind: str, name: str, frames: list[FrameType]) -> Stack:
    """From the first frame on that is somebody's own: what is before it is how Holdfast came there."""
    start = next((at for at, frame in enumerate(frames) if is_own(frame.f_code.co_filename)), 0)
    shown = frames[start:][-MAX_FRAMES:]
    return {"kind": kind, "name": failure.clean(name, _MAX_NAME), "frames": [_told(frame) for frame in shown]}


def _told(frame: FrameType) -> Stack:
    code = frame.f_code
    line = frame.f_lineno or code.co_firstlineno
    return {
        "file": failure.clean(code.co_filename, _MAX_NAME),
        "line": line,
        "function": failure.clean(code.co_qualname, _MAX_NAME),
        "source": failure.clean(linecache.getline(code.co_filename, line).strip(), MAX_SOURCE),
        "own": is_own(code.co_filename),
    }


@lru_cache(maxsize=4_096)
def is_own(file: str) -> bool:
    """Whether code is the installation's own: neither Python's, nor a package's, nor Holdfast's."""
    if file.startswith("<"):
        return False
    return file.startswith(_DEMO) or not file.startswith(_FOREIGN)


def _folder(path: str | Path) -> str:
    return f"{path}/"


_HOUSE: Final = [_folder(Path(str(module.__file__)).parent) for module in (holdfast, queues, runs)]
_FOREIGN: Final = (
    *_HOUSE,
    *{_folder(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")},
)
#: Written to be copied: it stands for somebody's own code.
_DEMO: Final = f"{_HOUSE[0]}demo/"
