"""`@task(isolation="process")`: a run in a process of its own does what any run does."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from queues.models import Worker
from runs.models import Run
from runs.sdk.isolation import MiB
from tests.support.processes import ROOT, Fleet
from tests.support.runs import all_final, attempts, lines, run, snapshots, the
from tests.support.waiting import eventually


@pytest.fixture
def worked(isolated: Fleet) -> Fleet:
    """One worker and the scheduler."""
    isolated.pair(HOLDFAST_PROCESSES="2")
    return isolated


def test_steps_checkpoints_logs_prints_and_retries_work_as_elsewhere(worked: Fleet) -> None:
    handle = the("apart").enqueue()
    result = handle.result(timeout=60)
    assert result["pid"] != worked.processes[0].pid
    assert (result["first"], result["before"], result["state"]) == ("first", {"attempt": 1}, {"attempt": 2})
    assert [a.status for a in attempts(handle.id)] == ["failed", "completed"]
    error = attempts(handle.id)[0].error
    assert error["type"] == "ConnectionError"
    assert "on purpose" in error["traceback"]
    assert worked.ledger.count("stone", str(handle.id)) == 1, "the finished step was not called again"
    assert [(s.sequence, s.kind) for s in snapshots(handle.id)] == [(1, "step"), (2, "checkpoint"), (3, "checkpoint")]
    said = eventually(lambda: found if len(found := lines(handle.id)) >= 7 else None, "all lines")
    said_then = ["by log", "by print", "by logging 3"]
    assert [line.message for line in said] == [*said_then, *said_then, "no newline"]
    assert said[0].fields == {"number": 1}
    assert (said[0].attempt, said[-1].attempt) == (1, 2)


def test_coroutines_run_apart_as_well_and_many_of_their_steps_at_once(worked: Fleet) -> None:
    handle = the("apart-async").enqueue()
    result = handle.result(timeout=60)
    assert result["pid"] != worked.processes[0].pid
    assert (result["names"], result["before"]) == (50, {"attempt": 1})
    assert worked.ledger.count("brick", str(handle.id)) == 51, "each once, and the one that failed twice"
    assert sorted(s.sequence for s in snapshots(handle.id)) == list(range(1, len(snapshots(handle.id)) + 1))


def test_a_run_that_is_put_down_leaves_its_process_and_comes_back_in_another(worked: Fleet) -> None:
    handle = the("apart-later").enqueue()
    eventually(lambda: run(handle.id).status == "waiting", "it is put down")
    assert handle.result(timeout=60)[2] == 1, "it is the same attempt"
    assert len({e.pid for e in worked.ledger.entries("later")}) == 2
    assert worked.ledger.count("stone") == 1


def test_django_and_redis_work_in_the_process_as_if_they_had_never_been_open_before(worked: Fleet) -> None:
    assert the("apart-orm").enqueue().result(timeout=60) >= 1
    assert the("apart-orm-async").enqueue().result(timeout=60) >= 2
    inner = the("apart-enqueues").enqueue().result(timeout=60)
    all_final([inner])
    assert Run.objects.get(pk=inner).status == "completed"


def test_an_abort_stays_an_abort_across_the_process(worked: Fleet) -> None:
    handle = the("apart-aborts").enqueue()
    all_final([handle.id])
    assert [a.status for a in attempts(handle.id)] == ["failed"]
    assert attempts(handle.id)[0].error["type"].endswith("Abort")


def test_no_more_runs_are_isolated_at_once_than_the_worker_has_processes(worked: Fleet) -> None:
    handles = [the("long-apart").enqueue("wide") for _ in range(4)]
    eventually(lambda: worked.ledger.count("long", "wide") == 2, "two are at work")
    assert the("echo").enqueue("hello").result(timeout=60) == "hello", "the other lanes have room"
    assert the("echo-sync").enqueue("hello").result(timeout=60) == "hello"
    assert Run.objects.filter(status="running").count() == 2
    assert worked.ledger.count("long", "wide") == 2
    assert Worker.objects.get(name="worker-1").processes == 2
    worked.ledger.open_gate("wide")
    assert [h.result(timeout=60) for h in handles] == ["wide"] * 4


@pytest.mark.parametrize("name", ["hog", "hog-async"])
def test_memory_beyond_the_limit_is_refused_where_it_is_asked_for(worked: Fleet, name: str) -> None:
    handle = the(name).enqueue()
    all_final([handle.id])
    (attempt,) = attempts(handle.id)
    assert attempt.status == "failed"
    assert attempt.error["type"] == "runs.errors.OutOfMemory"
    assert attempt.error["message"].startswith("out of memory: the run wanted more than its memory_limit of 32 MiB")
    assert "isolated_tasks.py" in attempt.error["traceback"], "the line that asked is shown"
    assert attempt.error["exit"] == {"memory_limit": 32 * MiB}


def test_the_limit_grows_with_each_attempt_that_ran_out_of_memory(worked: Fleet) -> None:
    handle = the("grows").enqueue(80)
    assert handle.result(timeout=60) == 80 * MiB
    errors = [a.error["exit"]["memory_limit"] // MiB for a in attempts(handle.id)[:-1]]
    assert errors == [32, 64]
    too_much = the("grows").enqueue(200)
    all_final([too_much.id])
    assert [a.error["exit"]["memory_limit"] // MiB for a in attempts(too_much.id)] == [32, 64, 100]


def test_the_example_of_the_page_on_isolation_does_what_the_page_says(fleet: Fleet) -> None:
    page = (ROOT / "platform" / "docs" / "isolation.md").read_text("utf-8")
    example = re.search(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    command = re.search(r"python manage.py enqueue (\S+) '(.*?)'", page)
    assert example
    assert command
    file = Path(fleet.ledger.folder) / "crunch.py"
    file.write_text(example[1])
    fleet.environment["HOLDFAST_TASKS"] = str(file)
    fleet.pair()
    words = [sys.executable, str(ROOT / "manage.py"), "enqueue", command[1], command[2], "--json"]
    said = subprocess.run(words, env=fleet.environment, capture_output=True, text=True, check=True)
    run_id = json.loads(said.stdout)["id"]
    all_final([run_id])
    assert run(run_id).output == {"first": 49, "bytes": 100 * MiB, "attempt": 2}
    assert attempts(run_id)[0].error["type"] == "runs.errors.OutOfMemory"


@pytest.mark.parametrize("name", ["computes", "computes-async", "sleeps-async", "deaf"])
def test_max_duration_ends_a_process_whatever_it_is_at(worked: Fleet, name: str) -> None:
    handle = the(name).enqueue()
    all_final([handle.id])
    assert run(handle.id).status == "timed_out"
    (attempt,) = attempts(handle.id)
    assert attempt.status == "timed_out"
    assert "max_duration" in attempt.error["message"]
    if name == "computes":
        assert worked.ledger.count("tidied") == 1, "SIGTERM lets its finally clauses run"
    assert the("apart-orm").enqueue().result(timeout=60) >= 1, "its slot is free again"
