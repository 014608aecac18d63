"""Releases of one task file: what is deployed one after the other, or on some workers before the others."""

from __future__ import annotations

import textwrap
from pathlib import Path

from runs import registration
from runs.sdk.handle import RunHandle
from runs.sdk.task import Task, registry
from tests.support.processes import TASKS, Fleet

HEAD = """
import asyncio, os, time
from pathlib import Path
from runs import acheckpoint, checkpoint, current_run, log, step, stream, task, wait

def note(*words):
    with open(os.environ["TESTS_LEDGER"], "a") as ledger:
        ledger.write(" ".join([f"{time.time():.4f}", str(os.getpid()), *map(str, words)]) + "\\n")

@step
async def do(what: str) -> str:
    note("do", what)
    if what == "die" and not gate("lives"):
        os._exit(9)
    return what

def gate(name):
    return (Path(os.environ["TESTS_LEDGER"]).parent / f"gate-{name}").exists()
"""


def release(fleet: Fleet, name: str, body: str) -> str:
    """Writes a release of `deployed.py`. Returns what HOLDFAST_TASKS says of it."""
    folder = fleet.ledger.folder / name
    folder.mkdir()
    path = folder / "deployed.py"
    path.write_text(HEAD + textwrap.dedent(body))
    return f"{TASKS},{path}"


def load(path: Path) -> None:
    """The release is this process's code."""
    import sys

    sys.modules.pop(f"holdfast_tasks_{path.stem}", None)
    registration._import(str(path))


def known(tasks: str, task_id: str) -> Task[..., object]:
    """The task of a release, with its row."""
    load(Path(tasks.split(",")[-1]))
    found = registry.get(task_id)
    assert found is not None
    registration.register([found])
    return found


def enqueued(tasks: str, task_id: str) -> RunHandle[object]:
    """A run of the release's task."""
    return known(tasks, task_id).enqueue()
