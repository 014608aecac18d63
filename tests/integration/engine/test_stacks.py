"""Where a run is: its worker says so, whatever the run is at."""

from __future__ import annotations

import io
import json
import signal
import uuid

import pytest
from django.core.management import CommandError, call_command

from runs.errors import NoAnswer, UnknownRun, WrongState
from runs.stuck.services import stack_take
from runs.stuck.taken import Taken
from tests.support.processes import Fleet
from tests.support.runs import run, the
from tests.support.waiting import eventually


@pytest.fixture
def worked(sticking: Fleet) -> Fleet:
    """One worker."""
    sticking.worker("worker-1", HOLDFAST_PROCESSES="3")
    return sticking


def begun(fleet: Fleet, task: str) -> uuid.UUID:
    """A run that has come to where it stays."""
    handle = the(task).enqueue()
    eventually(lambda: fleet.ledger.count("waits", str(handle.id)), f"{task} waits")
    return handle.id


def functions(taken: Taken) -> set[str]:
    return {frame.function for part in taken.parts for frame in part.frames}


#: Task, kind of its one part, its own functions from the outermost on, and the step.
PLACES = [
    ("sticks-async", "task", ["sticks_async", "waits_for", "deep", "open_gate"], "waits_for#1"),
    ("sticks-apart-async", "task", ["sticks_apart_async", "waits_for", "deep", "open_gate"], "waits_for#1"),
    ("sticks-sync", "thread", ["sticks_sync", "locked"], "locked#1"),
    ("sticks-apart", "thread", ["sticks_apart", "locked"], "locked#1"),
    ("sticks-apart-computing", "task", ["sticks_apart_computing", "computes", "spin"], "computes#1"),
    ("sticks-computing", "task", ["sticks_computing", "computes", "spin"], "computes#1"),  # holds up the loop
]


def test_a_run_is_where_its_code_stands_whatever_it_is_at(worked: Fleet) -> None:
    begun_at = [(begun(worked, task), *place) for task, *place in PLACES]
    for run_id, kind, called, step in begun_at:
        taken = stack_take(run_id, timeout=30)
        assert (taken.worker, taken.steps, taken.waits) == ("worker-1", [step], False)
        [part] = taken.parts
        own = [frame.function for frame in part.frames if frame.own]
        assert part.kind == kind
        assert own[: len(called)] == called, "all of it, and not how Holdfast came there"
        assert taken.here is not None
        assert taken.here.function == own[-1]
        assert taken.here.file.endswith((".py",))
        assert taken.here.source, "the line itself is told"
        assert "not-for-a-page" not in json.dumps(taken.as_json(), default=str), "no variable is"
    worked.ledger.open_gate("go")


def test_every_branch_of_a_run_is_told_and_so_are_the_threads_that_work_for_it(worked: Fleet) -> None:
    run_id = begun(worked, "sticks-branches")
    taken = eventually(lambda: all_at_work(stack_take(run_id, timeout=30)), "all branches are at work")
    assert {part.kind for part in taken.parts} == {"task", "thread"}
    assert {"sticks_branches", "branch", "words", "in_a_thread", "by_asgiref", "hold"} <= functions(taken)
    worked.ledger.open_gate("go")


def all_at_work(taken: Taken) -> Taken | None:
    """With three steps, two of which have come to where their threads wait: asyncio.to_thread's, and asgiref's."""
    threads = [part.here and part.here.function for part in taken.parts if part.kind == "thread"]
    return taken if len(taken.steps) == 3 and threads == ["hold"] * 2 else None


def test_a_run_that_nobody_executes_is_nowhere(worked: Fleet) -> None:
    handle = the("echo").enqueue("hello")
    assert handle.result(timeout=60) == "hello"
    with pytest.raises(WrongState, match="is completed: no worker executes it"):
        stack_take(handle.id)
    with pytest.raises(UnknownRun):
        stack_take(uuid.uuid4())


def test_a_worker_that_does_not_answer_is_named(worked: Fleet) -> None:
    run_id = begun(worked, "sticks-async")
    worked.processes[0].signal(signal.SIGSTOP)
    with pytest.raises(NoAnswer, match="Worker worker-1 did not answer within 1 s"):
        stack_take(run_id, timeout=1)
    worked.processes[0].signal(signal.SIGCONT)
    assert stack_take(run_id, timeout=30).steps == ["waits_for#1"], "the heartbeat goes on as before"
    worked.ledger.open_gate("go")
    eventually(lambda: run(run_id).status == "completed", "it goes on")


def test_on_the_command_line_it_reads_like_a_traceback(worked: Fleet) -> None:
    run_id = begun(worked, "sticks-sync")

    def said(*words: str) -> str:
        out = io.StringIO()
        call_command("runs", "stack", *words, stdout=out)
        return out.getvalue()

    first = stack_take(run_id, timeout=30)
    text = said(str(run_id))
    assert stack_take(run_id, timeout=30).at > first.at, "asked again, it is looked again"
    assert "On worker-1 at " in text
    assert ", in step locked#1" in text
    assert "(most recent call last):" in text
    assert "in locked\n    while not lock.acquire(timeout=0.05):" in text
    told = json.loads(said(str(run_id), "--json"))
    assert (told["worker"], told["steps"]) == ("worker-1", ["locked#1"])
    with pytest.raises(CommandError, match="is no run id"):
        said("nonsense")
    worked.ledger.open_gate("go")
